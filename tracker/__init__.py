"""Pass 2: the object's mask in every frame, from one box on one frame.

`SkateboardTracker` is what the other stages use; `python -m tracker` is the command.
"""

from tracker.tracker import SkateboardTracker

__all__ = ["SkateboardTracker"]
