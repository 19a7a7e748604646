"""What the server made, brought here: a window's pictures, or the files of any template.

A window's pictures are SaveImage's PNG files, or VideoHelperSuite's one lossless video.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from handoff.errors import InputError, printable
from handoff.files import atomic_dir, fsync
from handoff.masks import frame_name, read_png, write_png
from handoff.video import Frame, read_frames
from reskin.comfy.client import ServerFile
from reskin.comfy.errors import BadResult
from reskin.workflow import Graph, find_node, own_title

Fetch = Callable[[ServerFile, Path, int], None]
"""Brings a result to a path; the number is the most bytes that it may have."""

OUTPUT_TITLE = "output"
_VIDEO_CLASS = "VHS_VideoCombine"
_CLASSES = ("SaveImage", _VIDEO_CLASS)
_HEADERS = 2**16
"""Bytes that a picture may have beside its pixels."""
_PNG_HEADER = struct.Struct(">8s4s4sII")


def find_output(graph: Graph) -> tuple[str, str]:
    """Return title and class of the node that gives the pictures.

    Raises InputError when there is none, more than one, or one whose pictures are not lossless.
    """
    classes = {graph[node_id]["class_type"] for node_id in graph if own_title(graph, node_id) == OUTPUT_TITLE}
    output = (OUTPUT_TITLE, next((each for each in _CLASSES if each in classes), _CLASSES[0]))
    inputs = graph[find_node(graph, *output)]["inputs"]
    form = (inputs.get("format"), inputs.get("pix_fmt"))
    if output[1] == _VIDEO_CLASS and form != ("video/ffv1-mkv", "bgra"):
        raise InputError(
            f"the workflow's node '{OUTPUT_TITLE}' writes {printable(form[0])} with pix_fmt {printable(form[1])}; it "
            "must be video/ffv1-mkv with pix_fmt bgra, which loses nothing."
        )
    return output


def keep_pictures(
    fetch: Fetch,
    output: tuple[str, str],
    files: Sequence[ServerFile],
    total: int,
    wanted: Sequence[int],
    size: tuple[int, int],
    folder: Path,
) -> Iterator[Frame]:
    """Bring the pictures numbered `wanted`, of `total` that there must be, to `folder` as frame_00000.png and so on.

    Yields each as (H, W, 3) uint8 RGB when it is there: what cannot be read is found out now, not when it is used.
    output: from `find_output`. wanted: ascending. size: (width, height) px. Raises BadResult for another number or size
    of pictures or one that cannot be read, and what `fetch` raises.
    """
    if output[1] == _VIDEO_CLASS:
        yield from _keep_from_video(fetch, files, total, wanted, size, folder)
        return
    _check_count(len(files), total)
    if len(set(files)) < len(files):
        raise BadResult(f"the server names {len(set(files))} files for {len(files)} frames; nothing of it was kept.")
    for index, number in enumerate(wanted):
        path = folder / frame_name(index)
        fetch(files[number], path, _most_bytes(size))
        _check_size(png_size(path), size)  # before it is unpacked: a small file can be a large picture
        try:
            picture = read_png(path)
        except InputError as error:
            raise BadResult(
                f"the server gave a picture {files[number].shown} that cannot be read; nothing of it was kept."
            ) from error
        yield picture


def _keep_from_video(
    fetch: Fetch, files: Sequence[ServerFile], total: int, wanted: Sequence[int], size: tuple[int, int], folder: Path
) -> Iterator[Frame]:
    if len(files) != 1:
        raise BadResult(f"the server gave {len(files)} videos for a window, not one; nothing of it was kept.")
    path, count, numbers = folder / "pictures.mkv", 0, {number: index for index, number in enumerate(wanted)}
    fetch(files[0], path, total * _most_bytes(size))
    try:
        for count, picture in enumerate(read_frames(path), 1):
            _check_size((picture.shape[1], picture.shape[0]), size)
            if count - 1 in numbers:
                place = folder / frame_name(numbers[count - 1])
                write_png(place, picture)
                fsync(place)  # as a fetched one is
                yield picture
    except InputError as error:
        raise BadResult(f"the server's video cannot be read ({error}); nothing of it was kept.") from error
    _check_count(count, total)
    path.unlink()


_MOST_BYTES = 2**33
"""Of one file of a template that is not ours, whose size nobody knows."""


def keep_files(fetch: Fetch, results: Sequence[Sequence[ServerFile]], folder: Path, name: str) -> list[Path]:
    """Bring the files of each node that saves; return a path for each video, and one for each node's pictures.

    A video is `folder`/NAME.mp4, as it came, with the ending that it has on the server; pictures are the folder NAME of
    frame_00000.png and so on. Further ones are NAME-2 and so on. Raises BadResult for an ending that is none or a
    picture that is none, and what `fetch` raises.
    """
    kept: list[Path] = []
    for files in results:
        endings = [_ending(file) for file in files]
        pictures = set(endings) == {".png"}
        for index in range(1 if pictures else len(files)):
            path = folder / (name if not kept else f"{name}-{len(kept) + 1}")
            if pictures:
                with atomic_dir(path) as partial:
                    for number, file in enumerate(files):
                        fetch(file, partial / frame_name(number), _MOST_BYTES)
                        if png_size(partial / frame_name(number)) is None:
                            raise BadResult(f"the server gave {file.shown}, which is no PNG; nothing was kept.")
            else:
                path = path.with_name(path.name + endings[index])
                fetch(files[index], path, _MOST_BYTES)
            kept.append(path)
    return kept


def _ending(file: ServerFile) -> str:
    """Return the ending of the server's name for a file: nothing else of that name is used here."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", file.filename)
    if found is None:
        raise BadResult(f"the server gave a file {file.shown} without an ending; nothing was kept.")
    return found.group().lower()


def _most_bytes(size: tuple[int, int]) -> int:
    # noise, the worst case, is no larger than its pixels and a little more
    return 4 * size[0] * size[1] + _HEADERS


def png_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) in px of a PNG file by its header, None when it is none."""
    with path.open("rb") as file:
        head = file.read(_PNG_HEADER.size)
    if len(head) < _PNG_HEADER.size:
        return None
    magic, _, chunk, width, height = _PNG_HEADER.unpack(head)
    return (width, height) if magic == b"\x89PNG\r\n\x1a\n" and chunk == b"IHDR" else None


def _check_count(given: int, total: int) -> None:
    if given != total:
        raise BadResult(f"the server gave {given} frames for a window of {total}; nothing of it was kept.")


def _check_size(given: tuple[int, int] | None, size: tuple[int, int]) -> None:
    if given != size:
        what = "no PNG" if given is None else f"{given[0]}x{given[1]} px"
        raise BadResult(f"the server gave {what} for a frame of {size[0]}x{size[1]} px; nothing was kept.")
