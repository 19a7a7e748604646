"""--mask FOLDER: what is painted is the mask that was written, whatever tool wrote it; what is no mask is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.run import Run
from reskin.cli import command
from reskin.comfy.errors import ServerUnreachable
from reskin.nouns import Nouns
from reskin.painting import read_windows
from reskin.stage import find_inputs
from reskin.windows import Window
from reskin.workflow import DRAFT, load_workflow
from tests.helpers import moving_square, write_clip
from tests.maskfiles import DAVIS, ENCODINGS, RGB, Bools, encode, labels, noise, write_folder
from tests.reskin.helpers import FPS, HEIGHT, SIDE, WIDTH, square_mask

FRAMES = 3
NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("masks")
    return ingest(write_clip(folder / "a.mp4", moving_square(FRAMES, WIDTH, HEIGHT, SIDE), fps=FPS), folder / "run")


def objects(run: Run, mask: Path) -> list[Bools]:
    """What the stage paints on, frame by frame."""
    clip = find_inputs(run, Nouns("drone", None), mask, None, load_workflow(DRAFT))
    return [each for window in read_windows(clip, [Window(0, 0, FRAMES)]) for each in window.objects]


def reskin(run: Run, mask: Path) -> None:
    arguments = ["--run", str(run.dir), "--prompt", "drone", "--server", NOBODY, "--mask", str(mask)]
    CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(ENCODINGS)))
def test_any_mask_in_any_encoding_is_what_is_painted_on(
    run: Run, tmp_path_factory: pytest.TempPathFactory, seed: int, encoding: str
) -> None:
    masks = np.random.default_rng(seed).random((FRAMES, HEIGHT, WIDTH)) < 0.3
    folder = write_folder(tmp_path_factory.mktemp("reskin") / "a", map(ENCODINGS[encoding], masks))
    assert np.array_equal(objects(run, folder), masks)


@pytest.mark.parametrize("names", ["{:05d}.png", "frame_{:05d}.png", "{}.PNG", "mask 1 ({}).png"])
def test_every_name_with_a_number_is_a_frame(run: Run, tmp_path: Path, names: str) -> None:
    masks = [square_mask(index) for index in range(FRAMES)]
    folder = write_folder(tmp_path / "masks", (labels(mask, 1, DAVIS) for mask in masks), names)
    (folder / "._00000.png").write_bytes(b"\0\x05\x16\x07")
    assert np.array_equal(objects(run, folder), masks)
    with pytest.raises(ServerUnreachable):  # all is well, but for the server
        reskin(run, folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lambda mask: encode(noise(mask), RGB), r"00000\.png has \d+ colours, so which"),
        (lambda mask: encode(noise(mask)[..., 0]), r"00000\.png has \d+ px of gray levels"),
        (lambda mask: encode(np.where(mask, 1, 0)), "levels from 0 to 1 only, none near 255"),
        (lambda mask: encode(np.where(mask, 0, 0)), "shows the object in no frame"),
        (lambda mask: encode(np.where(mask, 255, 0)[1:]), f"is {WIDTH}x{HEIGHT - 1} px, the clip is {WIDTH}x{HEIGHT}"),
        (lambda mask: b"a mask", "is another kind of file, and not a PNG"),
    ],
)
def test_what_is_no_mask_is_refused_before_a_server_is_asked(
    run: Run, tmp_path: Path, file: Callable[[Bools], bytes], message: str
) -> None:
    folder = write_folder(tmp_path / "masks", (file(square_mask(index)) for index in range(FRAMES)))
    with pytest.raises(InputError, match=message) as error:
        reskin(run, folder)
    assert error.value.exit_code == 2 and not list(run.dir.rglob("output.*"))


def test_a_frame_too_few_is_refused(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "masks", (ENCODINGS["gray"](square_mask(index)) for index in range(FRAMES - 1)))
    with pytest.raises(InputError, match=r"masks has 2 frames, the clip has 3; give the mask that was made from"):
        reskin(run, folder)
