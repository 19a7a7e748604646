"""What a manifest lists is on the disk before the manifest is: files and their folders, in that order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evaluator.cli import command as evaluator_command
from handoff.files import atomic_dir, files_in
from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import Frame, read_frames
from posegen.backend import Boxes, FramePose, PoseModel
from posegen.cli import command as posegen_command
from tests.evaluator.helpers import BLUE, FRAMES, write_output
from tests.posegen.helpers import line_of, person
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text


class Disk:
    """What was asked to be on the disk, in order: inodes, and the names that files took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, object]] = []
        fsync, replace = os.fsync, os.replace

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            self.events.append(("fsync", os.fstat(descriptor).st_ino))

        def renamed(source: os.PathLike[str], target: os.PathLike[str]) -> None:
            replace(source, target)
            self.events.append(("name", Path(target)))

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", renamed)

    def before(self, path: Path) -> set[object]:
        """The inodes that were on the disk when a file last took its name."""
        last = max(index for index, event in enumerate(self.events) if event == ("name", path))
        return {inode for kind, inode in self.events[:last] if kind == "fsync"}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def check(run: Path, manifest: Path, known: set[object], stage: str) -> int:
    """Every output of a stage, its files and the folder that has its name; returns the number of files."""
    outputs = json.loads(manifest.read_text())["stages"][stage]["outputs"]
    files = 0
    for output in outputs:
        path = run / output["path"]
        for each in (*(files_in(path) if path.is_dir() else [path]), path.parent, *([path] if path.is_dir() else [])):
            assert each.stat().st_ino in known, f"{stage}: {each} was not on the disk before {manifest.name}"
            files += each.is_file()
    return files


class OnePerson:
    """A pose backend that finds the same person in each frame."""

    def __init__(self) -> None:
        self.model = PoseModel("stand-in", "1", embedded=True, makes_masks=True)

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        for frame in frames:
            mask = np.zeros(frame.shape[:2], np.bool_)
            mask[20:100, 10:60] = True
            yield FramePose([person({0: (30, 20), **line_of(range(5, 17), 10, 60)})], mask)


def test_every_output_is_on_the_disk_before_its_manifest(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))  # no detector, whatever this machine has
    monkeypatch.setattr("posegen.mediapipe_backend.MediaPipeBackend", OnePerson)
    scene = make_scene(FRAMES, bouncing_board)
    line = ["--run", str(tmp_path / "run"), "-i", str(scene.write(tmp_path / "clip.mp4"))]
    posegen_command.main(line, standalone_mode=False)
    run = Run.open(tmp_path / "run")
    manifest = run.path("run.json")
    files = {stage: check(run.dir, manifest, disk.before(manifest), stage) for stage in ("ingest", "posegen")}
    invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--backend", "embedded")
    files["tracker"] = check(run.dir, manifest, disk.before(manifest), "tracker")
    assert files["ingest"] == 1 and files["posegen"] >= 2 * FRAMES + 3 and files["tracker"] >= 2 * FRAMES + 2
    output = write_output(run, repaint(list(read_frames(run.source)), list(read_masks(run.path("mask.mp4"))), BLUE))
    line = ["-original", str(run.path("mask.mp4")), "-generated", str(output)]
    CliRunner().invoke(evaluator_command, line, catch_exceptions=False)
    manifest = output.with_name("run.json")
    assert check(run.dir, manifest, disk.before(manifest), "evaluator") == 6


def test_a_folder_has_its_name_when_all_of_it_is_on_the_disk(tmp_path: Path, disk: Disk) -> None:
    with atomic_dir(tmp_path / "frames") as folder:
        for index in range(20):
            (folder / f"frame_{index:05d}.png").write_bytes(b"pixels")
        assert not [event for event in disk.events if event[0] == "fsync"], "asked for once all are written"
    there = {each.stat().st_ino for each in (tmp_path / "frames", *(tmp_path / "frames").iterdir())}
    assert len(there) == 21 and there <= disk.before(tmp_path / "frames")
