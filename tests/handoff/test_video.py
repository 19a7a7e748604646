"""Clips are read and written frame by frame, exactly."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from handoff import video
from handoff.errors import InputError, MissingError, StorageError, UsageError
from handoff.video import VideoWriter, open_video, probe, read_frames
from runner.process import ROOT
from tests.helpers import moving_square, read_gray, textured, write_clip


def test_rate_is_an_exact_fraction_and_frames_are_counted_by_decoding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "ntsc.mp4", moving_square(7), fps=Fraction(30000, 1001))
    info = probe(clip)
    assert info.fps == Fraction(30000, 1001)
    assert (info.width, info.height, info.frames) == (160, 120, 7)


def test_any_range_of_frames_is_the_same_as_in_a_full_read(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", moving_square(60), options={"crf": "20", "g": "12", "bf": "3"})
    sums = [int(frame.sum()) for frame in read_frames(clip)]
    for start, stop in ((0, 5), (11, 13), (12, 30), (47, None), (59, 60), (5, 5)):
        assert [int(frame.sum()) for frame in read_frames(clip, start, stop)] == sums[start:stop]


@pytest.mark.parametrize("limit_kb", [2, 100, 400, 700])
def test_a_write_that_fails_at_any_point_is_said_as_what_it_is(tmp_path: Path, limit_kb: int) -> None:
    """The limit on a file's size stands for the full disk; FFmpeg's own last words on it must not hide the reason."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(1).integers(0, 256, (24, 120, 160, 3), np.uint8)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_kb * 1024, before[1]))
        with (
            pytest.raises(StorageError, match=r"cannot write .*a\.mp4: the file is larger than"),
            VideoWriter(tmp_path / "a.mp4", Fraction(24), 160, 120, crf=0, preset="ultrafast") as writer,
        ):
            for frame in noise:
                writer.write(frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_gray_video_comes_back_bit_exact(tmp_path: Path) -> None:
    frames = [np.random.default_rng(i).integers(0, 256, (37, 51)).astype(np.uint8) for i in range(5)]
    with VideoWriter(tmp_path / "m.mp4", Fraction(24), 51, 37, mode="mask") as writer:
        for frame in frames:
            writer.write(frame)
    back = list(read_gray(tmp_path / "m.mp4"))
    assert len(back) == 5
    assert all(np.array_equal(a, b) for a, b in zip(frames, back, strict=True))


@pytest.mark.parametrize("height", [360, 720])
def test_colours_survive_writing_and_reading_in_sd_and_hd(tmp_path: Path, height: int) -> None:
    grid = np.random.default_rng(0).integers(0, 255, (9, 16, 3)).astype(np.uint8)
    picture = cv2.resize(grid, (640, height), interpolation=cv2.INTER_CUBIC)
    with VideoWriter(tmp_path / "c.mp4", Fraction(25), 640, height, crf=4) as writer:
        writer.write(picture)
    back = next(read_frames(tmp_path / "c.mp4"))
    # the wrong colour matrix costs about 6 levels on such a picture
    assert np.abs(back.astype(int) - picture).mean() < 2.5


def test_output_is_tagged_with_the_colours_it_was_written_in(tmp_path: Path) -> None:
    for height, tag in ((360, 6), (720, 1)):
        with VideoWriter(tmp_path / "c.mp4", Fraction(25), 640, height) as writer:
            writer.write(textured(height, 640))
        with av.open(str(tmp_path / "c.mp4")) as container:
            assert container.streams.video[0].codec_context.colorspace == tag


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, Fraction(25), 160, 120) as writer:
            for frame in moving_square(30):
                writer.write(frame)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


_ENCODE = """
import hashlib, sys
from fractions import Fraction
from pathlib import Path
from handoff.video import VideoWriter
from tests.helpers import textured
path = Path(sys.argv[1])
ground, patch = textured(64, 144, 1), 255 - textured(24, 24, 2)
with VideoWriter(path, Fraction(25), 64, 64, crf=10) as writer:
    for index in range(40):
        frame = ground[:, index : index + 64].copy()
        frame[20 + index % 17 : 44 + index % 17, 7 * index % 40 :][:, :24] = patch
        writer.write(frame)
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_the_same_frames_give_the_same_file_in_every_process(tmp_path: Path) -> None:
    said = set()
    for number in range(8):
        command = [sys.executable, "-c", _ENCODE, str(tmp_path / f"{number}.mp4")]
        said.add(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1


def test_a_codec_that_nothing_decodes_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", moving_square(3))
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(InputError, match="nothing here decodes"):
        probe(clip)


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "x.mp4", Fraction(25), 160, 120) as writer:
        writer.write(textured(120, 160))
        raise ZeroDivisionError
    with pytest.raises(UsageError, match="zero frames"), VideoWriter(tmp_path / "x.mp4", Fraction(25), 160, 120):
        pass
    assert os.listdir(tmp_path) == []


def test_an_older_file_stays_when_writing_the_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("old")
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "x.mp4", Fraction(25), 160, 120):
        raise ZeroDivisionError
    assert (tmp_path / "x.mp4").read_text() == "old"


def test_a_frame_of_another_size_and_an_odd_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="161x120"):
        VideoWriter(tmp_path / "x.mp4", Fraction(25), 161, 120)
    with (
        pytest.raises(UsageError, match=r"\(120, 160, 3\)"),
        VideoWriter(tmp_path / "x.mp4", Fraction(25), 160, 120) as writer,
    ):
        writer.write(textured(60, 80))


def test_a_playlist_cannot_make_the_reader_open_another_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "secret.mp4", moving_square(3))
    for name in ("list.m3u8", "list.mp4"):
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n"
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a video"):
            probe(tmp_path / name)
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {clip}\n")
    with pytest.raises(InputError, match="not a video"):
        probe(tmp_path / "concat.mp4")


NAMES = (
    *("2026-11-28T10:30:15.mp4", "-x.mp4", "-", "file:x.mp4", "concat:a.mp4", "pipe:0", "http:x.mp4", "data:,x.mp4"),
    *("%d.mp4", "%03d.mp4", "?x=1#2.mp4", "a|b.mp4", "subfile,,start,0,end,9,,:x.mp4", "a b\n.mp4", "bad\udcff.mp4"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_looks_like_something_else_is_a_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Relative, as it is typed: FFmpeg takes what is before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter(Path(name), Fraction(25), 64, 48, mode="mask") as writer:
        for level in (0, 90, 200):
            writer.write(np.full((48, 64), level, np.uint8))
    assert os.listdir() == [name]
    assert [int(frame[0, 0]) for frame in read_gray(Path(name))] == [0, 90, 200]
    assert probe(Path(name)) == probe(tmp_path / name)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "socket.mp4").symlink_to("nowhere")
    for name, what in {
        "pipe.mp4": "is a pipe and not a file; save the clip as a file first",
        "link.mp4": "is a pipe",
        "/dev/zero": "is a device",
        "/dev/null": "is a device",
        "empty.mp4": r"is empty \(0 bytes\)",
        ".": "is a folder",
        "socket.mp4": "there is no file",
        "empty.mp4/x.mp4": "there is no file",
        "x" * 300: "cannot be read: file name too long",
        "a\0b": "cannot be read: embedded null byte",
    }.items():
        with pytest.raises(InputError, match=what):
            probe(tmp_path / name)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM])
def test_memory_that_is_missing_is_no_damage_of_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Under a limit (ulimit -v) FFmpeg gets no thread, or no frame."""
    path = write_clip(tmp_path / "clip.mp4", moving_square(3))

    class Short:
        def decode(self) -> None:
            raise av.FFmpegError(code, os.strerror(code))

    with (
        open_video(path) as (_container, stream),
        pytest.raises(MissingError, match="no memory, or no process") as told,
    ):
        list(video._decode(path, stream, [Short()], 0))  # type: ignore[list-item]
    assert told.value.exit_code == 3
    monkeypatch.setattr(av, "open", lambda *_, **__: Short().decode())
    with pytest.raises(MissingError, match="no memory, or no process"):
        probe(path)
