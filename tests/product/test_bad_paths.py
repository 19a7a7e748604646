"""A path that cannot be used, given to any option of any stage's command, is one sentence and exit code 2 or 3."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import click
import pytest

from handoff.command import main
from handoff.ingest import ingest
from handoff.run import Run
from handoff.video import VideoWriter
from tests.helpers import Product, moving_square, vouch_for, write_clip

STAGES = ("posegen.cli", "tracker.cli", "tracker.grid.cli", "reskin.cli", "evaluator.cli", "handoff.weights.cli")
NOBODY = 65534


def command_of(module: str) -> click.Command:
    return next(each for each in vars(importlib.import_module(module)).values() if isinstance(each, click.Command))


PATHS = [
    (stage, max(option.opts, key=len))
    for stage in STAGES
    for option in command_of(stage).params
    if isinstance(option.type, click.Path) or option.name == "workflow_name"
]


def test_every_option_that_takes_a_path_is_tried() -> None:
    assert len(PATHS) >= 18
    assert {("tracker.cli", "--run"), ("reskin.cli", "--pose"), ("evaluator.cli", "--output")} <= set(PATHS)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may use; nobody but its owner may use pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with open_folder() as folder:
        run = ingest(write_clip(folder / "clip.mp4", moving_square(6)), folder / "run")
        with VideoWriter(run.path("mask.mp4"), Fraction(25), 160, 120, mode="mask") as writer:
            for frame in moving_square(6):
                writer.write((frame[..., 0] > 128) * frame.dtype.type(255))
        vouch_for(run.path("mask.mp4"))
        run.dir.chmod(0o777)
        for file in run.dir.iterdir():
            file.chmod(0o666)
        yield Run.open(run.dir)


@pytest.fixture
def bad() -> Iterator[dict[str, str]]:
    with open_folder() as folder:
        (folder / "loop.json").symlink_to("loop.json")
        (folder / "file.json").write_text("")
        (folder / "folder.json").mkdir()
        (folder / "unreadable.json").touch(mode=0)
        (folder / "closed").mkdir(mode=0)
        yield {
            "long": f"{'x' * 300}.json",
            "deep": f"{'x/' * 3000}x.json",
            "loop": str(folder / "loop.json"),
            "below_a_file": str(folder / "file.json" / "below.json"),
            "folder": str(folder / "folder.json"),
            "empty": str(folder / "file.json"),
            "nul": "a\0b.json",
            "none": str(folder / "nothing.json"),
            "unreadable": str(folder / "unreadable.json"),
            "closed": str(folder / "closed" / "x.json"),
        }


KINDS = ("long", "deep", "loop", "below_a_file", "folder", "empty", "nul", "none", "unreadable", "closed")


GOOD = {
    *(("tracker.grid.cli", "--output", kind) for kind in ("none", "loop", "empty", "unreadable")),
    *(("reskin.cli", "--plan", kind) for kind in ("none", "loop", "empty")),
    *(("evaluator.cli", "--output", kind) for kind in ("none", "loop", "folder")),
}
"""What may be written: a new picture or plan, or one in the place of a file or a link; a new report's folder."""


@contextlib.contextmanager
def as_nobody(wanted: bool) -> Iterator[None]:
    """Root reads everything, so what is about permissions is tried as somebody else."""
    if not wanted or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def others_of(stage: str, option: str, run: Run) -> list[str]:
    """What else a command needs to come as far as the path."""
    clip, mask = str(run.source), str(run.path("mask.mp4"))
    needed = {
        "posegen.cli": {"--run": str(run.dir)} | ({} if option == "--again-as" else {"--no-detector": None}),
        "tracker.cli": {"--run": str(run.dir), "--bbox": "20,40,52,72", "--check": None},
        "tracker.grid.cli": {} if option == "--run" else {"--input": clip},
        "reskin.cli": {"--run": str(run.dir), "--prompt": "drone", "--workflow": "draft", "--check": None},
        "evaluator.cli": {"--original": mask, "--generated": clip, "--check": None, "--backend": "embedded"},
        "handoff.weights.cli": {"--check": None},
    }[stage]
    if option == "--prompts-file":
        needed.pop("--prompt")
    if option == "--generated-mask":
        needed = {"--original": mask}
    if option == "--reference":
        needed["--workflow"] = "wan_vace"
    if option == "--generated-pose":
        needed.pop("--backend")
    needed.pop(option, None)
    return [each for name, value in needed.items() for each in ([name] if value is None else [name, value])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stage", "option"), PATHS)
def test_a_bad_path_is_one_sentence(
    run: Run,
    bad: dict[str, str],
    stage: str,
    option: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [option, bad[kind], *others_of(stage, option, run)]
    if option == "--plan" and kind in ("unreadable", "closed"):
        pytest.skip("a plan locks the reskin's folder first, and whoever may not write there has that said")
    with pytest.raises(SystemExit) as ended, as_nobody(kind in ("unreadable", "closed")):
        main(command_of(stage), arguments)
    said = capfd.readouterr().err.strip()
    assert "Traceback" not in said
    assert ended.value.code in ((0,) if (stage, option, kind) in GOOD else (2, 3)), said
    if option != "--workflow" and (stage, option, kind) not in GOOD:
        shown = "NUL" if kind == "nul" else bad[kind][:20]
        assert shown in said.splitlines()[-1] or "is missing" in said, said


@pytest.mark.parametrize(
    "line",
    [
        ("extract_physics.py", "--bbox", "20,40,52,72", "-i", "BAD"),
        ("generate_reskin.py", "--prompt", "drone", "--run", "BAD"),
        ("generate_reskin.py", "--prompt", "drone", "--mask", "BAD"),
        ("evaluate_iou.py", "--generated", "output.mp4", "--original", "BAD"),
        ("evaluate_iou.py", "--original", "mask.mp4", "--generated", "BAD"),
    ],
)
@pytest.mark.parametrize("kind", ["long", "deep", "loop", "below_a_file"])
def test_a_root_command_refuses_it_too(product: Product, bad: dict[str, str], line: tuple[str, ...], kind: str) -> None:
    (product.data / "runs").mkdir(parents=True)
    done = product(*(bad[kind] if each == "BAD" else each for each in line))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("error: ")
