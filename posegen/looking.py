"""What the stage does before the skeleton: who the skater is, where the object is, in run.json and prompts.json."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from handoff.errors import UsageError
from handoff.prompts import FILE, read_prompts, write_prompt
from handoff.run import Run
from posegen.detect.coco import class_number
from posegen.detect.find import Found, find, object_prompt
from posegen.detect.models import DEFAULT_MODEL, MODELS, has_detector, open_detector
from posegen.detect.skater import Where
from posegen.detect.stage import EVERY, detect_clip
from posegen.options import DEFAULT_OBJECT


@dataclass(frozen=True)
class Look:
    """What the user asks of the detector; None: not said.

    thing: the object's class. where: who the skater is. needed: the skeleton's backend, or an option, needs it.
    unwanted: it is not to be used although it is there.
    """

    thing: str | None = None
    where: Where | None = None
    every: int | None = None
    detector: str | None = None
    device: str = "auto"
    needed: bool = False
    unwanted: bool = False

    def __post_init__(self) -> None:
        if self.thing is not None:
            class_number(self.thing)  # a typo is refused before any work
        if self.unwanted and self.asked_for:
            raise UsageError("--no-detector leaves nothing that could answer the other options; leave it out, or them.")

    @property
    def possible(self) -> bool:
        """Whether the detector's weights are there."""
        return not self.unwanted and has_detector(self.detector or DEFAULT_MODEL)

    @property
    def asked_for(self) -> bool:
        """Whether an option is given that only a detector can answer."""
        return self.needed or any(each is not None for each in (self.thing, self.where, self.every, self.detector))


def look(run: Run, wanted: Look, prompt_only: bool, force: bool) -> Found | None:
    """Detect, say who the skater is, and set the object's prompt; None where there is no detector and no need of one.

    The object's prompt is set where `thing` is named or no box was given by hand. Not finding it is an InputError
    where it was named or is all that is wanted (`prompt_only`), else a warning: a skeleton needs no object.
    Raises MissingError where a detector is needed and its weights are not there.
    """
    stored = read_prompts(run).get("object")
    by_hand = stored is not None and stored.origin != "detector"
    if prompt_only and by_hand and not wanted.asked_for:
        return None
    if not (wanted.asked_for or prompt_only or wanted.possible):
        return None
    name = wanted.thing or (stored.detected.name if stored and stored.detected else DEFAULT_OBJECT)
    size = wanted.detector or DEFAULT_MODEL
    detector = open_detector(size, wanted.device)
    path, fresh = detect_clip(run, MODELS[size], detector, wanted.every or EVERY, force)
    renew = wanted.thing is not None or not by_hand
    place = None if renew or stored is None else stored.places[0]
    found = find(run, path, name, wanted.where, place)
    if fresh or prompt_only:
        click.echo(f"detect: {found.summary}")
    if renew and (found.things or wanted.thing is not None or prompt_only):
        prompt = object_prompt(run, path, found)
        if stored is not None and stored.places[0] == prompt.places[0]:
            prompt = replace(prompt, corrections=stored.corrections)
        with run.lock():
            write_prompt(run, "object", prompt)
        if prompt == stored:
            return found
        score = prompt.detected.score if prompt.detected else 0.0
        others = len(prompt.detected.runners_up) if prompt.detected else 0
        click.echo(
            f"detect: {found.name} at {prompt.box} on frame {prompt.frame}, score {score:.2f}; "
            f"{others} runners-up are in {FILE}"
        )
    elif renew:
        with run.lock():
            write_prompt(run, "object", None)
        click.echo(f"detect: warning: no {found.name} was found; give its box by hand: --bbox x1,y1,x2,y2", err=True)
    return found
