"""P: the new object's mask, found by the tracker that made the original mask, from the same places.

`choose_setup` decides tracker and places, `retrack` tracks. `floor_ious` is the noise floor: what IoU the same second
track gives on the source itself, encoded as the output was. A frame that fails there too may fail by the tracker alone;
`second_ious` are those of a second judge in the generated clip: another tracker, or the same one from the other end.
Both inform, and the verdict never looks at them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluator.trust import numbers, tracker_record
from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.files import scratch_dir
from handoff.jsonfile import read_json, record, whole
from handoff.links import check_way
from handoff.masks import Mask, bounds, mask_iou, read_masks
from handoff.places import Box, Place, check_places
from handoff.run import Run
from handoff.video import ClipInfo, VideoWriter, clip_colours, read_frames
from tracker.interface import Keep, Recall, TrackerBackend
from tracker.quality import ends_of
from tracker.sam2.sizes import MODELS
from tracker.selection import TrackerChoice, check_same, difference, make_backend, wanted_again
from tracker.tracker import Request, SkateboardTracker


@dataclass(frozen=True)
class Setup:
    """How to track again.

    places: of the object, the first prompt first. skater: places of the skater, for a tracker that follows both, so
    that a pixel which both claim is decided as it was the first time. shots: as the clip was cut, empty for one.
    keep, fill_px: how masks are tidied, as the original's were. differs: in what the tracker is not the original
    mask's own, None where it is the same or where nobody knows. origin of the places: "flag", "run", "mask" (the
    first frame where the original is not empty) or, of a second judge, "backward". remarks: sentences for the console
    on what was decided.
    """

    backend: TrackerBackend
    places: tuple[Place, ...]
    origin: str
    skater: tuple[Place, ...] = ()
    shots: tuple[range, ...] = ()
    keep: str = "all"
    fill_px: int = 0
    differs: str | None = None
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return it for the console."""
        first, *more = self.places
        where = f"box {first.box}" if first.box else f"{len(first.points)} point(s)"
        corrections = f", {len(more)} correction(s)" if more else ""
        said = f"tracker: {self.backend.description}; {where} on frame {first.frame}{corrections} (from {self.origin})"
        return [*self.remarks, said]

    def as_json(self) -> dict[str, Any]:
        """Return it for a report."""
        first, *corrections = (place.as_json() for place in self.places)
        tracker = {"tracker": self.backend.name} | {k: v for k, v in self.backend.params.items() if k != "backend"}
        more: dict[str, Any] = {"corrections": corrections} if corrections else {}
        if self.skater:
            more["skater"] = [place.as_json() for place in self.skater]
        if self.shots:
            more["cuts"] = [shot.start for shot in self.shots[1:]]
        if (self.keep, self.fill_px) != ("all", 0):
            more |= {"keep": self.keep, "fill_holes": self.fill_px}
        return tracker | first | more | {"box_from": self.origin, "other_tracker": self.differs}

    @property
    def judge(self) -> str:
        """What tracks, in words, and from where, for a second judge."""
        if self.origin != BACKWARD:
            return self.backend.description
        frames = [place.frame for place in self.places]
        where = f"frame{'s' if len(frames) > 1 else ''} {numbers(frames)}"
        return f"{self.backend.description}, backward: from the other end ({where})"

    def judge_as_json(self) -> dict[str, Any]:
        """Return the same as parameters."""
        where = {"places": [place.as_json() for place in self.places]} if self.origin == BACKWARD else {}
        return self.backend.params | where


def choose_setup(
    run: Run | None,
    original: Path,
    info: ClipInfo,
    box: Box | None,
    frame: int | None,
    wanted: TrackerChoice | None = None,
) -> Setup:
    """Decide tracker and places: what was asked for, else what run.json says, else the first non-empty mask.

    A box without a frame is frame 0's, unless it is the very box of the run's own prompt: then that prompt's frame is
    meant. It replaces the object's places in its own shot; a shot's mask depends on no other's places.
    Raises InputError for a box or a frame outside the clip and for a tracker that is not the same, UsageError for a
    frame without a box, MissingError for missing weights.
    """
    stage = tracker_record(run, info.frames)
    recorded, notes = stage["params"], stage["notes"]
    starts = [0, *notes.get("cuts", ()), info.frames]
    shots = tuple(range(a, b) for a, b in itertools.pairwise(starts)) if len(starts) > 2 else ()
    made_from: tuple[Place, ...] = ()
    if "frame" in recorded:
        made_from = (Place.from_json(recorded), *(Place.from_json(each) for each in recorded.get("corrections", ())))
    remarks = []
    if box is not None:
        at, meant = (frame, None) if frame is not None else _frame_of(box, made_from)
        remarks = [meant] if meant else []
        elsewhere = [place for place in made_from if any(place.frame in shot and at not in shot for shot in shots)]
        places, origin = (Place(at, box), *elsewhere), "flag"
    elif frame is not None:
        raise UsageError(f"--frame {frame} needs a box on that frame: add -bbox x1,y1,x2,y2.")
    elif made_from:
        places, origin = made_from, "run"
    else:
        places, origin = (_first_box(original),), "mask"
    check_places(places, info)
    wanted = wanted or TrackerChoice()
    only_a_device = wanted.device != "auto" and wanted == TrackerChoice(device=wanted.device)
    if only_a_device and recorded.get("backend") == "embedded":
        remarks.append(f"--device {wanted.device}: the run's own tracker is the embedded one, which knows no devices")
        wanted = TrackerChoice()
    backend = choose_backend(recorded, wanted)
    backend.check(places)
    skater = _skater(notes) if backend.tracks_skater else ()
    tidy = str(recorded.get("keep", "all")), int(recorded.get("fill_holes", 0))
    differs = difference(backend, recorded) if "backend" in recorded else None
    return Setup(backend, places, origin, skater, shots, *tidy, differs, tuple(remarks))


def _frame_of(box: Box, made_from: tuple[Place, ...]) -> tuple[int, str | None]:
    """Return the frame that a box without one is meant for, and what is to be said where that is in question."""
    own = made_from[0] if made_from else None
    if own is None or own.frame == 0:
        return 0, None
    if own.box == box:
        return own.frame, f"-bbox {box} is the box of the run's own prompt, so its frame {own.frame} is meant"
    return 0, f"-bbox {box} is taken for frame 0; the run's own prompt is on frame {own.frame}, --frame names another"


def _first_box(original: Path) -> Place:
    for index, mask in enumerate(read_masks(original)):
        box = bounds(mask)
        if box is not None:
            return Place(index, box)
    raise InputError(f"{original} is empty in every frame, so there is no outline to hold the gate to.")


def choose_backend(recorded: dict[str, Any], wanted: TrackerChoice) -> TrackerBackend:
    """The tracker that run.json names; another one only when it is asked for by name.

    Asked for by the name that run.json has, and without a model, it is that model; other weights are taken then.
    Raises InputError where it is not the same (other weights), MissingError where it is not here (weights, GPU).
    """
    known = recorded.get("backend")
    if known is None or wanted.backend not in ("auto", known) or wanted.model is not None or wanted.compiled:
        return make_backend(wanted)
    backend = make_backend(wanted_again(recorded, wanted.device))
    if wanted.backend == "auto":
        check_same(backend, recorded)
    return backend


BACKWARD, EMBEDDED = "backward", "embedded"
TRACKERS = (EMBEDDED, *MODELS)
"""What --second-judge may name beside BACKWARD: the embedded tracker, and the sizes of SAM 2.1."""


def second_setup(setup: Setup, run: Run | None, original: Path, info: ClipInfo, judge: str, device: str) -> Setup:
    """Return how a second judge tracks the object again: another one of TRACKERS from the same places, or BACKWARD.

    Raises UsageError where it is the tracker that judges already, or cannot begin at these places, MissingError where
    it is not here (weights, GPU).
    """
    if judge == BACKWARD:
        return _backward(setup, original, info)
    wanted = TrackerChoice(EMBEDDED) if judge == EMBEDDED else TrackerChoice("sam2", judge, device)
    backend = make_backend(wanted)
    if difference(backend, setup.backend.params) is None:
        others = ", ".join(each for each in (*TRACKERS, BACKWARD) if each != judge)
        raise UsageError(f"--second-judge {judge} is the tracker that judges already; name another one of {others}.")
    try:
        backend.check(setup.places)
    except UsageError as error:
        raise UsageError(f"--second-judge {judge} cannot begin where the first track did: {error}") from error
    skater = _skater(tracker_record(run, info.frames)["notes"]) if backend.tracks_skater else ()
    return replace(setup, backend=backend, skater=skater, differs=None, remarks=())


def _backward(setup: Setup, original: Path, info: ClipInfo) -> Setup:
    """Return how the same tracker comes back: in each shot from the original mask's box at its other end.

    That is the last frame with a whole mask, or the first one where that is farther from all places of the first track.
    """
    shots, places = setup.shots or (range(info.frames),), []
    for first, last in ends_of(read_masks(original), shots):
        shot = next(each for each in shots if first.frame in each)
        known = [place.frame for place in setup.places if place.frame in shot]
        away = {end: min((abs(end.frame - each) for each in known), default=0) for end in (last, first)}
        places.append(max(away, key=away.__getitem__))
    return replace(setup, places=tuple(places), origin=BACKWARD, remarks=())


def _skater(notes: dict[str, Any]) -> tuple[Place, ...]:
    return tuple(Place.from_json(each) for each in notes.get("skater", ()))


def retrack(
    generated: Path, setup: Setup, info: ClipInfo | None = None, recall: Recall | None = None
) -> Iterator[Mask]:
    """Yield the mask (H, W) bool of the object in every frame of the generated clip, in order.

    info: of the generated clip, where its frames have been counted already. recall: what is known of it.
    """
    tracker = SkateboardTracker(setup.backend)
    tracker.recall = recall
    tracker.init_video(generated, info)
    keep: Keep = "largest" if setup.keep == "largest" else "all"
    tracker.request = Request(setup.places, setup.skater, setup.shots, keep, setup.fill_px)
    for _, mask in tracker.propagate_yield():
        yield mask


USUAL_CRF = 12
"""x264's quality where no output.json says what the generated clip was encoded with: that of the reskin stage."""


def output_crf(generated: Path) -> int:
    """Return the CRF that the generated clip was encoded with, from output.json beside it, else USUAL_CRF."""
    path = generated.with_name("output.json")
    check_way(path)
    if not path.is_file():
        return USUAL_CRF
    encoded = read_json(
        path, record({}, {"encoder": record({}, {"crf": whole(0, 51)})}), advice="make the reskin again"
    )
    return int(encoded.get("encoder", {}).get("crf", USUAL_CRF))


def second_ious(original: Path, generated: Path, info: ClipInfo, setup: Setup) -> Iterator[float]:
    """Track in the generated clip once more, and yield the IoU of each frame with the original mask.

    setup: of the second judge.
    """
    pairs = zip(read_masks(original), retrack(generated, setup, info), strict=True)
    for truth, found in progress(pairs, total=info.frames, desc="second judge"):
        yield mask_iou(truth, found)


def floor_ious(original: Path, source: Path, info: ClipInfo, setup: Setup, crf: int, folder: Path) -> Iterator[float]:
    """Encode the source again, track in it, and yield the IoU of each frame with the original mask.

    folder: where the encoded clip lies meanwhile; it is removed at the end.
    """
    with scratch_dir(folder / "floor") as work:
        clip = work / "source.mp4"
        colours = clip_colours(source)
        with VideoWriter(clip, info.fps, info.width, info.height, crf=crf, colours=colours) as writer:
            for frame in read_frames(source):
                writer.write(frame)
        pairs = zip(read_masks(original), retrack(clip, setup), strict=True)
        for truth, found in progress(pairs, total=info.frames, desc="calibrate"):
            yield mask_iou(truth, found)
