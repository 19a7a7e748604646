"""Pass 2: the object's mask in every frame, from one box on one frame.

`SkateboardTracker` is what other programs use, `python -m tracker` is the command. Read `cli`, `stage`, `tracker`, then
`interface` (what a backend is), `selection` (which one), and the two that there are, `embedded/` and `sam2/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.tracker import SkateboardTracker

__all__ = ["SkateboardTracker"]


def __getattr__(name: str) -> object:
    """Load the class when it is asked for: the command's options need none of what it needs."""
    if name != "SkateboardTracker":
        raise AttributeError(f"module 'tracker' has no attribute '{name}'")
    from tracker.tracker import SkateboardTracker

    return SkateboardTracker
