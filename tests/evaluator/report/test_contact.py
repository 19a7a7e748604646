"""The contact sheet of a sweep, pixel by pixel where it must say something, and drawn again only where it has to be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from evaluator.report import contact, sheet
from evaluator.report.chart import only_packaged
from evaluator.report.contact import command
from evaluator.report.sheet import THUMB_PX
from handoff.errors import InputError, StorageError
from handoff.masks import MaskSequenceWriter, draw_outline, read_masks
from handoff.run import Run
from handoff.video import Frame, read_frames

PASSED, FAILED, TILE = (165, 224, 203), (232, 121, 74), (225, 225, 225)
LEFT, STEP, CAPTION = 18 + 130 + 14, THUMB_PX + 14, 44


def cell_of(run: Run, frame: int = 3, **more: Any) -> dict[str, Any]:
    video = str(run.path("reskins/drone/output.mp4"))
    found = {"clip": "demo", "prompt": "drone", "seed": 1, "verdict": "pass", "failing": 0, "worst_iou": 0.95}
    return found | {"frame": frame, "video": video, "result": [1, 2]} | more


def document(*cells: list[Any], prompts: list[str] | None = None) -> dict[str, Any]:
    named = prompts or [f"prompt {column}" for column in range(len(cells[0]))]
    clips = [f"clip{row}" for row in range(len(cells))]
    return {"schema": 1, "name": "sweep", "clips": clips, "prompts": named, "cells": list(cells)}


def drawn(folder: Path, found: object) -> int:
    """The command's exit code; its errors come through."""
    listed = folder / "contact.json"
    listed.write_text(found if isinstance(found, str) else json.dumps(found))
    arguments = [str(listed), str(folder / "contact.jpg")]
    code: int = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False).return_value
    return code


def picture(folder: Path, name: str = "contact.jpg") -> Frame:
    found = cv2.imread(str(folder / name))
    assert found is not None
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def near(pixels: Any, colour: tuple[int, int, int]) -> Any:
    return (np.abs(pixels.astype(int) - colour) < 12).all(-1)


def bands(sheet_: Frame, column: int, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """First and last row of each band of a colour in a column of frames, at its right edge, where no letter is."""
    rows = near(sheet_[:, LEFT + column * STEP + THUMB_PX - 4], colour).nonzero()[0]
    parts = np.split(rows, (np.diff(rows) > 1).nonzero()[0] + 1) if rows.size else []
    return [(int(part[0]), int(part[-1])) for part in parts]


def test_each_place_shows_the_worst_frame_with_the_old_outline_and_its_verdict(run: Run, tmp_path: Path) -> None:
    bad = cell_of(run, 9, verdict="FAIL", failing=2, worst_iou=0.31, seed=7)
    found = document([cell_of(run), bad], [None, cell_of(run, verdict="failed", video=None, frame=None)])
    assert drawn(tmp_path, found) == 0
    seen = picture(tmp_path)
    assert seen.shape[1] == LEFT + 2 * STEP - 14 + 18
    ((first, last),), ((other, end),) = bands(seen, 0, PASSED), bands(seen, 1, FAILED)
    top = last + 1 - CAPTION
    assert 0 <= first - top <= 3 and 0 <= other - top <= 3 and end == last, "but for what a JPEG does to an edge"
    height = round(THUMB_PX * run.info.height / run.info.width)
    for column, index in enumerate((3, 9)):
        (frame,) = read_frames(run.path("reskins/drone/output.mp4"), index, index + 1)
        small = np.asarray(cv2.resize(frame, (THUMB_PX, height), interpolation=cv2.INTER_AREA), np.uint8)
        plain = small.copy()
        draw_outline(small, list(read_masks(run.path("mask.mp4")))[index], (0, 255, 0), scale=THUMB_PX / frame.shape[1])
        x = LEFT + column * STEP

        places = [seen[top + up - height : top + up, x : x + THUMB_PX].astype(int) for up in (-1, 0, 1, 2)]
        shown = min(places, key=lambda place, wanted=small: float(np.abs(place - wanted).mean()))  # type: ignore[misc]
        assert np.abs(shown - small).mean() < 3
        outline = (small != plain).any(-1)
        green = [(each[outline].astype(int) @ [-1, 2, -1]).mean() for each in (shown, plain)]
        assert outline.sum() > 100 and green[0] > 300 > green[1] + 200, "it has the outline"
    tiles = [bands(seen, column, TILE) for column in (0, 1)]
    assert tiles[0] == tiles[1] and len(tiles[0]) == 1 and tiles[0][0][0] > last
    dark = [
        int((seen[tiles[0][0][0] :, LEFT + c * STEP : LEFT + c * STEP + THUMB_PX].min(-1) < 150).sum()) for c in (0, 1)
    ]
    assert min(dark) > 30 and dark[0] != dark[1], "one says: not yet, the other: the job failed"


@pytest.mark.parametrize("how", ["gone", "damaged", "too short", "a link", "empty", "no frame known"])
def test_a_clip_that_cannot_be_read_is_a_tile_that_says_so(run: Run, tmp_path: Path, how: str) -> None:
    video = run.path("reskins/drone/output.mp4")
    frame: int | None = 3
    if how == "gone":
        video.unlink()
    elif how == "damaged":
        video.write_bytes(b"x" * 5000)
    elif how == "too short":
        frame = 500
    elif how == "a link":
        video.symlink_to(video.rename(tmp_path / "elsewhere.mp4"))
    elif how == "empty":
        video.write_bytes(b"")
    else:
        frame = None
    assert drawn(tmp_path, document([cell_of(run) | {"frame": frame}])) == 0
    seen = picture(tmp_path)
    assert len(bands(seen, 0, TILE)) == len(bands(seen, 0, PASSED)) == 1, "a tile, and the verdict under it"


@pytest.mark.parametrize("how", ["gone", "damaged", "another size", "a link", "too short"])
def test_without_the_old_mask_the_frame_is_shown_without_an_outline(run: Run, tmp_path: Path, how: str) -> None:
    mask = run.path("mask.mp4")
    moved = mask.rename(tmp_path / "mask.mp4")
    if how == "a link":
        mask.symlink_to(moved)
    elif how == "damaged":
        mask.write_bytes(b"x" * 5000)
    elif how != "gone":
        frames, width = (run.info.frames, 64) if how == "another size" else (2, run.info.width)
        with MaskSequenceWriter(mask, tmp_path / "png", run.info.fps, width, run.info.height) as writer:
            for _ in range(frames):
                writer.write(np.ones((run.info.height, width), bool))
    video = run.path("reskins/drone/output.mp4")
    (frame,) = read_frames(video, 3, 4)
    assert (sheet._thumbnail(video, 3) == cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)).all()
    assert drawn(tmp_path, document([cell_of(run)])) == 0
    assert len(bands(picture(tmp_path), 0, PASSED)) == 1 and not bands(picture(tmp_path), 0, TILE)


def test_a_sweep_that_is_too_large_for_a_picture_goes_on_in_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "MOST_CLIPS", 2)
    monkeypatch.setattr(contact, "MOST_PROMPTS", 3)

    def names() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("*.jpg"))

    drawn(tmp_path, document(*[[None] * 4] * 5))
    assert names() == [
        "contact-2.jpg",
        "contact-3.jpg",
        "contact-4.jpg",
        "contact-5.jpg",
        "contact-6.jpg",
        "contact.jpg",
    ]
    sizes = [picture(tmp_path, name).shape[:2] for name in ("contact.jpg", "contact-2.jpg", "contact-5.jpg")]
    assert sizes[0][1] == LEFT + 3 * STEP - 14 + 18 and sizes[1][1] == 640 and sizes[2][0] < sizes[0][0]
    drawn(tmp_path, document(*[[None] * 4] * 2))
    assert names() == ["contact-2.jpg", "contact.jpg"], "what is of a larger one goes"


def test_only_what_shows_something_else_is_drawn_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "MOST_CLIPS", 1)
    drawings: list[int] = []
    real = sheet.draw_page
    monkeypatch.setattr(sheet, "draw_page", lambda page: drawings.append(page.clips[0][0]) or real(page))

    def again(found: dict[str, Any]) -> list[int]:
        drawings.clear()
        drawn(tmp_path, found)
        listed = hashlib.sha256((tmp_path / "contact.json").read_bytes()).hexdigest()
        assert f"list {listed}".encode() in (tmp_path / "contact.jpg").read_bytes()[:4096]
        return [*drawings]

    first = document([cell_of(run)], [None])
    assert again(first) == [2, 1], "the one that speaks for all comes last"
    before = picture(tmp_path)
    assert again(first) == []
    assert again(first | {"cells": [[cell_of(run)], [cell_of(run)]]}) == [2]
    assert (picture(tmp_path) == before).all(), "only its comment is another"
    judged_again = cell_of(run) | {"result": [1, 3]}
    assert again(first | {"cells": [[judged_again], [cell_of(run)]]}) == [1]
    (tmp_path / "contact-2.jpg").write_bytes(b"x")
    assert again(first | {"cells": [[judged_again], [cell_of(run)]]}) == [2]


HOSTILE = [
    "",
    "word " * 400,
    "x" * 1990,
    "侍 доска 🛹 👩\u200d🎤",
    "a\u202eb\u0301",
    "$x^2$ \\frac",
    "<b>&amp;",
    " ",
    "עברית",
]


def test_any_text_is_drawn_within_its_place(run: Run, tmp_path: Path) -> None:
    cells = [cell_of(run, seed=2**64, failing=10**9) for _ in HOSTILE]
    found = document(cells, prompts=HOSTILE)
    found["clips"], found["name"] = ["a_very-long_name" * 15], "n" * 300
    assert drawn(tmp_path, found) == 0
    seen = picture(tmp_path)
    top = bands(seen, 0, PASSED)[0][0]
    high = top - 240 - 4 * 18  # four lines over a frame
    gaps = [seen[high:, LEFT + column * STEP - 10 : LEFT + column * STEP - 2] for column in range(1, len(HOSTILE))]
    assert all(each.min() > 225 for each in gaps), "between two columns there is nothing"
    assert seen[top:, :LEFT].min() > 225, "the clip's name ends where its frame does"


def test_a_pen_parts_and_cuts_what_is_too_long() -> None:
    with only_packaged():
        pen = sheet._Pen(9)
        assert pen.wrapped("one two", 1000, 1) == ["one two"] and pen.wrapped("", 10, 1) == [""]
        lines = pen.wrapped("cyberpunk drone, samurai with a sword and a very long coat", 120, 3)
        assert len(lines) == 3 and lines[0] == "cyberpunk drone," and lines[-1].endswith("…")
        assert pen.wrapped("long_name-of_a_run", 60, 9) == ["long_", "name-of_", "a_run"]
        for width in (30, 75, 200):
            for text in HOSTILE:
                lines = pen.wrapped(text, width, 4)
                assert len(lines) <= 4 and all(pen.width(line) <= width for line in lines)
        assert pen._drawable("侍a\u202e🛹é") == "□a□é"


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        {"schema": 2},
        document([None]) | {"clips": []},
        document([None]) | {"prompts": ["a", "b"]},
        document([None]) | {"clips": ["a", "b"]},
        document([{"seed": 1, "verdict": "good"}]),
        document([{"seed": -1, "verdict": "pass"}]),
        document([{"seed": 1, "verdict": "pass", "video": "output.mp4"}]),
        document([{"seed": 1, "verdict": "pass", "frame": 1.5}]),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(InputError, match=r"contact\.json cannot be used: .*; make the sweep's table again\."):
        drawn(tmp_path, wrong)
    assert InputError.exit_code == 2 and not (tmp_path / "contact.jpg").exists()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "contact.jpg").mkdir()
    with pytest.raises(StorageError, match=r"contact\.jpg"):
        drawn(tmp_path, document([None]))


def test_only_the_frame_that_is_shown_is_decoded_whatever_the_clips_length(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int | None]] = []
    real = sheet.read_frames
    monkeypatch.setattr(
        sheet, "read_frames", lambda path, start, stop: asked.append((start, stop)) or real(path, start, stop)
    )
    drawn(tmp_path, document([cell_of(run, 11), cell_of(run, 0)]))
    assert asked == [(11, 12), (0, 1)]


def test_a_portrait_clip_is_no_higher_than_a_frame_may_be(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tall = np.zeros((900, 300, 3), np.uint8)
    monkeypatch.setattr(sheet, "read_frames", lambda *_: iter([tall]))
    assert sheet._thumbnail(run.path("reskins/drone/output.mp4"), 0).shape == (THUMB_PX, 107, 3)
