"""The prompt: "cyberpunk drone, samurai" is the object's new look, then the skater's."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from handoff.errors import UsageError

MAX_LENGTH = 200
"""Longest noun, in characters: it becomes a folder's name and a line in a report."""

_SLUG_LENGTH = 60


@dataclass(frozen=True)
class Prompt:
    """What the object becomes, and the skater; None leaves the skater as she is."""

    object: str
    skater: str | None

    def __str__(self) -> str:
        return self.object if self.skater is None else f"{self.object}, {self.skater}"


def parse_prompt(text: str) -> Prompt:
    """Split "object, skater" at the comma; one noun alone is the object's.

    Raises UsageError for an empty noun, more than two, control characters or a noun over MAX_LENGTH characters.
    """
    if any(unicodedata.category(letter).startswith("C") for letter in text):
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
    return Prompt(nouns[0], nouns[1] if len(nouns) == 2 else None)


def slug(text: str) -> str:
    """Return a folder name for a prompt: "cyberpunk drone, samurai" gives "cyberpunk-drone-samurai"."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:_SLUG_LENGTH].strip("-") or "reskin"


def check_name(name: str) -> str:
    """Return `name` when it can be a folder below reskins/; raise UsageError when it cannot."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(f"the name '{name}' cannot be a folder's; use letters, digits, '.', '-' and '_'.")
    return name
