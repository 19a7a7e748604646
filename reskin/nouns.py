"""From two nouns to what the model is told: full sentences, and a negative prompt that names what is replaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handoff.prompts import read_prompts
from handoff.run import Run
from reskin.prompt import Prompt

_SCENE = "photorealistic video, sharp details, the light and the shadows of the scene, steady motion"
_FLAWS = "blurred, flickering, melted shapes, extra limbs, text, watermark, low quality"
_OLD_SKATER = "street clothes, t-shirt, jeans, sneakers"
_PARTS = {"skateboard": "wooden deck, grip tape, small wheels"}
_UNDERFOOT = ("skateboard", "snowboard", "surfboard", "skis")
"""Old objects that somebody stands on; of any other the sentence says only that it moves with the rider."""


@dataclass(frozen=True)
class Texts:
    """Positive and negative prompts: of the object's pass, of the skater's, and of a pass that paints both."""

    object: str
    object_negative: str
    skater: str
    skater_negative: str
    both: str
    both_negative: str

    def positive_of(self) -> dict[str, str]:
        """Return the prompts by pass, as `reskin.slots` names passes."""
        return {"": self.both, "object": self.object, "skater": self.skater}

    def negative_of(self) -> dict[str, str]:
        """Return the negative prompts by pass."""
        return {"": self.both_negative, "object": self.object_negative, "skater": self.skater_negative}


def old_object(run: Run, mask: Path | None, said: str | None) -> str | None:
    """Return what the run's object was, such as "skateboard", or None where nobody knows.

    That is what the user says, else the class that its detector found; a box given by hand has none, and of another
    mask than the run's own the detector knows nothing. Raises InputError when prompts.json cannot be read.
    """
    own = run.path("mask.mp4")
    if said is not None or (mask or own).resolve() != own.resolve():
        return said
    prompt = read_prompts(run).get("object")
    return prompt.detected.name if prompt and prompt.detected else None


def write_texts(
    prompt: Prompt, old: str | None, object_text: str | None = None, skater_text: str | None = None
) -> Texts:
    """Return the prompts for "object, skater"; `object_text` and `skater_text` stand in place of the sentences.

    old: what the object was; None names nothing. No positive prompt names it, because what is named is painted.
    """
    underfoot = old is not None and old.casefold() in _UNDERFOOT
    rider = prompt.skater or ("a skater" if underfoot else "a person")
    thing = object_text or f"{prompt.object} {'under the feet of' if underfoot else 'moving with'} {rider}"
    doing = "riding" if underfoot else "in motion"
    person = skater_text or f"{rider} {doing}, the whole body in the pose of the skeleton"
    old_skater = _OLD_SKATER if prompt.skater or skater_text else ""
    unwanted = _unwanted(old, object_text or prompt.object)
    return Texts(
        object=_join(thing, _SCENE),
        object_negative=_join(unwanted, _FLAWS),
        skater=_join(person, _SCENE),
        skater_negative=_join(old_skater, _FLAWS),
        both=_join(person, thing, _SCENE) if prompt.skater or skater_text else _join(thing, _SCENE),
        both_negative=_join(unwanted, old_skater, _FLAWS),
    )


def _unwanted(old: str | None, new: str) -> str:
    """Return what the negative prompt says of the old object: nothing where the new one is of its kind."""
    if old is None or old.casefold() in new.casefold():
        return ""
    return _join(old, _PARTS.get(old.casefold(), ""))


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
