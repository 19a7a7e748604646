"""The command's answers: where the object is and who the skater is, on real clips of coloured squares."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import click
import pytest

from handoff.detections.coco import CLASSES
from handoff.detections.samples import Detection, DetectionWriter, Header, Sample, read_detections_header, read_samples
from handoff.errors import InputError, MissingError, UsageError
from handoff.files import DigestError
from handoff.places import Box, Prompt, read_prompts, write_prompt
from handoff.run import Run
from handoff.video import ClipInfo
from posegen.choice import Where
from posegen.cli import command
from posegen.detect.object import choose_thing, outward
from posegen.stage import find
from tests.helpers import write_clip
from tests.posegen.helpers import scene, write_models

FRAMES = 24
INFO = ClipInfo(640, 360, Fraction(24), FRAMES)
BOARD = CLASSES.index("skateboard")
Things = Callable[[int], list[tuple[str, int, int]]]


def rides(frame: int) -> list[tuple[str, int, int]]:
    """A person and his board under him, going to the right."""
    return [("person", 40 + 3 * frame, 40), ("skateboard", 40 + 3 * frame, 85)]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in write_models(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "models"


@pytest.fixture
def look(tmp_path: Path, models: Path) -> Callable[..., Run]:
    """Run the command up to the prompt on a clip of the things that are there in each frame."""

    def run(things: Things | None, *options: str) -> Run:
        folder = tmp_path / "run"
        clip = []
        if things is not None:
            clip = ["-i", str(write_clip(tmp_path / "clip.mp4", (scene(things(frame)) for frame in range(FRAMES))))]
        command.main(["--run", str(folder), *clip, "--prompt-only", *options], standalone_mode=False)
        return Run.open(folder)

    return run


def found(run: Run, **options: object) -> list[Box | None]:
    return find(run, run.path("detections.json"), "skateboard", **options).skater.boxes  # type: ignore[arg-type]


def test_the_object_is_found_and_where_and_how_surely_is_written_down(
    look: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = look(rides)
    record = json.loads(run.path("prompts.json").read_text())["object"]
    assert (record["from"], record["class"], record["model"]) == ("detector", "skateboard", "yolox-nano")
    assert 0.25 < record["score"] <= 1 and {"box", "frame", "score"} == set(record["runners_up"][0])
    x1, y1, x2, y2 = record["box"]
    assert x1 < 40 + 3 * record["frame"] < x2 and y1 < 85 < y2
    assert f"skateboard at {x1},{y1},{x2},{y2} on frame {record['frame']}" in capsys.readouterr().out
    prompt = read_prompts(run)["object"]
    write_prompt(run, "object", prompt)
    assert json.loads(run.path("prompts.json").read_text())["object"] == record
    assert "class" not in prompt.places_as_json()


def test_detections_are_a_stage_of_their_own_done_once(
    look: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = look(rides, "--every", "4").manifest["stages"]["detect"]
    assert stage["notes"] == {"frames_looked_at": 7, "frames_with_person": 7}
    header = read_detections_header(look(None, "--every", "4").path("detections.json"))
    assert (header.every, header.frame_count, header.sha256) == (4, FRAMES, stage["tools"]["weights"])
    assert "detect: nothing has changed" in capsys.readouterr().out
    run = look(None, "--every", "4", "--object", "person")  # another object needs no new pass
    assert "detect: nothing has changed" in capsys.readouterr().out
    assert read_prompts(run)["object"].detected.name == "person"  # type: ignore[union-attr]
    assert [sample.frame for sample in read_samples(run.path("detections.json"))] == [0, 4, 8, 12, 16, 20, 23]


def test_an_object_that_is_not_there_is_refused_with_what_came_nearest(look: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match=r"no 'kite' was found .* nearest: 'skateboard' \d\.\d\d on frame \d+ at") as e:
        look(rides, "--object", "kite")
    assert e.value.exit_code == 2 and "--bbox x1,y1,x2,y2 --frame n" in str(e.value) and "make frame" in str(e.value)
    with pytest.raises(InputError, match="nothing like it was seen"):
        look(lambda frame: [], "--object", "kite", "--force")


def test_a_typo_is_refused_before_any_work(look: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="perhaps you meant 'skateboard'"):
        look(rides, "--object", "skate board")
    assert not (tmp_path / "run").exists()


def test_without_the_weights_the_two_ways_on_are_named(look: Callable[..., Run], models: Path) -> None:
    weights = models / "detect" / "yolox_nano.onnx"
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(DigestError):
        look(rides)
    weights.unlink()
    with pytest.raises(MissingError, match=r"make weights PROFILE=detect.*--bbox x1,y1,x2,y2 --frame n") as caught:
        look(rides)
    assert caught.value.exit_code == 3


def test_a_box_given_by_hand_stays_until_an_object_is_named(look: Callable[..., Run], models: Path) -> None:
    run = look(rides)
    for origin in ("flag", "drawn"):
        by_hand = Prompt(Box(1, 2, 30, 40), 3, origin)
        write_prompt(run, "object", by_hand)
        assert read_prompts(look(None))["object"] == by_hand
        assert read_prompts(look(None, "--every", "2"))["object"] == by_hand
    assert read_prompts(look(None, "--object", "skateboard"))["object"].origin == "detector"
    write_prompt(run, "object", by_hand)
    (models / "detect" / "yolox_nano.onnx").unlink()
    assert read_prompts(look(None))["object"] == by_hand  # and then no detector is needed


def test_a_clip_without_a_person_has_an_object_and_no_skater(look: Callable[..., Run]) -> None:
    run = look(lambda frame: rides(frame)[1:])
    assert read_prompts(run)["object"].detected is not None
    assert found(run) == [None] * FRAMES


def test_a_person_in_half_the_frames_has_a_box_in_those(look: Callable[..., Run]) -> None:
    boxes = found(look(lambda frame: rides(frame)[0 if frame < 12 else 1 :], "--every", "1"))
    assert [box is not None for box in boxes] == [True] * 12 + [False] * 12


def test_a_person_at_the_edge_has_a_box_that_ends_there(look: Callable[..., Run]) -> None:
    boxes = found(look(lambda frame: [("person", 4, 60), ("skateboard", 80, 100)]))
    assert all(box is not None and box.x1 == 0 and box.x2 < 40 for box in boxes)


def test_of_two_people_the_skater_is_who_has_the_board_or_is_named(look: Callable[..., Run]) -> None:
    run = look(lambda frame: [*rides(frame), ("person", 130, 30)])
    beside, named = found(run), found(run, where=Where(0, point=(130, 30)))
    assert all(box is not None and box.x1 < 40 + 3 * frame < box.x2 for frame, box in enumerate(beside[:16]))
    assert all(box is not None and box.x1 < 130 < box.x2 for box in named)
    by_hand = found(run, by_hand=Prompt(Box(115, 50, 145, 60), 0, "flag").places[0])
    assert by_hand == named


def test_a_person_on_a_frame_that_is_not_there_is_refused(look: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match=r"frame 24 is not in the clip: it has 24 frames, 0 to 23"):
        look(rides, "--person", "24:40,40")
    with pytest.raises((UsageError, click.UsageError), match="not frame:x,y"):
        look(rides, "--person", "here")


def test_detections_of_another_clip_are_refused(look: Callable[..., Run], tmp_path: Path) -> None:
    run = look(rides)
    path = tmp_path / "other.json"
    with DetectionWriter(path, Header("yolox-nano", "0", 0.1, 2, 320, 240, "24/1", 9)) as writer:
        writer.write(Sample(0, []))
    with pytest.raises(InputError, match="is of another clip"):
        find(run, path, "skateboard")
    for text in ("", "{}", '{"schema": 1, "frames": []}', "[1"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"other\.json"):
            read_detections_header(path)


def rated(*boards: tuple[int, float, Box], skater: Box | None = None) -> list[int]:
    """The frames of boards, the best beginning first."""
    samples = [Sample(frame, [Detection(BOARD, score, box)]) for frame, score, box in boards]
    return [each.frame for each in choose_thing(samples, BOARD, INFO, [skater] * FRAMES, 1)]


def test_the_surer_larger_whole_and_nearer_board_is_the_better_beginning() -> None:
    middle = Box(300, 200, 360, 220)
    assert rated((0, 0.5, middle), (12, 0.8, middle)) == [12, 0]
    assert rated((0, 0.8, Box(300, 200, 320, 207)), (12, 0.8, middle)) == [12, 0]
    assert rated((0, 0.9, Box(580, 200, 640, 220)), (12, 0.8, middle)) == [12, 0]
    skater = Box(310, 100, 350, 215)
    assert rated((0, 0.9, Box(40, 20, 100, 40)), (12, 0.6, middle), skater=skater) == [12, 0]
    assert rated((0, 0.2, middle)) == []


def test_a_board_that_keeps_its_shape_is_better_than_one_that_flies_past() -> None:
    still = [(frame, 0.7, Box(300, 200, 360, 220)) for frame in (2, 3, 4)]
    fast = [(frame, 0.7, Box(100 + 80 * frame, 100, 160 + 80 * frame, 120)) for frame in (1, 5)]
    spinning = [(frame, 0.7, Box(300, 100, 310 + 40 * (frame % 2), 150)) for frame in (20, 21, 22)]
    order = rated(*sorted([*still, *fast, *spinning]))
    assert order[0] == 3 and set(order[:3]) == {2, 3, 4}


def test_a_prompts_box_is_whole_pixels_with_a_margin_inside_the_frame() -> None:
    assert outward(Box(100.4, 50.5, 199.6, 80.2), INFO) == Box(97, 47, 203, 84)
    assert outward(Box(0, 0, 640, 360), INFO) == Box(0, 0, 640, 360)
