"""From two nouns to what the model is told: full sentences, and a negative prompt that names what is replaced."""

from __future__ import annotations

from dataclasses import dataclass

from reskin.prompt import Prompt

_SCENE = "photorealistic video, sharp details, the light and the shadows of the scene, steady motion"
_FLAWS = "blurred, flickering, melted shapes, extra limbs, text, watermark, low quality"
_OLD_OBJECT = "skateboard, wooden deck, grip tape, small wheels"
_OLD_SKATER = "street clothes, t-shirt, jeans, sneakers"


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


def write_texts(prompt: Prompt, object_text: str | None = None, skater_text: str | None = None) -> Texts:
    """Return the prompts for "object, skater"; `object_text` and `skater_text` stand in place of the sentences."""
    rider = prompt.skater or "a skater"
    thing = object_text or f"{prompt.object} under the feet of {rider}, in the place and the pose of a skateboard"
    person = skater_text or f"{rider} riding, the whole body in the pose of the skeleton"
    old_skater = _OLD_SKATER if prompt.skater or skater_text else ""
    return Texts(
        object=_join(thing, _SCENE),
        object_negative=_join(_OLD_OBJECT, _FLAWS),
        skater=_join(person, _SCENE),
        skater_negative=_join(_OLD_SKATER, _FLAWS),
        both=_join(person, thing, _SCENE) if prompt.skater or skater_text else _join(thing, _SCENE),
        both_negative=_join(_OLD_OBJECT, old_skater, _FLAWS),
    )


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
