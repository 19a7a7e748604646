"""How large a picture may be, in a file of its own or in a clip: more than any clip has, and bounded.

A few kB say that they are 60,000 px wide. So the size is looked at before memory is taken for pixels.
"""

from __future__ import annotations

from pathlib import Path

from handoff.errors import InputError

LONGEST_SIDE = 8192
MOST_PIXELS = 8192 * 4608
"""8K, of the cinema or upright too, has fewer."""
MOST_ASPECT = 100


def check_size(path: Path, width: int, height: int) -> None:
    """Raise InputError for a picture that has no pixels, or more of them, or is longer, than any clip's."""
    if not (width and height):
        raise InputError(f"{path} says that it is {width}x{height} px; make it again.")
    long, short = max(width, height), min(width, height)
    if long > LONGEST_SIDE or width * height > MOST_PIXELS or long > MOST_ASPECT * short:
        raise InputError(
            f"{path} says that it is {width}x{height} px; pictures of up to {LONGEST_SIDE} px a side, "
            f"{MOST_PIXELS} px in all, and {MOST_ASPECT} times as long as wide are read: make it smaller."
        )
