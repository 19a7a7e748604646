"""Which pixels of a picture are the object: the one rule for masks that others made.

| a picture has | the object is |
| --- | --- |
| an alpha that varies, in this or another picture of the sequence | what is opaque |
| black and white | what is white |
| black and one colour, the same in all pictures | what has that colour |
| a palette whose first entry is black, and one other entry in use | what has that entry |

Nothing else is taken, because what it means would be a guess. 32 levels of 255 beside black and white are noise: what a
lossy encoder leaves of flat areas, and limited range. Levels between are no outline: a border that was chosen here
would decide the verdict.

In reading order: a sequence (`read_objects`), the rules, and what a decoded frame of a clip holds as numbers
(`frame_to_samples`). A clip's levels are what the file says. A conversion of colours would move them: limited range
becomes full, a blue object on black becomes nearly black.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from handoff.clip.colours import SCALER, in_full_range
from handoff.clip.orientation import orientation_of
from handoff.errors import InputError
from handoff.picture.png import Samples
from handoff.video import open_video

NOISE = 32
"""Levels of 255 this near to 0 or 255 are black and white."""
VOID = 255
"""The palette entry that VOC gives to the border around its objects, where nobody says what is seen."""

_WHITE = (255, 255, 255)
_ONLY = "give masks of 0 and 255 only (PNG files or a lossless video)"

Bools = NDArray[np.bool_]
Read = Callable[[], Iterator[tuple[str, Samples]]]
"""Reads a sequence from its beginning: where a picture stands, and what it holds."""


def read_objects(name: str, read: Read) -> Iterator[Bools]:
    """Yield the object (H, W) bool of each picture of a sequence; InputError for what is no mask."""
    pictures = read()
    first = next(pictures, None)
    if first is None:
        return
    by_alpha = first[1].alpha is not None and _alpha_varies(read)
    rules: _AlphaRules | _ColourRules = _AlphaRules(name) if by_alpha else _ColourRules(name)
    for where, picture in itertools.chain([first], pictures):
        yield rules.object_of(where, picture)
    rules.conclude()


def _alpha_varies(read: Read) -> bool:
    """Say whether some picture has an alpha that is neither opaque nor clear; one without any ends the search."""
    for _, picture in read():
        if picture.alpha is None:
            return False
        if _varies(picture.alpha, picture.alpha_top):
            return True
    return False


def _varies(alpha: NDArray[Any], top: int) -> bool:
    lowest, highest = _range(alpha)
    return lowest < top - _noise(top) and highest > 0


class _Levels:
    """The levels that the gray pictures of one sequence have, as far as a verdict on the whole needs them.

    most_zero: what lowest level tells that black is not the black of limited range, but a number.
    """

    def __init__(self, name: str, most_zero: int = 0) -> None:
        self._name, self._most_zero = name, most_zero
        self._lowest, self._highest, self._top = 2**16, 0, 255

    def above_half(self, values: NDArray[Any], top: int, where: str, what: str) -> Bools:
        """Return where the levels 0..top are those of white; InputError for levels between black and white."""
        noise = _noise(top)
        between = cv2.countNonZero(cv2.inRange(values, np.array([noise + 1]), np.array([top - noise - 1])))
        if between:
            raise InputError(
                f"{where} has {between} px of {what} between black and white, so its outline is not known; {_ONLY}."
            )
        if self._highest <= self._top // 2:
            lowest, highest = _range(values)
            self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)
            self._top = top
        return np.asarray(values > top // 2)

    def conclude(self) -> None:
        """Raise InputError where the sequence numbers its objects (0, 1, ...) in place of 0 and 255.

        All black is none: 0 in every pixel, or what limited range and a lossy encoder make of it, which has no 0.
        """
        if self._lowest <= self._most_zero and 0 < self._highest <= self._top // 2:
            raise InputError(
                f"{self._name} has levels from {self._lowest} to {self._highest} only, none near {self._top}: are they "
                "the numbers of objects? Give a mask of 0 and 255; where the object is 1, multiply by 255."
            )


class _AlphaRules:
    """The object is what is opaque, in every picture of the sequence."""

    def __init__(self, name: str) -> None:
        self._levels = _Levels(name, most_zero=NOISE)  # alpha knows no limited range
        self.conclude = self._levels.conclude

    def object_of(self, where: str, picture: Samples) -> Bools:
        """Return where the picture is opaque."""
        if picture.alpha is None:
            raise InputError(
                f"{where} has no alpha, and others of its sequence have one that is the mask; give all of them one."
            )
        found = self._levels.above_half(picture.alpha, picture.alpha_top, where, "alpha levels")
        if picture.palette is not None and not picture.palette[0].any() and bool((found & (picture.values == 0)).any()):
            raise InputError(
                f"{where} numbers its objects, with 0 as the background, and makes another number transparent; which "
                f"of them is the object is not known: {_ONLY}."
            )
        return found


class _ColourRules:
    """The object is what is white, or has the one colour beside black."""

    def __init__(self, name: str) -> None:
        self._levels = _Levels(name)
        self.conclude = self._levels.conclude
        self._colour: tuple[int, ...] | None = None

    def object_of(self, where: str, picture: Samples) -> Bools:
        """Return where the picture is white or has the object's colour."""
        if picture.palette is not None:
            found = self._of_palette(where, picture.values, picture.palette)
        elif picture.values.ndim == 2:
            found = self._white(where, self._levels.above_half(picture.values, picture.top, where, "gray levels"))
        else:
            found = self._of_colours(where, picture.values, picture.top)
        if picture.alpha is not None:
            _check_alpha(where, picture.alpha, picture.alpha_top, found)
        return found

    def _white(self, where: str, found: Bools) -> Bools:
        if self._colour != _WHITE and found.any():
            self._one_colour(where, _WHITE)
        return found

    def _one_colour(self, where: str, colour: tuple[int, ...]) -> None:
        if self._colour not in (None, colour):
            raise InputError(
                f"{where} has an object of the colour {colour}, and earlier pictures of its sequence have one of "
                f"{self._colour}; which of them is meant is not known: {_ONLY}."
            )
        self._colour = colour

    def _of_colours(self, where: str, image: NDArray[Any], top: int) -> Bools:
        """(H, W, 3) BGR of 0..top."""
        blue, green, red = cv2.split(image)
        darkest, brightest = cv2.min(cv2.min(blue, green), red), cv2.max(cv2.max(blue, green), red)
        noise = _noise(top)
        black = cv2.inRange(brightest, np.array([0]), np.array([noise]))
        white = cv2.inRange(darkest, np.array([top - noise]), np.array([top]))
        plain = cv2.countNonZero(black) + cv2.countNonZero(white) == black.size
        if plain or bool((darkest == brightest).all()):
            self._levels.above_half(brightest, top, where, "gray levels")  # its highest level is looked at too
            return self._white(where, self._levels.above_half(darkest, top, where, "gray levels"))
        found: Bools = brightest > 0
        place = np.unravel_index(int(found.argmax()), found.shape)
        colour = image[place]
        if not found.all() and bool((image[found] == colour).all()):
            self._one_colour(where, tuple(int(each) for each in colour[::-1]))
            return found
        raise InputError(_too_colourful(where, _count_colours(image)))

    def _of_palette(self, where: str, numbers: NDArray[Any], palette: NDArray[np.uint8]) -> Bools:
        """Numbers (H, W) of the entries of a palette (N, 3) RGB."""
        used = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
        if len(used) > 2:
            raise InputError(_too_many_entries(where, used, palette))
        colours = {entry: tuple(int(each) for each in palette[entry]) for entry in used}
        dark = [entry for entry in used if max(colours[entry]) <= NOISE]
        white = [entry for entry in used if min(colours[entry]) >= 255 - NOISE]
        numbered = not palette[0].any()  # 0 is the background, as in DAVIS and VOC
        if len(used) == 2 and len(dark) == len(white) == 1:
            return self._white(where, numbers == white[0])
        if len(used) == 2 and numbered and 0 in used and colours[used[1]] != colours[0]:
            self._one_colour(where, colours[used[1]])
            return np.asarray(numbers == used[1])
        if len(used) == 2 and not numbered and len(dark) == 1 and not any(colours[dark[0]]):
            (entry,) = set(used) - set(dark)
            self._one_colour(where, colours[entry])
            return np.asarray(numbers == entry)
        if (used == [0] and numbered) or (dark == used and not numbered and len(used) == 1):
            return np.zeros(numbers.shape, bool)
        if used == white:
            return self._white(where, np.ones(numbers.shape, bool))
        if len(used) == 1 and numbered and not dark:
            self._one_colour(where, colours[used[0]])
            return np.ones(numbers.shape, bool)
        seen = " and ".join(str(each) for each in colours.values())
        raise InputError(
            f"{where} has the colours {seen} of its palette, and which of them is the object is not known; {_ONLY}."
        )


def _check_alpha(where: str, alpha: NDArray[Any], top: int, found: Bools) -> None:
    """Raise InputError where a mask is read from colours, and the alpha beside it says something else."""
    if _varies(alpha, top):
        raise InputError(
            f"{where} has an alpha that varies, and others of its sequence have none; give all of them one, or none."
        )
    if not alpha.any() and found.any():
        raise InputError(
            f"{where} is transparent throughout, and its colours show an object of {int(found.sum())} px; which of "
            f"them is right is not known: {_ONLY}."
        )


def _too_many_entries(where: str, used: list[int], palette: NDArray[np.uint8]) -> str:
    colours = palette[used]
    if VOID in used and len(used) == 3 and not palette[0].any():
        return (
            f"{where} has object {used[1]} and entry {VOID} of its palette, which VOC draws around objects where the "
            f"outline is not known; {_ONLY}, and decide where that border belongs."
        )
    if bool((colours == colours[:, :1]).all()):
        return (
            f"{where} has gray levels between black and white ({len(used)} in its palette), so its outline is not "
            f"known; {_ONLY}."
        )
    if len(used) <= 16 and not palette[0].any():
        numbers = ", ".join(str(each) for each in used if each)
        return f"{where} has the objects {numbers}, and which of them is meant is not known; {_ONLY}, of one object."
    return _too_colourful(where, len(used))


def _too_colourful(where: str, count: int) -> str:
    return (
        f"{where} has {count} colours, so which of its pixels are the object is not known (a photograph?); {_ONLY}, or "
        "pictures whose alpha is the mask."
    )


def _count_colours(image: NDArray[Any]) -> int:
    wide = image.astype(np.uint64)
    return len(np.unique(wide[..., 0] << np.uint64(32) | wide[..., 1] << np.uint64(16) | wide[..., 2]))


def _noise(top: int) -> int:
    return NOISE * top // 255


def _range(values: NDArray[Any]) -> tuple[int, int]:
    lowest, highest, _, _ = cv2.minMaxLoc(values)
    return int(lowest), int(highest)


def check_alpha_is_decoded(path: Path) -> None:
    """Raise InputError for a WebM whose alpha is a second stream of its own, which the decoder does not give."""
    with open_video(path) as (_, stream):
        if {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1":
            raise InputError(
                f"{path} has its alpha beside the {stream.codec_context.name} video, where it cannot be read; give PNG "
                "files, or a clip in ProRes 4444, or of black and white only."
            )


def frame_to_samples(frame: VideoFrame, where: str) -> Samples:
    """Return a frame's luma (H, W), or its colours (H, W, 3) where it stores RGB or has an alpha plane, upright.

    Raises InputError, with `where`, for luma that has colours beside it: a mask clip is black and white.
    """
    stored, turn = _stored_samples(frame, where), orientation_of(frame).turn
    return stored._replace(values=turn(stored.values), alpha=None if stored.alpha is None else turn(stored.alpha))


def _stored_samples(frame: VideoFrame, where: str) -> Samples:
    form = frame.format
    if form.has_palette or any(each.is_alpha for each in form.components):
        image = in_full_range(frame, "bgra")
        return Samples(np.ascontiguousarray(image[..., :3]), 255, np.ascontiguousarray(image[..., 3]))
    if form.is_rgb:
        return Samples(in_full_range(frame, "bgr24"), 255)
    if form.is_bit_stream:
        return Samples(in_full_range(frame, "gray"), 255)
    bits, planes = form.components[0].bits, {each.plane for each in form.components}
    if not form.name.startswith(("yuv", "gray")) or len(planes) < len(form.components) or bits > 16:
        frame, bits = frame.reformat(format="yuv444p", interpolation=SCALER, threads=1), 8
    top = 2**bits - 1
    for index in range(1, len(frame.format.components)):
        chroma, middle, noise = _plane(frame, index, bits), (top + 1) // 2, NOISE * top // 255
        coloured = chroma.size - cv2.countNonZero(
            cv2.inRange(chroma, np.array([middle - noise]), np.array([middle + noise]))
        )
        if coloured:
            raise InputError(
                f"{where} has colours ({coloured} of its {chroma.size} colour samples), so which of its pixels are the "
                "object is not known; give a clip of black and white only, or PNG files."
            )
    return Samples(_plane(frame, 0, bits), top)


def _plane(frame: VideoFrame, index: int, bits: int) -> NDArray[Any]:
    """One plane as it is stored, (H, W) uint8 or uint16."""
    kind = np.dtype(np.uint8 if bits == 8 else ">u2" if frame.format.is_big_endian else "<u2")
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    return rows[: plane.height, : plane.width].astype(np.uint8 if bits == 8 else np.uint16)
