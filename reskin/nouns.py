"""The prompt: "cyberpunk drone, samurai" is the object's new look, then the skater's.

First from the text to two nouns and to a folder's name; then from nouns to what the model is told: full sentences, and
a negative prompt that names what is replaced.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from handoff.errors import UsageError
from handoff.places import read_prompts
from handoff.run import Run

MAX_LENGTH = 200
"""Longest noun, in characters: it becomes a folder's name and a line in a report."""

_SLUG_LENGTH, _NAME_LENGTH = 60, 100
_JOINERS = "\u200c\u200d"
"""Letters of the category of control characters that Persian, Hindi and emoji are written with."""
_PLAIN = re.compile(r"[a-z0-9]+(?:,? [a-z0-9]+)*")
"""A prompt that its folder's name keeps as it is."""
_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
"""Names that no file can have on Windows and on what it shares."""


@dataclass(frozen=True)
class Nouns:
    """What the object becomes, and the skater; None leaves the skater as she is."""

    object: str
    skater: str | None

    def __str__(self) -> str:
        return self.object if self.skater is None else f"{self.object}, {self.skater}"


def parse_prompt(text: str) -> Nouns:
    """Split "object, skater" at the comma; one noun alone is the object's.

    A letter and its accent are one prompt however they are written (NFC).
    Raises UsageError for an empty noun, more than two, control characters or a noun over MAX_LENGTH characters.
    """
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(letter).startswith("C") for letter in text if letter not in _JOINERS):
        raise UsageError(f"the prompt {text!r} has control characters; write plain words.")
    nouns = [" ".join(part.split()) for part in text.split(",")]
    if len(nouns) > 2 or not all(nouns):
        raise UsageError(
            f"the prompt '{text}' is not one or two nouns; write \"cyberpunk drone, samurai\" "
            'for object and skater, or "cyberpunk drone" for the object alone.'
        )
    longest = max(nouns, key=len)
    if len(longest) > MAX_LENGTH:
        raise UsageError(f"the prompt has a noun of {len(longest)} characters; {MAX_LENGTH} is the most.")
    return Nouns(nouns[0], nouns[1] if len(nouns) == 2 else None)


def slug(text: str) -> str:
    """Return a folder name for a prompt: "cyberpunk drone, samurai" gives "cyberpunk-drone-samurai".

    Where that leaves something out (capitals, signs, letters of other scripts, what is over 60 letters) a digest of the
    whole prompt follows, so that "C++ drone" and "c drone" have two folders.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    name = words[:_SLUG_LENGTH].strip("-")
    whole = _PLAIN.fullmatch(text) and name == words and not _DEVICES.fullmatch(name)
    return name if whole else told_apart(name or "reskin", text)


def told_apart(name: str, text: str) -> str:
    """Return a folder name with the first 8 digits of a prompt's SHA-256, for one that another prompt could have."""
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def check_name(name: str) -> str:
    """Return `name` when it can be a folder below reskins/, on any system; raise UsageError when it cannot."""
    if len(name) > _NAME_LENGTH:
        raise UsageError(
            f"the name '{name[:40]}...' has {len(name)} letters, {_NAME_LENGTH} are the most; give a shorter --name."
        )
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?", name) or _DEVICES.fullmatch(name):
        raise UsageError(f"the name '{name}' cannot be a folder's; use letters, digits, '.', '-' and '_'.")
    return name


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
        """Return the prompts by pass, as `reskin.workflow` names passes."""
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
    prompt: Nouns, old: str | None, object_text: str | None = None, skater_text: str | None = None
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
