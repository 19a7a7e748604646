"""What was made of a clip never passes for another one's, wherever the run that is begun anew is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from handoff.errors import BusyError, InputError
from handoff.files import sha256_file, sha256_path
from handoff.ingest import ingest
from handoff.run import EXTRACTED, Run, run_stage
from tests.helpers import moving_square, vouch_for, write_clip
from tests.steps import at_every_step

FOLDERS = {"pose_json", "pose_skater", "mask_skateboard", "mask_human"}


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two clips of one size and length."""
    return [write_clip(tmp_path / f"{side}.mp4", moving_square(4, side=side)) for side in (24, 32)]


def extracted(clip: Path, folder: Path) -> Run:
    """A run with all that extraction makes, and a reskin with its report."""
    run = ingest(clip, folder)
    for name in EXTRACTED:
        if name in FOLDERS:
            run.path(name).mkdir()
            (run.path(name) / "frame_00000.png").write_text(f"{name} of {clip.name}")
        else:
            run.path(name).write_text(f"{name} of {clip.name}")
        vouch_for(run.path(name))
    run.path("mine.txt").write_text("the user's own")
    own = Run.open(folder).reskin("drone")
    with run_stage(own, "reskin", params={}, inputs=[run.source, run.path("mask.mp4")], tools={}) as stage:
        (own.dir / "output.mp4").write_text("painted")
        stage.add_output(own.dir / "output.mp4")
    with run_stage(own, "evaluator", params={}, inputs=[run.path("mask.mp4")], tools={}) as stage:
        (own.dir / "report").mkdir()
        (own.dir / "report" / "iou.json").write_text("passed")
        stage.add_output(own.dir / "report" / "iou.json")
    return Run.open(folder)


def digests(run: Run) -> dict[str, str]:
    names = ("source.mp4", *EXTRACTED)
    return {name: sha256_path(run.path(name)) for name in names if run.path(name).exists()}


def test_at_no_step_does_another_clip_have_the_masks_of_the_old_one(clips: list[Path], tmp_path: Path) -> None:
    run = extracted(clips[0], tmp_path / "run")
    run.check_inputs(digests(run))
    old, new = (sha256_file(clip) for clip in clips)
    seen = []

    def look() -> None:
        source = sha256_file(run.source)
        there = [name for name in EXTRACTED if run.path(name).exists()]
        seen.append((source, len(there)))
        assert source == old or not there, "the new clip beside what was made of the old one"
        assert source == old or not run.path("reskins/drone/report/iou.json").exists()
        now = Run.open(run.dir)
        if now.manifest["source"]["sha256"] == new:
            assert source == new, "run.json comes last"
        recorded = {each["path"] for record in now.manifest["stages"].values() for each in record["outputs"]}
        assert recorded & {*EXTRACTED} <= {*there}, "the records go before the files"

    with at_every_step(look):
        anew = ingest(clips[1], run.dir, force=True)
    assert seen[0] == (old, len(EXTRACTED)) and seen[-1] == (new, 0)
    assert list(anew.manifest["stages"]) == ["ingest"]
    assert run.path("mine.txt").exists() and run.path("reskins/drone/output.mp4").read_text() == "painted"
    assert anew.reskin("drone").manifest["stages"] == {}


def test_the_same_clip_again_keeps_what_was_made_of_it(clips: list[Path], tmp_path: Path) -> None:
    run = extracted(clips[0], tmp_path / "run")
    before = digests(run)
    anew = ingest(clips[0], run.dir, force=True)
    assert digests(anew) == before and anew.manifest["stages"].keys() == run.manifest["stages"].keys()
    anew.check_inputs(before)


def test_a_clip_that_cannot_be_used_takes_nothing_away(clips: list[Path], tmp_path: Path) -> None:
    run = extracted(clips[0], tmp_path / "run")
    before = digests(run)
    clips[1].write_bytes(clips[1].read_bytes()[:-400])
    with pytest.raises(InputError):
        ingest(clips[1], run.dir, force=True)
    assert digests(run) == before
    Run.open(run.dir).check_inputs(before)


def test_a_run_whose_manifest_is_lost_vouches_for_nothing(clips: list[Path], tmp_path: Path) -> None:
    run = extracted(clips[0], tmp_path / "run")
    (run.dir / "run.json").write_text("{")
    anew = ingest(clips[1], run.dir, force=True)
    with pytest.raises(InputError, match=r"was not made of this run's source\.mp4: .* no stage in run\.json made it"):
        anew.check_inputs(digests(anew))


Spoil = Callable[[Run, Path], object]


def _other_source(run: Run, other: Path) -> None:
    """As an earlier version left a run that was begun anew: the record of another clip, the masks of the old one."""
    data = json.loads((run.dir / "run.json").read_text())
    run.source.write_bytes(other.read_bytes())
    data["stages"]["ingest"]["outputs"][0]["sha256"] = sha256_file(other)
    (run.dir / "run.json").write_text(json.dumps(data))


def _forgotten(run: Run, other: Path) -> None:
    data = json.loads((run.dir / "run.json").read_text())
    data["stages"] = {"ingest": data["stages"]["ingest"]}
    (run.dir / "run.json").write_text(json.dumps(data))


def _changed(run: Run, other: Path) -> None:
    run.path("mask.mp4").write_text("another")


def _link(run: Run, other: Path) -> None:
    run.path("mask.mp4").unlink()
    run.path("mask.mp4").symlink_to(other)


@pytest.mark.parametrize("spoil", [_other_source, _forgotten, _changed, _link])
def test_a_stage_refuses_what_no_record_of_this_source_vouches_for(
    clips: list[Path], tmp_path: Path, spoil: Spoil
) -> None:
    run = extracted(clips[0], tmp_path / "run")
    spoil(run, clips[1])
    now = Run.open(run.dir)
    with (
        pytest.raises(
            InputError, match=r"mask\.mp4 (was not made of this run's source\.mp4|is, or lies behind, a link)"
        ),
        run_stage(now.reskin("drone"), "reskin", params={}, inputs=[run.source, run.path("mask.mp4")], tools={}),
    ):
        pytest.fail("it has begun")


def test_a_stage_whose_run_is_begun_anew_meanwhile_does_not_work_on_the_other_clip(
    clips: list[Path], tmp_path: Path
) -> None:
    run = ingest(clips[0], tmp_path / "run")
    ingest(clips[1], tmp_path / "run", force=True)
    with (
        pytest.raises(BusyError, match="anew of another clip"),
        run_stage(run, "tracker", params={}, inputs=[run.source], tools={}),
    ):
        pytest.fail("it has begun")
