"""The rate is decided from all time stamps of a clip, whatever the container says, and each frame gets its place."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.clip.rates import MAX_GROWTH, STANDARD_RATES, RateMeter, Timing, parse_rate
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.run import Run
from tests.handoff.clip.numbered import numbers_in, write_numbered, write_packed

SECONDS = Fraction(1, 90000)
PHONE_MS = [0, 32, 69, 98, 135, 167, 198, 234, 265, 301, 365, 399, 434, 470, 499, 533, 568, 604, 635, 667]
"""A phone's 20 frames at 30 fps: jitter of 3 ms, and one frame is missing after the tenth."""


def timing(pts: Sequence[int | None], time_base: Fraction = SECONDS, stated: Sequence[Fraction] = ()) -> Timing:
    meter = RateMeter(time_base, stated)
    for each in pts:
        meter.feed(each)
    return meter.timing("clip.mp4")


def phone(rate: Fraction, frames: int, jitter: float, missing: float, ticks: int, seed: int) -> list[int]:
    """Time stamps as a phone gives them; jitter: of a frame, either way; missing: the share of frames."""
    chance, place, pts = random.Random(seed), 0, []
    for _ in range(frames):
        pts.append(round((place + chance.uniform(-jitter, jitter)) / rate * ticks))
        place += 2 if chance.random() < missing else 1
    return pts


@given(st.sampled_from(STANDARD_RATES), st.sampled_from([1000, 12800, 90000]), st.integers(30, 300), st.integers(0, 99))
def test_a_constant_rate_is_found_exactly_from_rounded_time_stamps(
    rate: Fraction, ticks: int, frames: int, start: int
) -> None:
    found = timing([start + round(i / rate * ticks) for i in range(frames)], Fraction(1, ticks), [rate])
    assert found.fps == rate and found.exact and found.shown.tolist() == [1] * frames


@pytest.mark.parametrize(
    ("ntsc", "stated"),
    [(60, Fraction(19001, 317)), (60, Fraction(959, 16)), (30, Fraction(989, 33)), (24, Fraction(983, 41))],
    ids=["Matroska", "FLV 59.94", "FLV 29.97", "FLV 23.98"],
)
def test_a_rate_that_the_container_rounds_is_the_one_that_was_meant(ntsc: int, stated: Fraction) -> None:
    meant = Fraction(ntsc * 1000, 1001)
    found = timing([round(i / meant * 1000) for i in range(40)], Fraction(1, 1000), [stated])
    assert found.fps == meant and found.exact and found.shown.tolist() == [1] * 40


def test_an_odd_rate_on_whose_grid_all_frames_lie_stays() -> None:
    odd = Fraction(19001, 317)
    assert timing([317 * i for i in range(40)], Fraction(1, 19001), [odd]).fps == odd
    slow = Fraction(90000, 3001)  # a camera's own clock
    assert timing([3001 * i for i in range(300)], stated=[slow]).fps == slow


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from([24, 25, 30, 50, 60, 120]),
    st.integers(40, 300),
    st.floats(0, 0.2),
    st.floats(0, 0.1),
    st.sampled_from([1000, 90000, 1_000_000]),
    st.sampled_from([[], [Fraction(2788, 100)], [Fraction(90000)]]),
    st.integers(0, 10**6),
)
def test_a_phones_nominal_rate_is_found_and_no_frame_is_lost(
    rate: int, frames: int, jitter: float, missing: float, ticks: int, stated: list[Fraction], seed: int
) -> None:
    pts = phone(Fraction(rate), frames, jitter, missing, ticks, seed)
    found = timing(pts, Fraction(1, ticks), stated)
    assert found.fps == rate
    assert found.left_out == 0
    assert abs(found.total - 1 - (pts[-1] - pts[0]) / ticks * rate) <= 1


def test_29_97_is_told_from_30_where_the_clip_is_long_or_its_container_says_so() -> None:
    ntsc = Fraction(30000, 1001)
    assert timing(phone(ntsc, 1500, 0.1, 0.05, 90000, 1)).fps == ntsc
    assert timing(phone(ntsc, 40, 0.1, 0.05, 90000, 1), stated=[ntsc]).fps == ntsc


def test_a_dropped_frame_is_filled_with_the_one_before() -> None:
    found = timing([i * 33 for i in range(60) if i not in (20, 21, 40)], Fraction(1, 1000))
    assert (found.fps, found.total, found.repeated, found.left_out) == (30, 60, 3, 0)
    assert [index for index, times in enumerate(found.shown) if times > 1] == [19, 37]


def test_jitter_below_half_a_frame_keeps_every_frame() -> None:
    pts = [i * 40 + (7 if i % 3 else -6) for i in range(60)]
    found = timing(pts, Fraction(1, 1000))
    assert found.fps == 25 and not found.exact and found.shown.tolist() == [1] * 60


def test_frames_that_come_two_at_a_time_keep_their_number() -> None:
    found = timing([3000 * (i // 2) + i % 2 for i in range(60)], stated=[Fraction(5400000, 90001), Fraction(60)])
    assert found.fps == 60 and found.shown.tolist() == [1] * 60


def test_frames_that_crowd_are_left_out_and_the_rest_keeps_its_time() -> None:
    """A stretch of slow motion, 240 frames a second, in a clip of 30."""
    steps = [3000] * 20 + [375] * 40 + [3000] * 40
    pts = [sum(steps[:index]) for index in range(len(steps) + 1)]
    found = timing(pts)
    assert found.fps == 30
    assert found.shown[:18].tolist() == found.shown[-38:].tolist()[:18] == [1] * 18
    assert abs(found.total - 1 - pts[-1] / 3000) <= 3


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_clip_of_few_frames_has_a_rate(frames: int) -> None:
    assert timing([3600 * i for i in range(frames)], stated=[Fraction(25)]).fps == 25


def test_a_recording_that_follows_another_goes_on_at_their_rate() -> None:
    part = [133500 + 3750 * i for i in range(20)]
    found = timing(part + part, stated=[Fraction(24)])
    assert found.fps == 24 and found.repaired and found.shown.tolist() == [1] * 40


def test_packed_b_frames_keep_the_order_of_decoding() -> None:
    found = timing([1, 3, 2, 5, 4, 7, 6, 9, 8, 10], Fraction(1, 24), [Fraction(24)])
    assert found.fps == 24 and found.repaired and found.shown.tolist() == [1] * 10


def test_frames_without_time_stamps_have_the_rate_that_the_container_states() -> None:
    found = timing([None] * 9, stated=[Fraction(90000), Fraction(25)])
    assert found.fps == 25 and found.repaired and found.shown.tolist() == [1] * 9
    with pytest.raises(InputError, match=r"neither time stamps nor a frame rate"):
        timing([None, 3600])


@pytest.mark.parametrize("pause", [11, 60, 600, 10**6])
def test_a_pause_is_refused_with_its_place_and_length(pause: int) -> None:
    pts = [3000 * i + (pause * 90000 if i > 14 else 0) for i in range(30)]
    with pytest.raises(InputError, match=rf"pauses for {pause}\.0 s after frame 14 \(at 0\.47 s\).*cut it there"):
        timing(pts)


def test_a_clip_that_is_slow_as_a_whole_has_no_pause() -> None:
    assert timing([90000 * 15 * i for i in range(20)]).fps == Fraction(1, 15)


def test_bursts_of_frames_neither_multiply_the_clip_nor_lose_frames() -> None:
    """Three frames, 1/60 s apart, every two seconds."""
    found = timing([180000 * (i // 3) + 1500 * (i % 3) for i in range(60)])
    assert found.fps == Fraction(3, 2) and found.shown.tolist() == [1] * 60


def test_a_clip_that_would_become_many_times_its_frames_is_refused() -> None:
    """Stretches at 30 frames a second, with pauses of nine seconds between them."""
    pts = [3000 * i + 810_000 * (i // 6) for i in range(60)]
    with pytest.raises(InputError, match=r"has 60 frames that would become 2,4\d\d at 30 fps, the limit is 10 times"):
        timing(pts)


@pytest.mark.parametrize("step", [1, 80])
def test_a_rate_that_no_camera_has_is_refused(step: int) -> None:
    with pytest.raises(InputError, match=r"frames a second by its time stamps, the limit is 1000"):
        timing([step * i for i in range(60)], stated=[Fraction(90000, step)])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(-(2**40), 2**40) | st.none(), min_size=1, max_size=60), st.sampled_from([1, 600, 90000]))
def test_any_time_stamps_give_a_bounded_clip_or_are_refused(pts: list[int | None], ticks: int) -> None:
    try:
        found = timing(pts, Fraction(1, ticks), [Fraction(25)])
    except InputError as error:
        assert "clip.mp4" in str(error)
    else:
        assert 0 < found.fps <= 1000 and len(found.shown) == len(pts) and 0 < found.total <= MAX_GROWTH * len(pts)


@pytest.mark.parametrize(("text", "rate"), [("25", 25), ("30000/1001", Fraction(30000, 1001)), ("29.97", "29.97")])
def test_a_rate_is_read_from_text(text: str, rate: object) -> None:
    assert parse_rate(text) == Fraction(rate)


@pytest.mark.parametrize("text", ["1e99999999", "1e-99999999", "", "25/0", "0", "-25", "nan", "1001", "9" * 5000, "²"])
def test_a_text_that_is_no_rate_is_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match="not a frame rate"):
        parse_rate(text)
    assert time.monotonic() - begin < 1


def test_a_run_whose_rate_is_an_endless_number_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path, {"source": {"width": 8, "height": 8, "fps": "1e99999999", "frames": 2}})
    with pytest.raises(InputError, match="'1e99999999' is not a frame rate"):
        _ = run.info


def test_a_phones_clip_becomes_one_of_its_nominal_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_numbered(tmp_path / "in.mp4", PHONE_MS, time_base=Fraction(1, 1000), rate=Fraction(30))
    run = ingest(clip, tmp_path / "run")
    assert run.info.fps == 30
    assert numbers_in(run.source) == [*range(10), 9, *range(10, 20)]
    assert "its 20 frames become 21 at 30 fps (1 repeated, 0 left out)" in capsys.readouterr().err


def test_a_pause_costs_neither_memory_nor_frames(tmp_path: Path) -> None:
    pts = [i * 40 + (600_000 if i > 9 else 0) for i in range(20)]
    clip = write_numbered(tmp_path / "in.mp4", pts, time_base=Fraction(1, 1000))
    with pytest.raises(InputError, match=r"pauses for 600\.0 s after frame 9 "):
        ingest(clip, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_transport_streams_that_were_joined_keep_all_frames(tmp_path: Path) -> None:
    part = write_numbered(tmp_path / "part.ts", range(20), format="mpegts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    run = ingest(tmp_path / "joined.ts", tmp_path / "run")
    assert run.info.fps == 24
    assert numbers_in(run.source) == [*range(20), *range(20)]


def test_an_avi_of_packed_b_frames_keeps_all_frames_in_order(tmp_path: Path) -> None:
    run = ingest(write_packed(tmp_path / "in.avi", 40), tmp_path / "run")
    assert run.info.fps == 24
    assert numbers_in(run.source) == list(range(40))
