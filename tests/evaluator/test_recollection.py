"""--keep-track: the next evaluation tracks only from the first changed frame on, and finds the very same masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluator import recollection
from evaluator.recollection import LOOKED_AHEAD, NAME
from handoff.ingest import ingest
from handoff.masks import Mask, read_masks
from handoff.run import Run
from handoff.video import Frame, read_frames
from tests.evaluator.helpers import BLUE, masks_against, read_report, write_output
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text
from tracker.embedded.classical import EmbeddedTracker

COUNT, WINDOWS = 40, [[0, 9], [10, 19], [20, 29], [30, 39]]
RED = (200, 40, 30)
WHOLE = COUNT + 1
"""Frames that a track of the whole clip sees: the prompt's, frame 2, begins it both ways."""


def made(folder: Path, *options: str) -> Path:
    scene = make_scene(COUNT, bouncing_board)
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--backend", "embedded", *options)
    return run.dir


@pytest.fixture(scope="module")
def one_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("recollection"))


@pytest.fixture(scope="module")
def two_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = text(make_scene(COUNT, bouncing_board), 18)
    return made(tmp_path_factory.mktemp("shots"), "--correct", f"18:{box}", "--cuts", "15", "--keep", "largest")


@pytest.fixture
def run(one_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return copy(one_shot, tmp_path, monkeypatch)


def copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = Run.open(Path(shutil.copytree(folder, tmp_path / "run")))
    paint(run)
    return run


def paint(run: Run, **colours: tuple[int, int, int]) -> list[Frame]:
    """A reskin in four windows, and its frames as they decode; colours: of a window, such as w2, in place of blue."""
    frames, masks = list(read_frames(run.source)), list(read_masks(run.path("mask.mp4")))

    def painted() -> Iterator[Frame]:
        for number, (first, last) in enumerate(WINDOWS):
            here = slice(first, last + 1)
            yield from repaint(frames[here], masks[here], colours.get(f"w{number}", BLUE))

    clip = write_output(run, painted())
    document = json.loads(clip.with_name("output.json").read_text())
    clip.with_name("output.json").write_text(json.dumps({**document, "windows": WINDOWS}))
    return list(read_frames(clip))


Frames = list[dict[str, Any]]


class Gate:
    """The command on the reskin, and how many frames its tracker sees meanwhile."""

    def __init__(self, run: Run) -> None:
        self.run, self.seen, self.said = run, 0, ""

    def __call__(self, *options: str) -> tuple[Frames, int]:
        self.seen = 0
        files = ("-original", self.run.path("mask.mp4"), "-generated", self.run.path("reskins/drone/output.mp4"))
        self.said = masks_against(*files, "--format", "json", *options).output
        return read_report(self.run.path("reskins/drone/report"))["frames"], self.seen

    @property
    def kept(self) -> Path:
        return self.run.path(f"reskins/drone/{NAME}")

    def head(self) -> dict[str, Any]:
        return dict(json.loads((self.kept / "head.json").read_text()))

    def alone(self) -> tuple[Frames, dict[str, Any]]:
        """What an evaluation finds that knows of none before."""
        shutil.rmtree(self.kept, ignore_errors=True)
        frames, _ = self("--keep-track", "--force")
        return frames, self.head()


@pytest.fixture
def gate(run: Run, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return counting(run, monkeypatch)


def counting(run: Run, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(run)
    for name in ("resume", "step"):
        real = getattr(EmbeddedTracker, name)

        def counted(self: EmbeddedTracker, *arguments: Any, real: Callable[..., Mask] = real) -> Mask:
            gate.seen += 1
            return real(self, *arguments)

        monkeypatch.setattr(EmbeddedTracker, name, counted)
    return gate


@pytest.mark.parametrize("window", [2, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 3))])
def test_it_tracks_from_the_state_before_a_repainted_window_and_finds_what_the_whole_clip_gives(
    run: Run, gate: Gate, window: int
) -> None:
    before, seen = gate("--keep-track")
    assert seen == WHOLE and sorted(gate.head()["states"]) == ["16", "26", "6"]
    paint(run, **{f"w{window}": RED})
    after, seen = gate("--keep-track")
    behind = WINDOWS[window][0] - LOOKED_AHEAD - 1
    assert seen == COUNT - (behind + 1)
    assert f"frames 0 to {behind} are as they were, and so are their masks; tracking goes on behind" in gate.said
    kept = gate.head()
    assert (after, kept) == gate.alone(), "every mask and every state has the same bytes"
    assert after != before


@pytest.mark.slow
def test_it_goes_on_from_what_was_itself_gone_on_with(run: Run, gate: Gate) -> None:
    gate("--keep-track")
    paint(run, w1=RED)
    gate("--keep-track")
    paint(run, w1=RED, w3=RED)
    after, seen = gate("--keep-track")
    assert seen == COUNT - 27
    kept = gate.head()
    assert (after, kept) == gate.alone()


def test_where_the_prompt_or_what_is_before_it_has_changed_the_whole_clip_is_tracked(run: Run, gate: Gate) -> None:
    gate("--keep-track")
    paint(run, w0=RED)
    after, seen = gate("--keep-track")
    assert seen == WHOLE and "as they were" not in gate.said
    assert after == gate.alone()[0]


def test_the_same_clip_is_not_tracked_again_and_without_the_option_nothing_stays(run: Run, gate: Gate) -> None:
    before, _ = gate("--keep-track")
    assert gate("--keep-track", "--force")[1] == WHOLE, "--force is for who believes nothing"
    after, seen = gate("--threshold", "0.95", "--min-replaced", "0.5")
    assert seen == 0 and [each["iou"] for each in after] == [each["iou"] for each in before]
    assert f"frames 0 to {COUNT - 1} are as they were, and so are their masks\n" in gate.said
    assert not gate.kept.exists() and not list(run.path("reskins/drone").glob(".*.partial"))


@pytest.mark.slow
def test_a_shot_in_which_nothing_has_changed_is_taken_as_it_is(
    two_shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(two_shots, tmp_path, monkeypatch)
    gate = counting(run, monkeypatch)
    _, whole = gate("--keep-track")
    assert whole == COUNT + 2, "each shot's prompt begins it both ways"
    paint(run, w2=RED)
    after, seen = gate("--keep-track")
    assert seen == COUNT - 15 + 1, "state 16 is behind the cut but before the second shot's own prompt, frame 18"
    assert "frames 0 to 14 are as they were, and so are their masks\n" in gate.said
    assert after == gate.alone()[0]
    paint(run, w2=RED, w3=RED)
    after, seen = gate("--keep-track")
    assert seen == COUNT - 27
    assert after == gate.alone()[0]


def test_the_encoder_changes_no_more_frames_before_a_repainted_one_than_is_looked_ahead(run: Run) -> None:
    before = paint(run)
    for window in (1, 2, 3):
        after = paint(run, **{f"w{window}": RED})
        first = next(index for index, (old, new) in enumerate(zip(before, after, strict=True)) if (old != new).any())
        assert WINDOWS[window][0] - LOOKED_AHEAD <= first <= WINDOWS[window][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: (kept / "head.json").write_text((kept / "head.json").read_text() + " "),
        lambda kept: (kept / "26.state").write_bytes((kept / "16.state").read_bytes()),
        lambda kept: (kept / "masks").write_bytes(bytes(reversed((kept / "masks").read_bytes()))),
        lambda kept: (kept / "16.state").unlink(),
        lambda kept: (kept / "masks").unlink(),
        lambda kept: shutil.rmtree(kept.parents[3] / "state"),
    ],
    ids=["head", "state", "masks", "no state", "no masks", "another machine"],
)
def test_what_this_machine_did_not_write_is_not_believed(run: Run, gate: Gate, spoil: Callable[[Path], object]) -> None:
    before, _ = gate("--keep-track")
    paint(run, w3=RED)
    spoil(gate.kept)
    after, seen = gate("--keep-track")
    assert seen == WHOLE and after != before
    kept = gate.head()
    assert (after, kept) == gate.alone()


@pytest.mark.slow
def test_a_track_from_another_place_is_another_one(run: Run, gate: Gate) -> None:
    gate("--keep-track")
    assert gate("--keep-track", "-bbox", "10,55,75,85", "--frame", "0")[1] == COUNT


def test_cut_short_what_was_known_before_still_is(run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate("--keep-track")
    known = gate.head()
    paint(run, w2=RED)
    with monkeypatch.context() as patched:
        step = EmbeddedTracker.step

        def interrupted(self: EmbeddedTracker, frame: Frame) -> Mask:
            if gate.seen == 5:
                raise RuntimeError("pulled out")
            return step(self, frame)

        patched.setattr(EmbeddedTracker, "step", interrupted)
        with pytest.raises(RuntimeError, match="pulled out"):
            gate("--keep-track")
    assert gate.head() == known and not list(run.path("reskins/drone").glob(".*.partial"))
    after, seen = gate("--keep-track")
    assert seen == COUNT - 17 and after == gate.alone()[0]


@pytest.mark.parametrize(
    "full", ["16.state", *(pytest.param(each, marks=pytest.mark.slow) for each in ("masks", "head.json"))]
)
def test_where_the_disk_is_full_the_verdict_stands_and_nothing_is_kept(
    run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def opened(self: Path, mode: str = "r", *more: Any, real: Callable[..., Any] = Path.open, **options: Any) -> Any:
        writes = self.name == full and self.parent.name == NAME and "w" in mode
        return open("/dev/full", "wb", buffering=0) if writes else real(self, mode, *more, **options)

    monkeypatch.setattr(Path, "open", opened)
    frames, seen = gate("--keep-track")
    assert len(frames) == COUNT and seen == WHOLE
    assert not gate.kept.exists() and not list(run.path("reskins/drone").glob(".*.partial"))


@pytest.mark.slow
def test_states_are_thinned_out_and_bounded(run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recollection, "MOST_STATES", 2)
    gate("--keep-track")
    assert sorted(gate.head()["states"]) == ["26", "6"]
    monkeypatch.setattr(recollection, "MOST_BYTES", 400_000)
    shutil.rmtree(gate.kept)
    gate("--keep-track", "--force")
    assert sorted(gate.head()["states"]) == ["6"], "the second would be too much"
    paint(run, w3=RED)
    after, seen = gate("--keep-track")
    assert seen == COUNT - 7 and after == gate.alone()[0]
