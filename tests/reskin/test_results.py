"""A window's pictures come back as they are on the server, whether as PNG files or as one lossless video."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.errors import InputError
from handoff.masks import frame_name, write_png
from handoff.video import Frame
from reskin.comfy.client import ServerFile
from reskin.comfy.errors import BadResult
from reskin.comfy.results import Fetch, find_output, keep_pictures
from reskin.workflow import Graph, load_workflow
from tests.reskin.helpers import write_ffv1

SIZE = (48, 32)
PNG, VIDEO = ("output", "SaveImage"), ("output", "VHS_VideoCombine")


def noise(count: int, size: tuple[int, int] = SIZE) -> list[Frame]:
    return list(np.random.default_rng(7).integers(0, 256, (count, size[1], size[0], 3), np.uint8))


def server_with(folder: Path) -> Fetch:
    """What `fetch` does, from a folder in place of a server."""

    def fetch(file: ServerFile, target: Path, max_bytes: int) -> None:
        assert (folder / file.filename).stat().st_size <= max_bytes
        shutil.copy(folder / file.filename, target)

    return fetch


def on_the_server(names: list[str]) -> list[ServerFile]:
    return [ServerFile(name, "preserver", "output") for name in names]


def kept(folder: Path) -> list[Frame]:
    """All that was kept, in order; a file that is no kept picture would not be read."""
    assert all(path.suffix == ".png" for path in folder.iterdir())
    paths = [folder / frame_name(index) for index in range(len(list(folder.iterdir())))]
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "server"
    folder.mkdir()
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def put(server: Path, output: tuple[str, str], pictures: list[Frame]) -> list[ServerFile]:
    if output == VIDEO:
        write_ffv1(server / "a.mkv", pictures)
        return on_the_server(["a.mkv"])
    names = [f"a_{index}.png" for index in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        write_png(server / name, picture)
    return on_the_server(names)


@pytest.mark.parametrize("output", [PNG, VIDEO])
def test_the_wanted_pictures_come_back_pixel_for_pixel(server: Path, place: Path, output: tuple[str, str]) -> None:
    pictures = noise(9)
    files = put(server, output, pictures)
    given = keep_pictures(server_with(server), output, files, 9, [0, 1, 2, 5, 6], SIZE, place)
    np.testing.assert_array_equal(list(given), [pictures[index] for index in (0, 1, 2, 5, 6)])
    np.testing.assert_array_equal(kept(place), [pictures[index] for index in (0, 1, 2, 5, 6)])


@pytest.mark.parametrize("output", [PNG, VIDEO])
@pytest.mark.parametrize("count", [8, 10])
def test_another_number_of_pictures_is_no_result(
    server: Path, place: Path, output: tuple[str, str], count: int
) -> None:
    files = put(server, output, noise(count))
    with pytest.raises(BadResult, match=f"gave {count} frames for a window of 9"):
        list(keep_pictures(server_with(server), output, files, 9, range(9), SIZE, place))


@pytest.mark.parametrize("output", [PNG, VIDEO])
def test_another_size_is_no_result(server: Path, place: Path, output: tuple[str, str]) -> None:
    files = put(server, output, noise(2, (48, 30)))
    with pytest.raises(BadResult, match="gave 48x30 px for a frame of 48x32 px"):
        list(keep_pictures(server_with(server), output, files, 2, range(2), SIZE, place))


def test_one_picture_for_several_frames_is_no_result(server: Path, place: Path) -> None:
    first, second, _ = put(server, PNG, noise(3))
    with pytest.raises(BadResult, match="the server names 2 files for 3 frames; nothing of it was kept"):
        list(keep_pictures(server_with(server), PNG, [first, second, first], 3, range(3), SIZE, place))
    assert list(place.iterdir()) == []


def test_what_is_no_png_is_no_result(server: Path, place: Path) -> None:
    (server / "a.png").write_bytes(b"no picture")
    with pytest.raises(BadResult, match="gave no PNG"):
        list(keep_pictures(server_with(server), PNG, on_the_server(["a.png"]), 1, [0], SIZE, place))


@pytest.mark.parametrize("damage", ["torn", "a byte changed"])
def test_a_picture_that_cannot_be_read_is_found_out_when_it_comes(server: Path, place: Path, damage: str) -> None:
    files = put(server, PNG, noise(3))
    data = bytearray((server / "a_1.png").read_bytes())
    data[len(data) // 2] ^= 1
    (server / "a_1.png").write_bytes(data if damage == "a byte changed" else data[: len(data) // 2])
    with pytest.raises(BadResult, match=r"gave a picture 'a_1\.png' that cannot be read; nothing of it was kept"):
        list(keep_pictures(server_with(server), PNG, files, 3, range(3), SIZE, place))


def test_the_pictures_of_a_video_are_on_the_disk_before_they_count_as_kept(
    server: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a PNG file is when it has been fetched."""
    synced: list[Path] = []
    monkeypatch.setattr("reskin.comfy.results.fsync", synced.append)
    list(keep_pictures(server_with(server), VIDEO, put(server, VIDEO, noise(3)), 3, range(3), SIZE, place))
    assert synced == [place / frame_name(index) for index in range(3)]


def test_a_video_that_breaks_off_is_no_result(server: Path, place: Path) -> None:
    files = put(server, VIDEO, noise(9))
    whole = (server / "a.mkv").read_bytes()
    (server / "a.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadResult, match=r"nothing of it was kept"):
        list(keep_pictures(server_with(server), VIDEO, files, 9, range(9), SIZE, place))


def test_two_videos_are_no_result(server: Path, place: Path) -> None:
    with pytest.raises(BadResult, match="gave 2 videos for a window, not one"):
        list(keep_pictures(server_with(server), VIDEO, on_the_server(["a.mkv", "b.mkv"]), 1, [0], SIZE, place))


@pytest.mark.parametrize(("name", "output"), [("wan_vace", PNG), ("wan_vace_vhs", VIDEO), ("draft", PNG)])
def test_the_output_of_a_template_is_found(name: str, output: tuple[str, str]) -> None:
    assert find_output(load_workflow(name).graph) == output


@pytest.mark.parametrize(("key", "value"), [("format", "video/h264-mp4"), ("pix_fmt", "yuv420p")])
def test_an_output_that_loses_something_is_refused(key: str, value: str) -> None:
    graph: Graph = load_workflow("wan_vace_vhs").graph
    output = next(node for node in graph.values() if node["class_type"] == "VHS_VideoCombine")
    output["inputs"][key] = value
    with pytest.raises(InputError, match=f"{value}.*must be video/ffv1-mkv with pix_fmt bgra"):
        find_output(graph)


def test_a_graph_without_an_output_is_refused() -> None:
    graph = load_workflow("draft").graph
    del graph["42"]
    with pytest.raises(InputError, match="no node titled 'output'; it needs one"):
        find_output(graph)
