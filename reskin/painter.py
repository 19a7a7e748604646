"""What a painter is: it gets a window and makes pictures of it; the loop (reskin/loop.py) does all the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from reskin.clip import WindowFrames
from reskin.composite import Layers


class Painter(Protocol):
    """Makes the pictures of one window. It knows nothing of output files, of other windows, or of the composite."""

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Yield one `Layers` for each of the window's frames, in order, of the frames' own size.

        What it paints outside the masks is not used. Raises BadResult for another number or size of pictures, and
        whatever the server's job raises.
        """
        ...
