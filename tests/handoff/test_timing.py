"""The rate is decided from time stamps, whatever the container says."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from handoff.ingest import STANDARD_RATES, RateMeter


def fed(pts: list[int], time_base: Fraction, stated: Fraction = Fraction(25)) -> RateMeter:
    meter = RateMeter(time_base, [stated])
    for each in pts:
        meter.feed(each)
    return meter


@given(st.sampled_from(STANDARD_RATES), st.sampled_from([1000, 12800, 90000]), st.integers(30, 300), st.integers(0, 99))
def test_a_constant_rate_is_found_exactly_from_rounded_time_stamps(
    rate: Fraction, ticks: int, frames: int, start: int
) -> None:
    meter = fed([start + round(i / rate * ticks) for i in range(frames)], Fraction(1, ticks), stated=rate)
    assert meter.exact_rate() == rate


def test_a_dropped_frame_makes_the_rate_variable_but_its_nominal_rate_is_known() -> None:
    pts = [i * 33 for i in range(60) if i not in (20, 21, 40)]
    meter = fed(pts, Fraction(1, 1000))
    assert meter.exact_rate() is None and meter.nearly_exact_rate() is None
    assert meter.nominal_rate() == 30


def test_jitter_below_half_a_frame_keeps_every_frame() -> None:
    pts = [i * 40 + (7 if i % 3 else -6) for i in range(60)]
    assert fed(pts, Fraction(1, 1000)).nearly_exact_rate() == 25
