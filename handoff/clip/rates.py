"""Which frame rate a clip has, and where each of its frames goes at that rate, from the frames' own time stamps.

In reading order: what is found (`Timing`), the meter that finds it (`RateMeter`), time stamps that go back
(`_in_order`), the rate (`_exact_rate`, `_likely_rates`), the frames' places at a rate (`_places`), what is refused
(`_refuse_rate`, `_refuse_pause`), and a rate that was written as text (`parse_rate`).

A phone's time stamps jitter, and it leaves frames out. So no single step says what the rate is: all of them do.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError

_WHOLE_RATES = tuple(map(Fraction, (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)))
_NTSC_RATES = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120, 240))
STANDARD_RATES = (*_WHOLE_RATES, *_NTSC_RATES)
MAX_RATE = 1000
"""Frames a second. Cameras for slow motion reach 960; what is above comes from broken time stamps."""
MAX_GROWTH = 10
"""A clip may become at most this many times its frames."""
MAX_PAUSE = 10
"""Seconds. Longer gaps between two frames are refused, unless the whole clip is as slow as that."""

_NEAR = 0.02
_CLOCK_ERROR = 0.0005
"""How far a camera's own clock is from the rate that it states, as a share."""
_ROUNDING = 0.0001
"""How far a rate is rounded by a container, as a share: 59.94 is 19001/317 in Matroska, 959/16 in FLV."""
_BEGINNING = 256
"""Frames."""
_GAP = 5
"""Steps. What is longer says nothing about the rate."""
_AHEAD = 4
"""Among so many frames, time stamps that went back have come forward again; else another recording begins."""
_CROWDED = 2.5
"""How many places frames may be late before one is left out."""
_NUMBER = re.compile(r"([0-9]{1,9})(?:/([0-9]{1,9})|\.([0-9]{1,9}))?")

Ticks = list[int]


@dataclass(frozen=True)
class Timing:
    """The rate of a clip, and what is to be done for each frame to have its place at that rate.

    shown: (frames,) int64, how often each frame is shown: 1, more where frames are missing after it, 0 where it has no
    place. exact: each frame's time stamp is its place, to within one tick. repaired: time stamps went back or were
    missing, and what the frames' order says was taken instead.
    """

    fps: Fraction
    shown: NDArray[np.int64]
    exact: bool
    repaired: bool

    @property
    def total(self) -> int:
        """How many frames there are at the rate."""
        return int(self.shown.sum())

    @property
    def left_out(self) -> int:
        """How many frames have no place."""
        return int((self.shown == 0).sum())

    @property
    def repeated(self) -> int:
        """How many places are filled with the frame before."""
        return int((self.shown - 1).clip(0).sum())


class RateMeter:
    """Feed it every frame's time stamp, in the order of decoding; it keeps 8 bytes a frame.

    time_base: seconds a tick. stated: the rates that the container states, best first.
    """

    def __init__(self, time_base: Fraction, stated: Sequence[Fraction]) -> None:
        self.time_base = time_base
        self._stated = list(dict.fromkeys(stated))
        self._pts = array("q")
        self._complete = True

    @property
    def frames(self) -> int:
        """How many frames were fed."""
        return len(self._pts)

    def feed(self, pts: int | None) -> None:
        """Take the next frame's time stamp, in ticks, or None where it has none."""
        self._complete = self._complete and pts is not None
        self._pts.append(pts or 0)

    def timing(self, name: str) -> Timing:
        """Return the clip's rate and its frames' places; `name` is the clip's, for messages.

        Raises InputError for a clip without time stamps and without a rate, a rate above MAX_RATE, a pause longer than
        MAX_PAUSE seconds, and a clip that would become more than MAX_GROWTH times its frames.
        """
        ticks, repaired = _in_order(self._pts) if self._complete else ([], True)
        if len(ticks) == 1 or not any(ticks):
            return self._in_decoding_order(name, repaired or len(ticks) > 1)
        exact = self._exact_rate(ticks)
        if exact:
            _refuse_rate(name, exact)
            return Timing(exact, np.ones(len(ticks), np.int64), True, repaired)
        times = np.array(ticks, np.float64) * float(self.time_base)
        _refuse_pause(name, times)
        fps, shown = _best(times, self._stated)
        _refuse_rate(name, fps)
        if shown.sum() > MAX_GROWTH * len(times):
            raise InputError(
                f"{name} has {len(times):,} frames that would become {int(shown.sum()):,} at {fps} fps, the limit is "
                f"{MAX_GROWTH} times as many; convert it to an MP4 with a constant rate."
            )
        return Timing(fps, shown, False, repaired)

    def _exact_rate(self, ticks: Ticks) -> Fraction | None:
        exact = _exact_rate(ticks, self.time_base, [*self._stated, *STANDARD_RATES])
        if exact is None or _exact_rate(ticks, self.time_base, [exact], slack=0):
            return exact
        near = [rate for rate in STANDARD_RATES if abs(rate - exact) <= _ROUNDING * rate]
        return _exact_rate(ticks, self.time_base, near) or exact

    def _in_decoding_order(self, name: str, repaired: bool) -> Timing:
        rate = next((rate for rate in self._stated if _is_plain(rate)), None) or next(iter(self._stated), None)
        if rate is None:
            raise InputError(f"{name} has neither time stamps nor a frame rate; convert it to an MP4 with a rate.")
        _refuse_rate(name, rate)
        return Timing(rate, np.ones(self.frames, np.int64), True, repaired)


def _in_order(pts: Sequence[int]) -> tuple[Ticks, bool]:
    """Return time stamps that begin at 0 and never go back, for frames in decoding order, and whether any did.

    Where they go back for a few frames only, as packed B-frames' do, they are sorted. Where they stay behind, another
    recording begins: its first frame follows the last one at the usual step.
    """
    recordings: list[Ticks] = [[]]
    top = pts[0] - 1 if len(pts) else 0
    disturbed = False
    for index, each in enumerate(pts):
        if each > top:
            top = each
        else:
            disturbed = True
            if all(later <= top for later in pts[index + 1 : index + 1 + _AHEAD]):
                recordings.append([])
                top = each
        recordings[-1].append(each)
    if not disturbed:
        return [each - pts[0] for each in pts], False
    steps = [after - before for part in map(sorted, recordings) for before, after in pairwise(part) if after > before]
    usual = round(median(steps)) if steps else 0
    ticks: Ticks = []
    for part in map(sorted, recordings):
        begin = ticks[-1] + usual if ticks else 0
        ticks.extend(begin + each - part[0] for each in part)
    return ticks, True


def _exact_rate(ticks: Ticks, time_base: Fraction, rates: Sequence[Fraction], slack: int = 1) -> Fraction | None:
    """Return the first rate on whose grid every frame lies, at its own place, to within `slack` ticks."""
    for rate in dict.fromkeys(rates):
        step = 1 / (rate * time_base)
        over, under = step.numerator, step.denominator
        if all(abs(each * under - index * over) <= slack * under for index, each in enumerate(ticks)):
            return rate
    return None


def _best(times: NDArray[np.float64], stated: Sequence[Fraction]) -> tuple[Fraction, NDArray[np.int64]]:
    """Return the rate that the clip has as a whole, and how often each frame is shown at it.

    The usual step comes first; where it leaves out frames, or repeats most, shorter steps, those over two and three
    frames, and the number of frames over the duration are tried too, but none that leaves out a third.
    """
    frames = len(times)
    tried: list[tuple[float, Fraction, NDArray[np.int64]]] = []
    for fps in _likely_rates(times, stated):
        shown = _places(times, fps)
        left_out, total = int((shown == 0).sum()), int(shown.sum())
        if left_out * 20 <= frames and total <= 4 * frames:
            return fps, shown
        cost = 4 * left_out + total if left_out * 3 <= frames else np.inf
        tried.append((cost, fps, shown))
    _, fps, shown = min(tried, key=lambda each: each[0])
    return fps, shown


def _likely_rates(times: NDArray[np.float64], stated: Sequence[Fraction]) -> Iterator[Fraction]:
    """Yield the rates that a clip with these time stamps, in seconds, may have, likeliest first."""
    frames = len(times)
    short, usual = (float(np.quantile(np.diff(times), share)) for share in (0.25, 0.5))
    over = [float(np.median(times[count:] - times[:-count])) / count for count in (2, 3) if count < frames]
    mean = float(times[-1]) / (frames - 1)
    found = [_fitted(times, step) for step in (usual, short, *over, mean) if step * MAX_RATE >= 1]
    rates = list(dict.fromkeys(_named(times, fps, error, stated) for fps, error in found))
    plain = {*STANDARD_RATES, *stated}
    yield from sorted(rates, key=lambda rate: rate not in plain)  # what has a name comes first
    if not rates:
        yield Fraction(1 / mean).limit_denominator(1001)  # refused where it is used


def _fitted(times: NDArray[np.float64], step: float) -> tuple[float, float]:
    """Return the rate near 1 / `step` with which all time stamps agree best, and its relative error.

    Jitter adds up from step to step, so frames are not counted: the rate is sought whose wave has the most frames at
    its crests, in the clip's beginning first, then fitted (least squares) to twice as many frames each time. Pauses are
    closed up before.
    """
    steps = np.diff(times)
    times = np.concatenate([[0.0], np.cumsum(np.where(steps > _GAP * step, step, steps))])
    count = min(_BEGINNING, len(times))
    begin = times[:count]
    rates = np.arange(0.85 / step, 1.18 / step, 1 / (8 * float(begin[-1]) or 1))
    fps = float(rates[np.abs(np.exp(2j * np.pi * np.outer(rates, begin)).sum(1)).argmax()])
    while True:
        begin = times[:count]
        phase = float(np.angle(np.exp(2j * np.pi * fps * begin).sum())) / (2 * np.pi)
        numbers = np.rint(begin * fps - phase)
        centred = numbers - numbers.mean()
        step = float(centred @ begin / (centred @ centred)) if centred.any() else 1 / fps
        off = begin - begin.mean() - step * centred
        fps = 1 / step
        if count == len(times):
            break
        count = min(2 * count, len(times))
    error = float(np.sqrt((off @ off) / count / (centred @ centred))) * fps if centred.any() else 0
    return fps, max(5 * error, _CLOCK_ERROR)


def _named(times: NDArray[np.float64], fps: float, error: float, stated: Sequence[Fraction]) -> Fraction:
    """Return the rate that is meant by a measured one: stated, standard, or its own where all frames fit that."""
    named = ([rate for rate in stated if _is_plain(rate)], _WHOLE_RATES, _NTSC_RATES)
    own = Fraction(fps).limit_denominator(1001) if fps > 1 else Fraction(1, round(1 / fps))
    for share in (error, _NEAR):
        for rates in named:
            nearest = min(rates, key=lambda rate: abs(rate - fps), default=own)
            if rates and abs(nearest - fps) <= share * fps:
                return nearest
        if _places(times, own).tolist() == [1] * len(times):
            return own
    return own


def _is_plain(rate: Fraction) -> bool:
    """Say whether a rate is one that somebody set, and not a quotient of a duration."""
    return rate.denominator in (1, 2, 1001) and 0 < rate <= MAX_RATE


def _places(times: NDArray[np.float64], fps: Fraction) -> NDArray[np.int64]:
    """Return how often each frame is shown at `fps`, so that each has a place of its own near its time stamp.

    What jitters keeps its number. A frame is left out only where they crowd: more than _CROWDED places late.
    """
    wanted = (times * float(fps)).tolist()
    kept: list[int] = []
    spare: list[float] = []  # how many places more than frames there are until each kept frame
    top = -np.inf
    for index, place in enumerate(wanted):
        ahead = place - len(kept)
        if top - ahead > _CROWDED:
            continue
        top = max(top, ahead)
        kept.append(index)
        spare.append(ahead)
    rising = _rising(spare)
    if rising[-1] - rising[0] < 1:
        places = np.arange(len(kept))
    else:
        turns = np.exp(2j * np.pi * rising).mean()
        phase = float(np.angle(turns)) / (2 * np.pi)
        places = np.floor(rising - phase + 0.5).astype(np.int64) + np.arange(len(kept))
    shown = np.zeros(len(wanted), np.int64)
    shown[kept] = np.diff(places, append=places[-1] + 1)
    return shown


def _rising(values: list[float]) -> NDArray[np.float64]:
    """Return the never falling sequence nearest to `values` by squares (pool adjacent violators)."""
    means: list[float] = []
    sizes: list[int] = []
    for each in values:
        mean, size = each, 1
        while means and means[-1] >= mean:
            mean = (mean * size + means[-1] * sizes[-1]) / (size + sizes[-1])
            size += sizes.pop()
            means.pop()
        means.append(mean)
        sizes.append(size)
    return np.repeat(np.array(means), sizes)


def _refuse_rate(name: str, fps: Fraction) -> None:
    if fps > MAX_RATE:
        raise InputError(
            f"{name} has {float(fps):,.0f} frames a second by its time stamps, the limit is {MAX_RATE}; give it the "
            "camera's own rate, for 30 so: ffmpeg -i CLIP -vf setpts=N/30/TB -r 30 NEW.mp4"
        )


def _refuse_pause(name: str, times: NDArray[np.float64]) -> None:
    """Raise InputError where two frames are minutes apart, and not because the whole clip is as slow as that."""
    steps = np.diff(times)
    frame = int(steps.argmax())
    pause, usual = float(steps[frame]), float(np.median(steps))
    if pause > MAX_PAUSE and pause > MAX_GROWTH * usual:
        raise InputError(
            f"{name} pauses for {pause:.1f} s after frame {frame} (at {times[frame]:.2f} s), the limit is "
            f"{MAX_PAUSE} s; cut it there and extract its parts, or close the gap, for 30 fps so: "
            "ffmpeg -i CLIP -vf setpts=N/30/TB -r 30 NEW.mp4"
        )


def parse_rate(text: str) -> Fraction:
    """Return the rate that "25", "29.97" or "30000/1001" says; raise InputError for any other text.

    Also for one below zero or above MAX_RATE. An exponent is no rate: "1e99999999" would be a number of 40 MB.
    """
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None or not int(found[2] or 1):
        raise InputError(f"{str(text)[:40]!r} is not a frame rate such as 25 or 30000/1001.")
    rate = Fraction(text)
    if not 0 < rate <= MAX_RATE:
        raise InputError(f"{text} is not a frame rate above 0 and up to {MAX_RATE}.")
    return rate
