"""How far the original mask itself can be trusted: what the tracker said of it in run.json.

A pass against a wrong mask is worth nothing, so a report says this beside its verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handoff.command import Spans, spans_of, spans_text
from handoff.jsonfile import (
    LINE,
    Check,
    Unfit,
    anything,
    listing,
    mapping,
    number,
    one_of,
    or_null,
    record,
    truth,
    whole,
)
from handoff.places import place_shape
from handoff.run import Run
from tracker.sam2.sizes import MODELS
from tracker.selection import BACKENDS
from tracker.witness.ruling import Standing

_SUSPICIOUS = "suspicious:"


@dataclass(frozen=True)
class Trust:
    """The tracker's doubts.

    suspicious: its ranges by reason ("area-jump"). absent: where it saw no object. cycle: how well a second track came
    back to the first (--verify), None where that was not asked for: "frames", "mean", "doubtful". known: whether
    anything is known at all; a mask from elsewhere, or from an early version's tracker, has no record. standing: what
    the witnesses say of the mask, heard anew by each evaluation (tracker.witness); None outside a run.
    """

    known: bool = False
    suspicious: dict[str, Spans] = field(default_factory=dict)
    absent: Spans = field(default_factory=list)
    cycle: dict[str, Any] | None = None
    standing: Standing | None = None

    @property
    def doubtful(self) -> list[int]:
        """The frames that either check doubts, ascending."""
        frames = {i for ranges in self.suspicious.values() for a, b in ranges for i in range(a, b + 1)}
        return sorted(frames | set(self.cycle["doubtful"] if self.cycle else ()))

    def as_json(self) -> dict[str, Any]:
        """Return it for iou.json."""
        return {
            "known": self.known,
            "suspicious": self.suspicious,
            "absent": self.absent,
            "cycle": self.cycle,
            "doubtful": self.doubtful,
            "standing": self.standing.as_json() if self.standing else None,
        }

    def lines(self) -> list[str]:
        """Return what a person should know, a sentence a line."""
        heard = [f"Original mask: {self.standing.sentence}"] if self.standing else []
        if not self.known:
            return [
                *heard,
                "Original mask: run.json has no tracker's doubts about it, so how far it can be trusted is not known",
            ]
        reasons = [f"{reason} in {spans_text(ranges)}" for reason, ranges in self.suspicious.items()]
        said = f"the tracker doubts {'; '.join(reasons)}" if reasons else "the tracker doubts no frame"
        if self.absent:
            said += f"; no object in {spans_text(self.absent)}"
        if self.cycle is None:
            cycle = "not tracked back (extract with --verify for that)"
        else:
            doubtful = numbers(self.cycle["doubtful"])
            cycle = (
                f"tracked back over {self.cycle['frames']} frames, mean IoU {self.cycle['mean'] or 0:.2f}, "
                f"doubtful: {doubtful or 'none'}"
            )
        return [*heard, f"Original mask: {said}; {cycle}"]


def numbers(frames: Iterable[int], most: int = 8) -> str:
    """Write frame numbers as spans."""
    return spans_text(spans_of(frames), most)


def _cycle(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not records:
        return None
    frames = sum(each["frames"] for each in records)
    total = sum(each["frames"] * each["mean"] for each in records if each["mean"] is not None)
    doubtful = sorted({frame for each in records for frame in each["doubtful"]})
    return {"frames": frames, "mean": round(total / frames, 3) if frames else None, "doubtful": doubtful}


def tracker_record(run: Run | None, frames: int) -> dict[str, Any]:
    """Return what run.json says of the tracker: "params", "notes" and "outputs", all empty where it says nothing.

    frames: of the clip. Raises JsonError for a record that no tracker writes.
    """
    found = run.recorded("tracker", _tracker_shape(frames)) if run else None
    return {"params": {}, "notes": {}, "outputs": []} | (found or {})


def _tracker_shape(frames: int) -> Check:
    frame = whole(0, frames - 1)

    def params(value: Any, place: str) -> None:
        known = {
            "backend": one_of(*BACKENDS),
            "model": one_of(*MODELS),
            "weights": LINE,
            "overrides": listing(LINE),
            "compiled": truth,
            "corrections": listing(place_shape),
            "keep": one_of("all", "largest"),
            "fill_holes": whole(0),
        }
        record({}, known)(value, place)
        if "frame" in value:
            place_shape(value, place)
        if value.get("backend") == "sam2":
            record({"model": anything})(value, place)

    def cuts(value: Any, place: str) -> None:
        listing(whole(1, frames - 1))(value, place)
        if any(after <= before for before, after in itertools.pairwise(value)):
            raise Unfit(place, "has cuts that are not in their order")

    spans = mapping(listing(listing(frame, 2, 2)), r"[a-z:-]{1,60}", "a status")
    verified = record(
        {"frames": whole(0), "mean": or_null(number(0, 1)), "doubtful": listing(frame)},
        {"ious": listing(or_null(number(0, 1)), 0, frames)},
    )
    notes = {
        "cuts": cuts,
        "skater": listing(place_shape),
        "status": record({"ranges": spans}),
        "verify": listing(verified),
    }
    return record({}, {"params": params, "notes": record({}, notes)})


def cycle_ious(run: Run, original: Path, frames: int) -> dict[int, float]:
    """Return the IoU of the two tracks by frame, where run.json has them (--verify) and the mask is the run's own."""
    stage = tracker_record(run, frames)
    if run.relative(original) not in {output["path"] for output in stage["outputs"]}:
        return {}
    lists = [each.get("ious", ()) for each in stage["notes"].get("verify", [])]
    return {frame: iou for ious in lists for frame, iou in enumerate(ious) if iou is not None}


def trust_of(run: Run | None, original: Path, frames: int) -> Trust:
    """Read what the tracker's record in a run says of a mask of so many frames; nothing is known of another's mask."""
    if run is None:
        return Trust()
    stage = tracker_record(run, frames)
    notes = stage["notes"]
    made = {output["path"] for output in stage["outputs"]}
    if run.relative(original) not in made or "status" not in notes:
        return Trust()
    ranges: dict[str, Spans] = notes["status"]["ranges"]
    suspicious = {key.removeprefix(_SUSPICIOUS): ranges[key] for key in sorted(ranges) if key.startswith(_SUSPICIOUS)}
    return Trust(True, suspicious, ranges.get("absent", []), _cycle(notes.get("verify", [])))
