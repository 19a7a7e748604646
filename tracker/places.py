"""Checking and choosing where the object is: flags, else prompts.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from handoff.box import Box, check_box
from handoff.errors import InputError, UsageError
from handoff.prompts import Place, Point, Prompt, read_prompts
from handoff.run import Run
from handoff.video import ClipInfo


def check_place(place: Place, info: ClipInfo) -> None:
    """Raise InputError, with the values seen, for a frame, box or point that the clip does not have."""
    if not 0 <= place.frame < info.frames:
        raise InputError(
            f"frame {place.frame} is not in the clip: it has {info.frames} frames, 0 to {info.frames - 1}."
        )
    if place.box is None and not place.points:
        raise UsageError(f"where is the object on frame {place.frame}? Give a box or a point.")
    if place.box is not None:
        check_box(place.box, info.width, info.height)
    for point in place.points:
        if not (0 <= point.x < info.width and 0 <= point.y < info.height):
            raise InputError(
                f"the point {point.x:g},{point.y:g} does not lie inside the frame of {info.width}x{info.height} px."
            )


def check_places(places: Sequence[Place], info: ClipInfo) -> None:
    """The same for all places of one thing; UsageError for two on one frame."""
    for place in places:
        check_place(place, info)
    frames = [place.frame for place in places]
    for frame in frames:
        if frames.count(frame) > 1:
            raise UsageError(f"frame {frame} is given twice; a correction goes on a frame of its own.")


def choose_prompt(
    run: Run,
    box: Box | None,
    points: Sequence[Point],
    frame: int | None,
    corrections: Sequence[Place],
    origin: str = "flag",
) -> Prompt:
    """The prompt from the flags, else from prompts.json; raises before anything is written when it cannot be used.

    A box or points from the flags replace all that prompts.json says; corrections alone replace its corrections.
    """
    if box is None and not points:
        stored = read_prompts(run).get("object")
        if stored is None or (frame is not None and frame != stored.frame):
            raise UsageError(
                f"where is the object{'' if frame is None else f' on frame {frame}'}? Give its box in pixels: "
                "--bbox x1,y1,x2,y2, and --frame N for the frame it is on."
            )
        kept = tuple(corrections) or stored.corrections
        prompt = replace(stored, corrections=kept)
    else:
        prompt = Prompt(box, 0 if frame is None else frame, origin, tuple(points), tuple(corrections))
    check_places(prompt.places, run.info)
    return prompt
