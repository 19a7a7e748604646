"""Bad input: one clear sentence with the value seen, the right exit code, nothing half-written."""

from __future__ import annotations

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest

from handoff.errors import InputError
from handoff.run import Run
from handoff.video import probe
from tests.helpers import Product, encode_silence, moving_square, set_rotation, write_clip

BOX = ("--bbox", "20,40,52,72", "--frame", "0")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving_square(20))


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert the exit code, and that the end is one sentence that names what was seen and what to do."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.lower().startswith("error: ")
    for word in words:
        assert word in sentence, sentence


def nothing_written(data: Path) -> None:
    leftovers = [path for path in data.rglob("*") if path.is_file() and path.name != ".lock"]
    assert leftovers == []


def test_a_missing_file(product: Product) -> None:
    done = product("extract_physics.py", "-i", "/nowhere/input.mp4", *BOX)
    refused(done, 2, "there is no file /nowhere/input.mp4", "check the path")
    nothing_written(product.data)


def test_a_folder_in_place_of_a_clip(product: Product, tmp_path: Path) -> None:
    refused(product("extract_physics.py", "-i", tmp_path, *BOX), 2, "is a folder", "give a video file")


def test_a_text_file_named_mp4(product: Product, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n")
    done = product("extract_physics.py", "-i", tmp_path / "text.mp4", *BOX)
    refused(done, 2, "text.mp4 is not a video", "20 bytes", "export it again")
    nothing_written(product.data)


@pytest.mark.parametrize("index_first", [False, True])
def test_a_truncated_mp4(product: Product, tmp_path: Path, index_first: bool) -> None:
    whole = write_clip(tmp_path / "whole.mp4", moving_square(60), index_first=index_first)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    done = product("extract_physics.py", "-i", tmp_path / "cut.mp4", *BOX)
    refused(done, 2, "cut.mp4", "bytes are missing" if index_first else "cut off", "again")
    nothing_written(product.data)


def test_zero_frames(product: Product, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "empty.avi"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()
    done = product("extract_physics.py", "-i", tmp_path / "empty.avi", *BOX)
    refused(done, 2, "empty.avi", "zero frames")
    nothing_written(product.data)


def test_audio_only(product: Product, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        encode_silence(container, stream, 3)
    done = product("extract_physics.py", "-i", tmp_path / "sound.mp4", *BOX)
    refused(done, 2, "sound.mp4 has no picture", "audio")
    nothing_written(product.data)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("200,40,252,72", ("200,40,252,72 does not lie inside", "160x120")),
        ("52,72,20,40", ("52,72,20,40 is reversed", "20,40,52,72")),
        ("20,40,20,72", ("20,40,20,72 has no area",)),
        ("20,40,52", ("'20,40,52' is not four numbers",)),
    ],
)
def test_a_bad_box_is_refused_before_any_work(product: Product, clip: Path, box: str, words: tuple[str, ...]) -> None:
    refused(product("extract_physics.py", "-i", clip, "--bbox", box), 2, *words)
    assert not list(product.data.rglob("*mask*")) and not list(product.data.rglob("*pose*"))


def test_a_frame_that_the_clip_does_not_have(product: Product, clip: Path) -> None:
    done = product("extract_physics.py", "-i", clip, "--bbox", "20,40,52,72", "--frame", "20")
    refused(done, 2, "frame 20 is not in the clip", "0 to 19")


@pytest.mark.stage
@pytest.mark.parametrize(
    ("name", "size", "fps", "frames"),
    [
        ("odd", (160, 120), Fraction(25), 20),
        ("rotated", (120, 160), Fraction(25), 20),
        ("variable", (160, 120), Fraction(30), 24),
        ("ntsc", (160, 120), Fraction(30000, 1001), 20),
        ("four", (160, 120), Fraction(25), 4),
    ],
)
def test_awkward_clips_go_through_extract_with_every_count_and_size_equal(
    product: Product, tmp_path: Path, name: str, size: tuple[int, int], fps: Fraction, frames: int
) -> None:
    path = tmp_path / f"{name}.mp4"
    pts = [round((i if i < 10 else i + 4) * 1000 / 30) for i in range(20)]
    {
        "odd": lambda: write_clip(path, moving_square(20, width=161, height=121), pix_fmt="yuv444p"),
        "rotated": lambda: set_rotation(write_clip(path, moving_square(20)), 90),
        "variable": lambda: write_clip(path, moving_square(20), pts=pts, time_base=Fraction(1, 1000)),
        "ntsc": lambda: write_clip(path, moving_square(20), fps=Fraction(30000, 1001)),
        "four": lambda: write_clip(path, moving_square(4)),
    }[name]()
    done = product("extract_physics.py", "-i", path, "--bbox", "30,30,80,80")
    assert done.returncode == 0, done.stderr
    folder = product.run(name)
    info = Run.open(folder).info
    assert ((info.width, info.height), info.fps, info.frames) == (size, fps, frames)
    for video in ("source.mp4", "mask.mp4", "pose.mp4"):
        assert probe(folder / video) == info
    for pictures in ("mask_skateboard", "pose_skater", "pose_json"):
        assert len(list((folder / pictures).iterdir())) == frames


def test_a_file_where_the_output_folder_should_be(product: Product, clip: Path) -> None:
    product.data.mkdir()
    (product.data / "runs").write_text("in the way")
    refused(product("extract_physics.py", "-i", clip, *BOX), 3, str(product.data / "runs"), "choose another folder")


def mounted(options: str, folder: Path) -> tuple[str, ...]:
    """Return a command prefix that runs the rest with a tmpfs on `folder`, in a mount namespace of its own."""
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder))
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small tmpfs (unshare --map-root-user --mount)")
    return prefix


def test_a_read_only_output_folder(product: Product, clip: Path) -> None:
    product.data.mkdir()
    done = product("extract_physics.py", "-i", clip, *BOX, prefix=mounted("ro,size=1m", product.data))
    refused(done, 3, "cannot write", str(product.data), "read-only")


@pytest.mark.slow
@pytest.mark.stage
def test_a_full_disk_is_said_in_one_sentence_and_leaves_no_half_file(product: Product, clip: Path) -> None:
    """A tmpfs that is too small at first lets ingest pass or fail, then each stage in turn."""
    product.data.mkdir()
    report = 'find "$DATA_DIR" -type f -printf "%s %P\\n" >&2; echo "exit code $code" >&2'
    met = set()
    for size in (16, 64, 128, 192, 256, 320, 448, 640):
        prefix = (*mounted(f"size={size}k", product.data), "sh", "-c", f'"$@"; code=$?; {report}', "sh")
        errors = product("extract_physics.py", "-i", clip, *BOX, prefix=prefix).stderr
        code = int(re.search(r"exit code (\d+)", errors).group(1))
        if code == 0:
            met.add("none")
            break
        assert code == 3, errors
        sentence = next(line for line in errors.splitlines() if line.startswith("error: "))
        assert "no space left" in sentence and "Traceback" not in errors
        assert ".partial" not in errors
        met.add(re.search(r"cannot write \S*/(\S+?):", sentence).group(1))
    assert "none" in met and len(met) >= 3, met


def test_reskin_and_evaluate_without_their_inputs(product: Product, tmp_path: Path) -> None:
    done = product("generate_reskin.py", "--prompt", "drone", "--mask", "mask.mp4", "--pose", "pose.json")
    refused(done, 2, "no run in", "extract_physics.py")
    done = product("evaluate_iou.py", "-original", tmp_path / "mask.mp4", "-generated", tmp_path / "output.mp4")
    refused(done, 2, "mask.mp4")


def test_the_reader_names_the_kind_of_damage(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="0 bytes"):
        probe(tmp_path / "empty.mp4")
