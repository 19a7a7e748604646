"""Versions as numbers, to compare them."""

from __future__ import annotations


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "570.124.06" -> (570, 124, 6)."""
    found = []
    for part in version.strip().lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)
