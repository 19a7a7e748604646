"""What the loop may still take: paintings at most, and for how long at the pace so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from runner.loop.takes import Takes


def outlook(takes: Takes, noted: Sequence[Mapping[str, Any]]) -> str:
    """Return what the windows that fail may still cost: "at most 6 paintings, about 12 min".

    noted: the takes so far, each with the server and the seconds of its painting where these are known; where none is,
    no time is said. As many servers as painted so far paint at once.
    """
    left = [each for each in takes.left() if each]
    paintings = sum(left)
    said = f"at most {paintings} painting{'s' if paintings > 1 else ''}"
    paces = [each["seconds"] for each in noted if type(each.get("seconds")) in (int, float)]
    if not paces:
        return said
    servers = 1 if takes.chained else max(1, len({each["server"] for each in noted if each.get("server")}))
    # of the windows with so many takes left, each round paints one take each
    turns = sum(-(-sum(each > done for each in left) // servers) for done in range(max(left, default=0)))
    return f"{said}, about {duration(turns * mean(paces))}"


def duration(seconds: float) -> str:
    """Return a time for people: "48 s", "12 min", "3 h 5 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
