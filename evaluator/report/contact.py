"""Draw a sweep's contact sheet: python -m evaluator.report.contact LIST.json OUT.jpg. The sweep's table calls it.

The list says what is to be seen, a row a clip and a column a prompt (`_SHAPE`). What does not go into one picture goes
on in OUT-2.jpg, OUT-3.jpg and so on. A picture says in itself what it is of: one that is there is not drawn again, and
who wrote the list knows by OUT.jpg, which is written last, whether all are of it. evaluator/report/sheet.py draws.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from handoff.command import PATH, main
from handoff.errors import InputError
from handoff.files import atomic_file
from handoff.jsonfile import (
    LINE,
    Unfit,
    listing,
    number,
    one_of,
    or_null,
    parse_json,
    read_bytes,
    record,
    text,
    whole,
)
from handoff.links import open_plain

MOST_CLIPS, MOST_PROMPTS = 40, 12
"""Rows and columns of a picture."""
_LARGEST = 2**26
_ADVICE = "make the sweep's table again"
_CELL = record(
    {"seed": whole(0, 2**64), "verdict": one_of("pass", "FAIL", "failed", "not yet")},
    {
        "failing": or_null(whole(0)),
        "worst_iou": or_null(number(0, 1)),
        "frame": or_null(whole(0)),
        "video": or_null(text(r"/[^\x00]*", "an absolute path", 4096)),
    },
)
_SHAPE = record(
    {
        "schema": one_of(1),
        "name": LINE,
        "clips": listing(LINE, 1),
        "prompts": listing(LINE, 1),
        "cells": listing(listing(or_null(_CELL)), 1),
    }
)
_MARK = re.compile(rb"sweep part ([0-9a-f]{64}) list ([0-9a-f]{64})")
_HEAD = 4096  # bytes in which a mark stands


@dataclass(frozen=True)
class Page:
    """One picture. clips, prompts: as (place in the sweep, from 1, name); cells: a row a clip, as the list has them.

    all_clips, all_prompts: how many the sweep has.
    """

    name: str
    clips: list[tuple[int, str]]
    prompts: list[tuple[int, str]]
    cells: list[list[dict[str, Any] | None]]
    all_clips: int
    all_prompts: int

    @property
    def digest(self) -> str:
        """A SHA-256 of all that it shows."""
        return hashlib.sha256(json.dumps(vars(self)).encode()).hexdigest()


@click.command("evaluator.report.contact")
@click.argument("listed", metavar="LIST.json", type=PATH)
@click.argument("picture", metavar="OUT.jpg", type=PATH)
def command(listed: Path, picture: Path) -> int:
    """Draw the sheet that LIST.json describes as OUT.jpg: of each clip and prompt the best take's worst frame."""
    document = read_bytes(listed, advice=_ADVICE, largest=_LARGEST)
    found = parse_json(document, str(listed), _fits, advice=_ADVICE, largest=_LARGEST, most=_LARGEST // 16)
    whole_list, pages = hashlib.sha256(document).hexdigest(), list(_pages(found))
    for place, page in reversed([*enumerate(pages)]):
        path, drawn = _numbered(picture, place), _mark_of(_numbered(picture, place))
        if drawn[0] != page.digest:
            _draw(page, path, whole_list)
        elif place == 0 and drawn[1] != whole_list:
            _write(path, path.read_bytes(), page.digest, whole_list)
    place = len(pages)
    while (left := _numbered(picture, place)).is_file():
        left.unlink()
        place += 1
    return 0


def _fits(found: Any, place: str) -> None:
    _SHAPE(found, place)
    wide, high = len(found["prompts"]), len(found["clips"])
    if len(found["cells"]) != high or any(len(each) != wide for each in found["cells"]):
        raise Unfit("cells", f"is not {high} lists of {wide}")


def _pages(found: dict[str, Any]) -> Iterator[Page]:
    clips, prompts = ([*enumerate(found[name], 1)] for name in ("clips", "prompts"))
    for top in range(0, len(clips), MOST_CLIPS):
        for left in range(0, len(prompts), MOST_PROMPTS):
            rows, columns = clips[top : top + MOST_CLIPS], prompts[left : left + MOST_PROMPTS]
            cells = [each[left : left + MOST_PROMPTS] for each in found["cells"][top : top + MOST_CLIPS]]
            yield Page(found["name"], rows, columns, cells, len(clips), len(prompts))


def _numbered(picture: Path, place: int) -> Path:
    return picture.with_stem(f"{picture.stem}-{place + 1}") if place else picture


def _draw(page: Page, path: Path, whole_list: str) -> None:
    from evaluator.report.sheet import draw_page  # here, not above: it brings OpenCV

    _write(path, draw_page(page), page.digest, whole_list)


def _mark_of(path: Path) -> tuple[str, str]:
    """Return what a picture is of: the digests of its page and of the list; "" where it does not say so."""
    with contextlib.suppress(OSError, InputError), open_plain(path) as file:
        found = _MARK.search(file.read(_HEAD))
        if found:
            return found[1].decode(), found[2].decode()
    return "", ""


def _write(path: Path, jpeg: bytes, page: str, whole_list: str) -> None:
    """Write a JPEG with its mark as a comment; one that has a mark gets this in its place."""
    mark = f"sweep part {page} list {whole_list}".encode()
    old = _MARK.search(jpeg, 0, _HEAD)
    if old:
        data = jpeg[: old.start()] + mark + jpeg[old.end() :]
    else:
        behind = 4 + int.from_bytes(jpeg[4:6], "big")  # the first segment, which says that it is JFIF, stays first
        data = jpeg[:behind] + b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark + jpeg[behind:]
    with atomic_file(path) as partial:
        partial.write_bytes(data)


if __name__ == "__main__":
    main(command)
