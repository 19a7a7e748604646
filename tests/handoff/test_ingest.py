"""Whatever a clip is like, source.mp4 is upright, square, even, of constant rate and silent."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from handoff import ingest as ingesting
from handoff.clip.truncation import missing_part
from handoff.errors import InputError, UsageError
from handoff.files import sha256_file
from handoff.ingest import ingest, shown_frames
from handoff.run import Run
from handoff.video import probe, read_frames
from tests.helpers import moving_square, set_rotation, write_clip


def first_frame(run: Run) -> np.ndarray:
    return next(read_frames(run.source)).astype(int)


def picture(**kind: int) -> np.ndarray:
    return next(iter(moving_square(1, **kind))).astype(int)


def test_a_clip_that_fits_is_copied_byte_for_byte(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(12))
    run = ingest(clip, tmp_path / "run")
    assert run.source.read_bytes() == clip.read_bytes()
    assert run.manifest["source"]["done"] == "copied"
    assert run.manifest["source"]["sha256"] == sha256_file(clip)


def test_audio_is_dropped_without_encoding_the_picture_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(12), audio=True)
    run = ingest(clip, tmp_path / "run")
    with av.open(str(run.source)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    frames = zip(read_frames(clip), read_frames(run.source), strict=True)
    assert all(np.array_equal(before, after) for before, after in frames)


@pytest.mark.parametrize(("clockwise", "turns"), [(90, -1), (180, 2), (270, 1)])
def test_rotation_metadata_is_applied(tmp_path: Path, clockwise: int, turns: int) -> None:
    clip = set_rotation(write_clip(tmp_path / "in.mp4", moving_square(4)), clockwise)
    run = ingest(clip, tmp_path / "run")
    expected = np.rot90(picture(), turns)
    assert (run.info.height, run.info.width) == expected.shape[:2]
    assert np.abs(first_frame(run) - expected).mean() < 6


def test_an_odd_size_loses_its_last_row_and_column(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(4, width=161, height=121), pix_fmt="yuv444p")
    run = ingest(clip, tmp_path / "run")
    assert (run.info.width, run.info.height) == (160, 120)
    assert np.abs(first_frame(run) - picture(width=161, height=121)[:120, :160]).mean() < 6


def test_wide_pixels_become_square(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(4), pixel_aspect=Fraction(4, 3))
    assert ingest(clip, tmp_path / "run").info.width == 212  # 160 * 4 / 3, made even


def test_29_97_fps_stays_the_exact_fraction(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", moving_square(60), fps=Fraction(30000, 1001))  # 1 ms time stamps
    run = ingest(clip, tmp_path / "run")
    assert run.info.fps == probe(run.source).fps == Fraction(30000, 1001)
    assert run.info.frames == 60


def test_a_variable_rate_becomes_constant_and_keeps_its_duration(tmp_path: Path) -> None:
    pts = [0, 33, 66, 100, 133, 300, 333, 366, 400, 433, 466, 500]  # ms; four frames are missing after the fifth
    clip = write_clip(tmp_path / "in.mp4", moving_square(12), pts=pts, time_base=Fraction(1, 1000))
    run = ingest(clip, tmp_path / "run")
    assert "variable frame rate" in run.manifest["source"]["done"]
    assert (run.info.fps, run.info.frames) == (Fraction(30), 16)
    frames = list(read_frames(run.source))
    held = np.abs(frames[8].astype(int) - frames[5]).mean()
    assert held < np.abs(frames[9].astype(int) - frames[5]).mean() / 2  # the gap repeats a frame, then goes on


def test_uneven_time_stamps_alone_neither_repeat_nor_drop_a_frame(tmp_path: Path) -> None:
    pts = [0, 35, 65, 102, 133, 165, 203, 233, 268, 299, 333, 365]
    clip = write_clip(tmp_path / "in.mp4", moving_square(12), pts=pts, time_base=Fraction(1, 1000))
    assert ingest(clip, tmp_path / "run").info.frames == 12


def test_full_range_video_keeps_its_levels(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(4), pix_fmt="yuvj420p")
    assert np.abs(first_frame(ingest(clip, tmp_path / "run")) - picture()).mean() < 6


@pytest.mark.parametrize("frames", [1, 4])
def test_a_very_short_clip_is_a_clip(tmp_path: Path, frames: int) -> None:
    assert ingest(write_clip(tmp_path / "in.mp4", moving_square(frames)), tmp_path / "run").info.frames == frames


def test_the_same_clip_again_does_nothing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_square(4))
    before = ingest(clip, tmp_path / "run").source.stat().st_mtime_ns
    assert ingest(clip, tmp_path / "run").source.stat().st_mtime_ns == before


def test_another_clip_in_the_same_run_is_refused_and_force_begins_anew(tmp_path: Path) -> None:
    run = ingest(write_clip(tmp_path / "a.mp4", moving_square(4)), tmp_path / "run")
    run.manifest["stages"]["posegen"] = {"outputs": []}
    run.save()
    other = write_clip(tmp_path / "b.mp4", moving_square(5))
    with pytest.raises(UsageError, match="holds another clip"):
        ingest(other, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["source"]["frames"] == 4
    anew = ingest(other, tmp_path / "run", force=True)
    assert anew.info.frames == 5 and list(anew.manifest["stages"]) == ["ingest"]


def test_of_two_clips_for_one_run_at_the_same_time_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [tmp_path / camera / "clip.mp4" for camera in ("camA", "camB")]
    for frames, clip in enumerate(clips, 4):
        clip.parent.mkdir()
        write_clip(clip, moving_square(frames))
    look = ingesting._survey

    def meanwhile(path: Path) -> object:
        found = look(path)
        with monkeypatch.context() as patch:
            patch.setattr(ingesting, "_survey", look)
            ingest(clips[0], tmp_path / "clip")
        return found

    monkeypatch.setattr(ingesting, "_survey", meanwhile)
    with pytest.raises(UsageError, match=r"holds another clip \(.*camA/clip\.mp4, .*camB/clip\.mp4 .* --run NAME"):
        ingest(clips[1], tmp_path / "clip")
    run = Run.open(tmp_path / "clip")
    assert run.info.frames == 4 and run.source.read_bytes() == clips[0].read_bytes()
    assert ingest(clips[0], tmp_path / "clip").info.frames == 4  # the same one meanwhile is no fault


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.999])
def test_a_clip_that_is_cut_off_is_refused_wherever_the_cut_is(tmp_path: Path, suffix: str, share: float) -> None:
    whole = write_clip(tmp_path / f"whole.{suffix}", moving_square(60), index_first=suffix != "mkv")
    assert missing_part(whole) == ""
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"cut off|breaks off"):
        ingest(cut, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_clip_is_refused_with_the_frame_where_it_breaks(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", moving_square(60), options={"crf": "10", "g": "5"})
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    whole.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged after frame \d+"):
        ingest(whole, tmp_path / "run")


def test_a_clips_frames_are_shown_as_its_source_has_them(tmp_path: Path) -> None:
    pts = [0, 33, 66, 100, 133, 300, 333, 366, 400, 433, 466, 500]  # ms; four frames are missing after the fifth
    frames = moving_square(12, width=161, height=121)
    kinds = {"pix_fmt": "yuv444p", "pixel_aspect": Fraction(4, 3), "pts": pts, "time_base": Fraction(1, 1000)}
    clip = set_rotation(write_clip(tmp_path / "in.mp4", frames, **kinds), 90)
    run = ingest(clip, tmp_path / "run")
    shown = list(shown_frames(clip))
    assert [frame.shape for frame in shown] == [(run.info.height, run.info.width, 3)] * run.info.frames
    for one, other in zip(shown, read_frames(run.source), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 6
    plain = write_clip(tmp_path / "plain.mp4", moving_square(3))
    assert all(np.array_equal(*pair) for pair in zip(shown_frames(plain), read_frames(plain), strict=True))


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", "mp4", {"crf": "10", "g": "12", "bf": "0"}),
        ("mpeg2video", "ts", {"g": "12", "b": "4M"}),
        ("mpeg4", "avi", {"g": "12", "b": "2M"}),
    ],
)
def test_frames_that_the_decoder_patched_are_said_and_encoded_as_it_patched_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], codec: str, suffix: str, options: dict[str, str]
) -> None:
    clip = write_clip(tmp_path / f"in.{suffix}", moving_square(40), codec=codec, options=options)
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = bytes(60)
    clip.write_bytes(data)
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "FRAME"  # by slices the decoder does not say what it patched
        damaged = [index for index, frame in enumerate(container.decode(video=0)) if frame.is_corrupt]
    assert damaged
    run = ingest(clip, tmp_path / "run")
    said = capsys.readouterr()
    assert f"{len(damaged)} of the clip's 40 frames are damaged" in said.err
    assert f"patched them: {', '.join(map(str, damaged))}." in said.err
    assert "damaged frames" in said.out
    assert run.manifest["source"]["input"]["damaged"] == damaged and run.info.frames == 40
