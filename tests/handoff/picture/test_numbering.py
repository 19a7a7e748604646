"""The frames of a folder: by their numbers, whatever the letters, and without what Finder and Explorer leave there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handoff.errors import InputError
from handoff.files import files_in, sha256_tree
from handoff.masks import read_masks
from handoff.picture.numbering import numbered_pngs
from tests.maskfiles import encode

LITTER = {
    "._00000.png": b"\0\x05\x16\x07" + bytes(100),
    ".DS_Store": b"\0\0\0\1Bud1",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "desktop.ini": b"[.ShellClassInfo]",
    ".hidden.png": b"",
}


def folder_of(folder: Path, names: list[str]) -> Path:
    """Frame i has its first i + 1 pixels white."""
    folder.mkdir()
    for index, name in enumerate(names):
        (folder / name).write_bytes(encode(np.where(np.arange(40).reshape(4, 10) <= index, 255, 0)))
    return folder


@pytest.mark.parametrize(
    "names",
    [
        [f"{number}.png" for number in range(1, 13)],
        [f"{number:05d}.PNG" for number in range(3)],
        ["frame_00000.png", "frame_00001.PNG", "frame_00002.Png"],
        ["Frame 8.png", "Frame 9.png", "Frame 10.png"],
        ["frame_00000.png", "00001.png", "mask 2.png"],
        ["clip2_0099.png", "clip2_0100.png"],
        ["00000.png"],
    ],
)
def test_the_order_is_that_of_the_numbers(tmp_path: Path, names: list[str]) -> None:
    folder = folder_of(tmp_path / "masks", names)
    for name, data in LITTER.items():
        (folder / name).write_bytes(data)
    (folder / "__MACOSX").mkdir()
    (folder / "notes.txt").write_text("made by hand")
    assert [path.name for path in numbered_pngs(folder)] == names
    assert [int(mask.sum()) for mask in read_masks(folder)] == list(range(1, len(names) + 1))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png", "4.png"], r"4\.png after frame 2 \(2\.png\): a frame is missing"),
        (["00000.png", "00000.PNG"], r"frame 0 twice: 00000\.(png|PNG) and"),
        (["00000.png", "frame_0.png", "00001.png"], "frame 0 twice"),
        (["00000.png", "00000 - Copy.png"], "frame 0 twice: .* take one away"),
        (["00000.png", "00001.png", "00001 (1).png"], "frame 1 twice"),
        (["00000.png", "preview.png"], "preview.png has no frame number"),
        (["frame_00000.jpg", "frame_00001.jpg"], r"has no PNG files \(but \.jpg\)"),
        ([], "has no PNG files; give the folder"),
    ],
)
def test_what_is_missing_there_twice_or_not_numbered_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_masks(folder_of(tmp_path / "masks", names)))


def test_litter_changes_neither_the_files_nor_the_digest_of_a_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", ["0.png", "1.png"])
    before = sha256_tree(folder)
    for name, data in LITTER.items():
        (folder / name).write_bytes(data)
    (folder / "@eaDir").mkdir()
    assert sha256_tree(folder) == before
    assert [path.name for path in files_in(folder)] == ["0.png", "1.png"]
    (folder / "1.png").write_bytes(b"another")
    assert sha256_tree(folder) != before


def test_a_name_that_is_no_utf_8_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "m\udcff0.png").write_bytes(b"")
    assert len(sha256_tree(tmp_path)) == 64


@pytest.mark.parametrize("name", ["a\n::error::Gate: PASS 1.png", "\x1b[2J1.png", "1\t.txt"])
def test_a_name_that_could_not_be_said_in_a_line_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="a name with control characters") as told:
        numbered_pngs(tmp_path)
    assert str(told.value).isprintable()
    (tmp_path / name).rename(tmp_path / f".{name}")
    with pytest.raises(InputError, match="has no PNG files"):
        numbered_pngs(tmp_path)
