"""The gate tracks again with what made the original mask: the same SAM 2.1, places and skater, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch

from evaluator.cli import command
from evaluator.retrack import choose_setup, retrack
from handoff.errors import InputError, MissingError
from handoff.ingest import ingest
from handoff.masks import Mask, read_masks
from handoff.run import Run
from tests.helpers import write_clip
from tests.tracker.helpers import invoke, masks_of
from tests.tracker.sam2.helpers import BOX, OTHER, TINY, environment, moving_scene, write_pose
from tracker.sam2.session import Sam2Session, TrackedFrame
from tracker.selection import TrackerChoice


@pytest.fixture
def run(tmp_path: Path, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose object and skater were tracked from a box, a point and a correction; output.mp4 is its source.

    So the same tracker has to find the same masks, and --min-replaced 0 asks for nothing new.
    """
    for key, value in environment(tmp_path / "home", checkpoint).items():
        monkeypatch.setenv(key, value)
    run = ingest(write_clip(tmp_path / "clip.mp4", moving_scene(8)), tmp_path / "run")
    write_pose(run)
    invoke(run, "--bbox", str(BOX), "--frame", "4", "--point", "45,45,0", "--correct", f"6:{OTHER}", *TINY)
    (run.dir / "reskins" / "same").mkdir(parents=True)
    shutil.copy(run.source, run.dir / "reskins" / "same" / "output.mp4")
    return Run.open(run.dir)


def gate(run: Run, *options: str) -> Result:
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/same/output.mp4"))]
    return CliRunner().invoke(
        command, [*files, "--min-replaced", "0", *options], catch_exceptions=False, standalone_mode=False
    )


def again(run: Run, wanted: TrackerChoice | None = None) -> list[Mask]:
    setup = choose_setup(run, run.path("mask.mp4"), run.info, None, None, wanted)
    return list(retrack(run.path("reskins/same/output.mp4"), setup))


def test_the_same_clip_tracked_again_has_the_same_mask_and_the_report_says_with_what(
    run: Run, checkpoint: tuple[Path, str]
) -> None:
    result = gate(run)
    assert result.return_value == 0 and "1 correction(s) (from run)" in result.output
    how = json.loads(run.path("reskins/same/report/iou.json").read_text())
    text = json.dumps(how)
    assert checkpoint[1] in text and '"model": "tiny"' in text and '"corrections": [{"box": [60, 10, 90, 60]' in text
    assert min(json.loads(text)["frames"][index]["iou"] for index in range(8)) == 1.0


def test_points_corrections_and_the_skater_are_part_of_it(run: Run) -> None:
    original = masks_of(run)
    assert np.array_equal(again(run), original)
    stage = run.manifest["stages"]["tracker"]
    for where, key in (("params", "points"), ("params", "corrections"), ("notes", "skater")):
        kept = stage[where].pop(key)
        assert not np.array_equal(again(run), original), key
        stage[where][key] = kept


def test_other_weights_are_refused_with_both_digests(run: Run, checkpoint: tuple[Path, str]) -> None:
    run.manifest["stages"]["tracker"]["params"]["weights"] = "ab" * 32
    run.save()
    with pytest.raises(InputError, match=f"weights {'ab' * 32}, here it is {checkpoint[1]}"):
        gate(run)


EVIL = (
    "++model.extra={{_target_: os.mkdir, path: {0}}}",
    "++model.memory_attention={{_target_: os.mkdir, _args_: ['{0}']}}",
    "+hydra.run.dir={0}",
)


@pytest.mark.parametrize("evil", EVIL)
def test_what_a_run_says_of_the_configuration_never_reaches_the_model(run: Run, tmp_path: Path, evil: str) -> None:
    """Hydra makes what an override names: a run of a stranger would run code when it is judged."""
    made = tmp_path / "made"
    params = run.manifest["stages"]["tracker"]["params"]
    params["overrides"] = [*params["overrides"], evil.format(made)]
    run.save()
    with pytest.raises(InputError, match=r"another configuration of SAM 2\.1 .* are not taken from run\.json"):
        gate(run)
    said = gate(run, "--backend", "sam2").output
    assert "SAM 2.1 Hiera tiny" in said and "are not taken from run.json" in said
    how = json.loads(run.path("reskins/same/report/iou.json").read_text())["how"]
    assert evil.format(made) not in json.dumps(how)
    assert not made.exists()


def test_a_run_made_with_the_tests_configuration_is_not_judged_without_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKER_SAM2_OVERRIDES")
    with pytest.raises(InputError, match="another configuration"):
        gate(run)


def test_without_its_weights_the_gate_stops_unless_another_tracker_is_named(run: Run) -> None:
    (run.dir.parent / "home" / "models" / "sam2.1_hiera_tiny.pt").unlink()
    with pytest.raises(MissingError, match=r"sam2\.1_hiera_tiny\.pt") as refused:
        gate(run)
    assert refused.value.exit_code == 3
    box = ("-bbox", str(BOX), "--frame", "4")
    said = gate(run, *box, "--backend", "embedded").output
    assert "tracker: embedded tracker" in said and "(from flag)" in said
    limit = "P was not found by the original mask's own tracker: the original mask was made with backend sam2, here"
    report = run.path("reskins/same/report")
    for text in (said, *((report / name).read_text() for name in ("summary.md", "junit.xml"))):
        assert limit in text
    how = json.loads((report / "iou.json").read_text())["how"]
    assert how["other_tracker"].endswith("made with backend sam2, here it is embedded")
    assert len(list(read_masks(run.path("mask.mp4")))) == 8


def test_named_without_a_model_it_is_the_recorded_one_and_other_weights_are_said(run: Run) -> None:
    assert "SAM 2.1 Hiera tiny" in gate(run, "--backend", "sam2").output
    how = json.loads(run.path("reskins/same/report/iou.json").read_text())["how"]
    assert (how["model"], how["other_tracker"]) == ("tiny", None)
    run.manifest = Run.open(run.dir).manifest
    run.manifest["stages"]["tracker"]["params"]["weights"] = "ab" * 32
    run.save()
    assert f"made with weights {'ab' * 32}, here it is" in gate(run, "--backend", "sam2").output


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("can't allocate memory")],
    ids=["gpu", "cpu"],
)
def test_memory_that_runs_out_is_said_with_what_to_lower_and_the_report_is_of_a_part(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    stepped = Sam2Session.propagate

    def starved(self: Sam2Session) -> Iterator[TrackedFrame]:
        for found in stepped(self):
            if found.frame_index == 6:
                raise error
            yield found

    monkeypatch.setattr(Sam2Session, "propagate", starved)
    with pytest.raises(MissingError, match=r"tiny found no memory on cpu \(.*memory.*or a smaller --model"):
        gate(run)
    summary = json.loads(run.path("reskins/same/report/iou.json").read_text())["summary"]
    assert not summary["complete"] and not summary["passed"] and summary["frames"] <= 6
