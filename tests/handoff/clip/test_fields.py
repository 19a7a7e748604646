"""Interlaced clips become whole frames, each of the field that was filmed first; others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from handoff.clip.fields import fields_of
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.run import Run
from handoff.video import read_frames
from tests.handoff.clip.cards import (
    DISPLAYS,
    Kind,
    Picture,
    card,
    decoded,
    flagged,
    stored_frame,
    to_rgb,
    woven,
    write_stored,
)

FRAMES = 8
CODED = {"flags": "+ildct+ilme"}
FINE = CODED | {"qmin": "1", "qmax": "2", "b": "8M"}
KINDS = {
    "H.264": Kind(width=192, options=CODED),
    "H.264 in MKV": Kind(suffix="mkv", width=192, options=CODED),
    "MPEG-2": Kind("mpeg2video", "ts", width=192, options=FINE),
    "MPEG-4": Kind("mpeg4", "avi", width=192, options=FINE),
    "ProRes": Kind("prores_ks", "mov", "yuv422p10le", width=192, options={"flags": "+ildct"}),
    "FFV1": Kind("ffv1", "mkv", "yuv422p", width=192),
    "DV of 625 lines": Kind("dvvideo", "avi", width=720, height=576),
    "DV of 525 lines": Kind("dvvideo", "mov", "yuv411p", width=720, height=480, rate=Fraction(30000, 1001)),
}


def scene(kind: Kind, moment: int) -> Picture:
    """The card with a bar that moves 9 px from field to field."""
    picture = card(kind.width, kind.height, 0)
    left = 10 + 9 * moment
    picture[kind.height // 6 : 5 * kind.height // 6, left : left + 20] = (240, 180, 30)
    return picture


def fields(kind: Kind, top_first: bool) -> Iterator[VideoFrame]:
    pictures = (scene(kind, moment) for moment in range(2 * FRAMES))
    return woven((stored_frame(each, kind.pix_fmt, 6, False) for each in pictures), top_first)


def off(run: Run, kind: Kind, moment_of_first: int) -> float:
    """Levels, in the mean, between source.mp4 and every second picture of the scene."""
    frames = list(read_frames(run.source))
    assert len(frames) == FRAMES
    shown = [cv2.resize(frame, (kind.width, kind.height), interpolation=cv2.INTER_AREA) for frame in frames]
    expected = [scene(kind, 2 * index + moment_of_first) for index in range(FRAMES)]
    return float(np.abs(np.array(shown, float) - np.array(expected)).mean())


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("name", KINDS)
def test_an_interlaced_clip_shows_its_first_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, order: str
) -> None:
    kind = KINDS[name]
    if kind.codec == "libx264":
        kind = replace(kind, options=kind.options | {"x264-params": f"{order}=1"})
    clip = tmp_path / f"in.{kind.suffix}"
    write_stored(clip, kind, flagged(fields(kind, order == "tff"), order), 1 / kind.rate)
    combed = np.mean([np.abs(to_rgb(f, 6) - scene(kind, 2 * i)).mean() for i, f in enumerate(decoded(clip))])
    run = ingest(clip, tmp_path / "run")
    assert off(run, kind, 0) < min(0.85 * combed, off(run, kind, 1) / 2)
    assert "interlaced" in run.manifest["source"]["done"] and "bwdif" in run.manifest["source"]["done"]
    assert "interlaced" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "order"), [(2, "tff"), (3, "bff"), (4, "bff"), (5, "tff")])
@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", "mkv"), ("jpeg2000", "mov"), ("libx264", "mkv")])
def test_what_only_the_container_says_is_followed(
    tmp_path: Path, codec: str, suffix: str, number: int, order: str
) -> None:
    kind = Kind(codec, suffix, width=192, field_order=number)
    clip = write_stored(tmp_path / f"in.{suffix}", kind, fields(kind, order == "tff"), 1 / kind.rate)
    assert not any(frame.interlaced_frame for frame in decoded(clip))
    run = ingest(clip, tmp_path / "run")
    assert off(run, kind, 0) < off(run, kind, 1) / 2


def test_whole_frames_that_a_container_calls_interlaced_are_left_alone(tmp_path: Path) -> None:
    kind = Kind(suffix="mkv", width=192, field_order=2)
    whole = (stored_frame(scene(kind, 2 * index), "yuv420p", 6, False) for index in range(FRAMES))
    run = ingest(write_stored(tmp_path / "in.mkv", kind, whole, Fraction(1, 25)), tmp_path / "run")
    assert "interlaced" not in run.manifest["source"]["done"]


def test_whole_frames_are_copied(tmp_path: Path) -> None:
    kind = Kind(width=192)
    whole = (stored_frame(scene(kind, 2 * index), "yuv420p", 6, False) for index in range(FRAMES))
    clip = write_stored(tmp_path / "in.mp4", kind, flagged(whole, "prog"), Fraction(1, 25))
    run = ingest(clip, tmp_path / "run")
    assert run.manifest["source"]["done"] == "copied" and run.source.read_bytes() == clip.read_bytes()


def test_whole_frames_among_interlaced_ones_stay_as_they_are(tmp_path: Path) -> None:
    """Film between video: frames that are not flagged are not touched."""
    kind = Kind("ffv1", "mkv", "yuv420p", width=192)
    whole = (stored_frame(scene(kind, 2 * index), "yuv420p", 6, False) for index in range(FRAMES // 2))
    split = [*flagged(fields(kind, True), "tff")][: FRAMES // 2]
    clip = write_stored(tmp_path / "in.mkv", kind, [*flagged(whole, "prog"), *split], Fraction(1, 25))
    assert [frame.interlaced_frame for frame in decoded(clip)] == [False] * (FRAMES // 2) + [True] * (FRAMES // 2)
    run = ingest(clip, tmp_path / "run")
    before, after = (list(map(lambda frame: to_rgb(frame, 6), decoded(path))) for path in (clip, run.source))
    assert len(after) == FRAMES
    assert max(np.abs(one - other).mean() for one, other in zip(before[:4], after[:4], strict=True)) < 1
    assert min(np.abs(one - other).mean() for one, other in zip(before[4:], after[4:], strict=True)) > 1


def test_an_interlaced_clip_is_deinterlaced_before_it_is_turned(tmp_path: Path) -> None:
    options = CODED | {"x264-params": "tff=1"}
    kind = Kind(width=192, options=options, display=DISPLAYS["-+yx"])
    clip = write_stored(tmp_path / "in.mp4", kind, flagged(fields(kind, True), "tff"), Fraction(1, 25))
    run = ingest(clip, tmp_path / "run")
    for index, frame in enumerate(read_frames(run.source)):
        upright = np.rot90(frame)
        first, second = (np.abs(upright.astype(float) - scene(kind, 2 * index + each)).mean() for each in (0, 1))
        assert first < second / 2


def test_hevc_in_single_fields_is_refused() -> None:
    with pytest.raises(InputError, match="HEVC in 12 single fields"):
        fields_of("hevc", 0, 12, [])
