"""Progress bars that fall silent when standard error is not a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(iterable: Iterable[T], total: int | None = None, desc: str = "", unit: str = "frame") -> Iterator[T]:
    """Iterate over `iterable`, showing a bar on stderr where that is a terminal; one within another goes at its end."""
    yield from tqdm(iterable, total=total, desc=desc, unit=unit, disable=None, dynamic_ncols=True, leave=None)
