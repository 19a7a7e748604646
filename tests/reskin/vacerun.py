"""Reskins with Wan VACE at a size that a CPU paints in seconds, and what the server gave for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from handoff.masks import frame_name, read_png
from handoff.run import Run
from handoff.video import Frame, VideoWriter
from reskin.cli import command
from reskin.regions import fit_into
from reskin.windows import FOLDER, KeptWindows
from tests.reskin.conftest import HEIGHT, WIDTH

MODEL = (80, 64)
FIT = fit_into(WIDTH, HEIGHT, *MODEL)
SMALL = ("--size", "80x64", "--steps", "2")
TWO = ("--window", "21", "--overlap", "5")
"""Two windows of 33 frames: 0-20 and 16-32."""
NAME = "reskins/drone-samurai"


def arguments(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> list[str]:
    return ["--run", str(run.dir), "--prompt", prompt, "--server", server, *SMALL, *options]


def reskin(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> Result:
    given = arguments(run, server, *options, prompt=prompt)
    return CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)


@contextmanager
def kept_open() -> Iterator[list[Frame]]:
    """Keep the windows' pictures, which a finished reskin removes, and every frame as it goes into output.mp4."""
    written: list[Frame] = []
    encode = VideoWriter.write

    def write(self: VideoWriter, frame: Frame) -> None:
        if self.path.name == "output.mp4":
            written.append(frame.copy())
        encode(self, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoWriter, "write", write)
        patch.setattr(KeptWindows, "clear", lambda self: None)
        yield written


def pictures(run: Run, window: int, first: int, count: int) -> list[Frame]:
    """What the server gave for a window, from picture `first` on, at the clip's size."""
    (folder,) = run.path(f"{NAME}/{FOLDER}").glob(f"{window:04d}-*")
    return [FIT.to_source(read_png(folder / frame_name(first + index))) for index in range(count)]
