"""No JSON that lies in a run folder ends in anything but a result or one of the house's errors, whatever is in it.

Every file that a stage reads back is taken whole, changed in one place or several (a key dropped, a value of another
kind, numbers without bounds, deep nesting, a text that is cut off), and read by all of its true readers.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from evaluator.cli import command as evaluator_command
from evaluator.figures import compare_skeletons
from evaluator.gate import FrameScore
from evaluator.inputs import check_run
from evaluator.report.result import Result
from evaluator.report.texts import junit_xml, read_json, summary_md, to_csv, to_json
from evaluator.retrack import choose_setup, output_crf
from evaluator.trust import Trust, trust_of
from handoff import ingest as clips
from handoff.command import FAULT, main
from handoff.detections.samples import Detection, DetectionWriter, Header, Sample
from handoff.errors import PreserverError
from handoff.files import sha256_path
from handoff.places import Box, Detected, Place, Prompt, check_places, read_prompts, write_prompt
from handoff.poses import N_KEYPOINTS, Person, PoseWriter, check_poses, read_poses
from handoff.run import Run, StageFolder, describe_output, run_stage
from handoff.video import VideoWriter
from posegen.choice import as_another
from posegen.draw import draw_skeletons
from posegen.stage import find
from reskin.cli import command as reskin_command
from reskin.nouns import old_object
from runner import evaluate, runs
from tests.helpers import many, moving_square, write_clip
from tests.product.oddities import ODD, changed
from tracker.cli import command as tracker_command
from tracker.stage import skater_places
from tracker.witness.body import body_mask

FRAMES, WIDTH, HEIGHT = 6, 160, 120
FILES = (
    "run.json",
    "reskins/drone/run.json",
    "prompts.json",
    "pose.json",
    "detections.json",
    "reskins/drone/output.json",
    "reskins/drone/report/iou.json",
)
QUICK, ALL = 40, many(1430)
"""Examples a file: in make test, and in all of them, 10,000 together."""


def stage_of(folder: StageFolder, *outputs: Path, **more: Any) -> dict[str, Any]:
    inputs = {"source.mp4": sha256_path(folder.run.source)}
    made = {"key": "0" * 64, "params": {}, "tools": {}, "inputs": inputs, "seconds": 1.5, "notes": {}} | more
    return made | {"outputs": [describe_output(folder, path) for path in outputs]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it that is read back."""
    folder = tmp_path_factory.mktemp("whole")
    run = clips.ingest(write_clip(folder / "clip.mp4", moving_square(FRAMES)), folder / "run")
    info = run.info
    with VideoWriter(run.path("mask.mp4"), info.fps, WIDTH, HEIGHT, mode="mask") as writer:
        for frame in moving_square(FRAMES):
            writer.write((frame[..., 0] > 128) * frame.dtype.type(255))
    box = Box(20, 40, 52, 72)
    points, scores = np.full((N_KEYPOINTS, 2), 60, np.float32), np.full(N_KEYPOINTS, 0.9, np.float32)
    points += np.arange(N_KEYPOINTS, dtype=np.float32)[:, None] / 3
    with PoseWriter(run.path("pose.json"), info, {"model": {"name": "test"}}) as poses:
        for index in range(FRAMES):
            poses.write([Person(box, points, scores, points)] if index != 2 else [])
    header = Header("yolox-nano", "0" * 64, 0.1, 1, WIDTH, HEIGHT, f"{info.fps}/1", FRAMES)
    with DetectionWriter(run.path("detections.json"), header) as detections:
        for index in range(FRAMES):
            seen = [Detection(36, 0.8, box), Detection(0, 0.9, Box(10, 10, 60, 75), bytes(range(96)))]
            detections.write(Sample(index, seen))
    with run.lock():
        detected = Detected("skateboard", 0.8, "yolox-nano")
        write_prompt(run, "object", Prompt(box, 0, "detector", (), (Place(3, box),), detected))
        write_prompt(run, "skater", Prompt(box, 1, "pose"))
    spot = {"box": [20, 40, 52, 72], "frame": 0}
    doubts = {"ranges": {"tracked": [[0, 3]], "suspicious:area-jump": [[4, 5]], "absent": []}, "scores": [0.5] * FRAMES}
    run.manifest["stages"] |= {
        "detect": stage_of(run, run.path("detections.json"), params={"every": 1}, tools={"detector": "yolox-nano"}),
        "posegen": stage_of(
            run,
            run.path("pose.json"),
            params={"backend": "embedded", "smoothing": {"method": "savgol"}, "boxes": "0a", "object": "skateboard"},
            tools={"name": "MediaPipe Holistic"},
            notes={"frames": FRAMES, "frames_with_person": 5, "skater": {"frame": 1, "box": [20, 40, 52, 72]}},
        ),
        "tracker": stage_of(
            run,
            run.path("mask.mp4"),
            params={"backend": "embedded", "keep": "all", "fill_holes": 0, "corrections": [spot | {"frame": 4}]} | spot,
            notes={
                "cuts": [3],
                "skater": [spot | {"points": [[30, 50, 1]]}],
                "status": doubts,
                "verify": [{"frames": 5, "mean": 0.9, "doubtful": [4], "shot": [0, 5], "ious": [0.9, None]}],
            },
        ),
    }
    run.save()
    reskin = run.reskin("drone")
    (reskin.dir / "report").mkdir(parents=True)
    shutil.copy(run.source, reskin.dir / "output.mp4")
    record = {"schema": 1, "prompt": {"object": "drone", "skater": None}, "seed": 2**64 - 1, "encoder": {"crf": 12}}
    (reskin.dir / "output.json").write_text(json.dumps(record))
    result = Result(
        [FrameScore(i, 0.95, 0.9, True, 100, 101, psnr_db=31.5, floor_iou=0.9) for i in range(FRAMES)],
        *(0.9, FRAMES, {"original": "mask.mp4", "generated": "output.mp4", "other_tracker": None}),
        Trust(True, {"area-jump": [[4, 5]]}, [], {"frames": 5, "mean": 0.9, "doubtful": [4]}),
    )
    (reskin.dir / "report" / "iou.json").write_text(to_json(result))
    reskin.manifest["stages"] = {
        name: stage_of(reskin, reskin.dir / path, inputs={"mask.mp4": "0" * 64})
        for name, path in (("reskin", "output.mp4"), ("evaluator", "report/iou.json"))
    }
    reskin.save()
    return run.dir


class _Leave(Exception):
    pass


def ask_stage(folder: StageFolder, name: str) -> None:
    """Ask whether a stage's work is done, as every command does, and leave it."""
    with contextlib.suppress(_Leave), run_stage(folder, name, params={}, inputs=[], tools={}) as stage:
        assert isinstance(stage.notes, dict)
        raise _Leave


def read_manifest(folder: Path) -> None:
    runs.stages_of(folder)
    runs.run_of(folder / "mask.mp4")
    evaluate._known(folder)
    with contextlib.suppress(PreserverError):
        as_another(folder)
    with contextlib.suppress(PreserverError):
        clips._existing(folder / "source.mp4", "0" * 64, folder, False)
    run = Run.open(folder)
    mask = folder / "mask.mp4"
    with contextlib.suppress(PreserverError):
        check_run(run, mask)
    with contextlib.suppress(PreserverError):
        trust_of(run, mask, FRAMES).lines()
    with contextlib.suppress(PreserverError):
        setup = choose_setup(run, mask, run.info, None, None)
        json.dumps([setup.lines(), setup.as_json()])
    ask_stage(run, "tracker")
    ask_stage(run.reskin("drone"), "evaluator")
    with run.lock():
        run.save()


def read_reskin(folder: Path) -> None:
    runs.stages_of(folder / "reskins" / "drone")
    runs.run_of(folder / "reskins" / "drone" / "output.mp4")
    evaluate._known(folder / "reskins" / "drone")
    ask_stage(Run.open(folder).reskin("drone"), "evaluator")


def read_all_prompts(folder: Path) -> None:
    run = Run.open(folder)
    for prompt in read_prompts(run).values():
        json.dumps(prompt.as_json())
        with contextlib.suppress(PreserverError):
            check_places(prompt.places, run.info)
    assert isinstance(old_object(run, None, None), str | None)
    with run.lock():
        write_prompt(run, "skater", Prompt(Box(1, 2, 30, 40), 1, "pose"))
    skater_places(run, [range(FRAMES)])


def read_all_poses(folder: Path) -> None:
    run = Run.open(folder)
    with contextlib.suppress(PreserverError):
        for people in read_poses(folder / "pose.json"):
            body_mask(people, HEIGHT, WIDTH)
            compare_skeletons(people, people)
            draw_skeletons(people, WIDTH, HEIGHT)
    with contextlib.suppress(PreserverError):
        skater_places(run, [range(3), range(3, FRAMES)])
    check_poses(folder / "pose.json", run.info)


def read_all_detections(folder: Path) -> None:
    run = Run.open(folder)
    with contextlib.suppress(PreserverError):
        find(run, folder / "detections.json", "skateboard", by_hand=Place(2, Box(20, 40, 52, 72)))
    assert find(run, folder / "detections.json", "skateboard").summary


def read_report(folder: Path) -> None:
    result = read_json(folder / "reskins" / "drone" / "report" / "iou.json")
    for text in (to_json, to_csv, junit_xml, summary_md):
        assert text(result)
    assert len([*result.lines(), *(score.line() for score in result.scores)]) >= len(result.scores)


READERS: dict[str, Callable[[Path], object]] = {
    "run.json": read_manifest,
    "reskins/drone/run.json": read_reskin,
    "prompts.json": read_all_prompts,
    "pose.json": read_all_poses,
    "detections.json": read_all_detections,
    "reskins/drone/output.json": lambda folder: output_crf(folder / "reskins" / "drone" / "output.mp4"),
    "reskins/drone/report/iou.json": read_report,
}


def nothing_else_comes(whole: Path, file: str, data: bytes) -> None:
    before = {each: (whole / each).read_bytes() for each in FILES}
    (whole / file).write_bytes(data)
    try:
        with contextlib.suppress(PreserverError):
            READERS[file](whole)
    finally:
        for each, content in before.items():
            (whole / each).write_bytes(content)


@pytest.mark.parametrize("file", FILES)
def test_what_was_not_changed_is_read(whole: Path, file: str) -> None:
    READERS[file](whole)
    setup = choose_setup(Run.open(whole), whole / "mask.mp4", Run.open(whole).info, None, None)
    assert [shot.start for shot in setup.shots] == [0, 3] and [place.frame for place in setup.places] == [0, 4]
    assert trust_of(Run.open(whole), whole / "mask.mp4", FRAMES).doubtful == [4, 5]


def fuzz(whole: Path, file: str, examples: int) -> None:
    document = json.loads((whole / file).read_text())

    @settings(max_examples=examples, database=None)
    @given(changed(document))
    def one(data: bytes) -> None:
        nothing_else_comes(whole, file, data)

    one()


@pytest.mark.parametrize("file", FILES)
def test_odd_json_ends_in_a_result_or_a_sentence(whole: Path, file: str) -> None:
    fuzz(whole, file, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_many_odd_files(whole: Path, file: str) -> None:
    fuzz(whole, file, ALL)


def put(document: Any, place: str, value: Any) -> Any:
    """Set what stands at a place such as "stages/tracker/outputs/0/path"; drop it where the value is DROP."""
    *way, last = (int(each) if each.isdigit() else each for each in place.split("/"))
    at = document
    for each in way:
        at = at[each]
    if value is DROP:
        del at[last]
    else:
        at[last] = value
    return document


DROP = object()
BAD_MANIFESTS = [
    ("schema", DROP, "has no 'schema'"),
    ("schema", "2", "schema is '2', and must be a whole number"),
    ("kind", "clip", "kind is 'clip', and must be 'run' or 'reskin'"),
    ("stages", DROP, "has no 'stages'"),
    ("stages", [], "stages is a list of 0, and must be an object"),
    ("stages/../x", {"outputs": []}, "stages has the key '../x', which is not a stage's name"),
    ("stages/tracker", None, "stages.tracker is null, and must be an object"),
    ("stages/tracker/outputs", DROP, "stages.tracker has no 'outputs'"),
    (
        "stages/tracker/outputs/0/path",
        "../../x",
        "stages.tracker.outputs[0].path is '../../x', and must be a path without '..'",
    ),
    ("stages/tracker/outputs/0/path", "/etc/passwd", "stages.tracker.outputs[0].path is '/etc/passwd'"),
    ("stages/tracker/outputs/0/path", "a\0b", "stages.tracker.outputs[0].path is 'a\\x00b'"),
    ("stages/ingest/outputs/0/sha256", 12, "stages.ingest.outputs[0].sha256 is 12, and must be a SHA-256"),
    ("stages/tracker/notes", [], "stages.tracker.notes is a list of 0"),
    ("stages/tracker/params", None, "stages.tracker.params is null"),
    ("stages/tracker/params/box", [1, 2], "stages.tracker.params.box is a list of 2, and must be a list of 4"),
    ("stages/tracker/params/backend", "rm", "stages.tracker.params.backend is 'rm', and must be 'auto' or 'embedded'"),
    ("stages/tracker/notes/cuts", [0.5], "stages.tracker.notes.cuts[0] is 0.5, and must be a whole number from 1 to 5"),
    ("stages/tracker/notes/cuts", [4, 3], "stages.tracker.notes.cuts has cuts that are not in their order"),
    ("stages/tracker/notes/status/ranges/absent", [[0, 10**9]], "ranges.absent[0][1] is 1000000000"),
    ("source", DROP, "has no 'source'"),
    ("source/fps", DROP, "source has no 'fps'"),
    ("source/fps", "1e99999999/1", "source.fps is '1e99999999/1', and must be a rate such as 30000/1001"),
    ("source/width", "160", "source.width is '160', and must be a whole number"),
    ("source/width", 1e9, "source.width is 1000000000.0"),
    ("source/frames", -6, "source.frames is -6"),
    ("source/frames", float("nan"), "source.frames is NaN, which is no finite number"),
]


@pytest.mark.parametrize(("place", "value", "message"), BAD_MANIFESTS)
def test_a_run_json_that_cannot_be_is_refused_with_its_place(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str, value: Any, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    changed_document = json.loads((whole / "run.json").read_text())
    if place == "stages/../x":
        changed_document["stages"]["../x"] = value
    else:
        put(changed_document, place, value)
    (folder / "run.json").write_text(json.dumps(changed_document))
    output = folder / "reskins" / "drone" / "output.mp4"
    with pytest.raises(SystemExit) as ended:
        main(evaluator_command, ["-original", str(folder / "mask.mp4"), "-generated", str(output), "--check"])
    said = capfd.readouterr().err.strip()
    assert ended.value.code == 2 and message in said and "\n" not in said, said
    assert said.startswith(f"error: {folder / 'run.json'} cannot be used: "), said


@pytest.mark.parametrize("seed", range(36))
def test_a_command_on_an_odd_run_folder_never_ends_in_a_traceback(whole: Path, tmp_path: Path, seed: int) -> None:
    chance, folder = random.Random(seed), tmp_path / "run"
    shutil.copytree(whole, folder)
    for file in chance.sample(FILES, 2):
        document = {"": json.loads((folder / file).read_text())}
        at: Any = document
        key: Any = ""
        while isinstance(at[key], dict | list) and at[key] and chance.random() < 0.8:
            at = at[key]
            key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        at[key] = chance.choice(ODD)
        (folder / file).write_text(json.dumps(document[""]))
    mask, output = folder / "mask.mp4", folder / "reskins" / "drone" / "output.mp4"
    pose = shutil.copy(folder / "pose.json", tmp_path / "pose.json")  # the run's own is held to its record
    for command, line in (
        (evaluator_command, ["-original", mask, "-generated", output, "--check", "--pose", pose]),
        (
            reskin_command,
            ["--prompt", "drone", "--run", folder, "--workflow", "draft", "--check", "--pose", pose],
        ),
        (tracker_command, ["--run", folder, "--backend", "embedded", "--check"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(command, [str(each) for each in line])
        assert ended.value.code in (0, 2, 4) and ended.value.code != FAULT


def test_the_pose_of_another_clip_is_refused_by_every_stage_that_reads_one(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = json.loads((whole / "pose.json").read_text()) | {"width": 2 * WIDTH, "height": 2 * HEIGHT}
    (tmp_path / "pose.json").write_text(json.dumps(other))
    mask, output = whole / "mask.mp4", whole / "reskins" / "drone" / "output.mp4"
    evaluation, pose = ["-original", mask, "-generated", output, "--check"], tmp_path / "pose.json"
    for command, line in (
        (evaluator_command, [*evaluation, "--pose", pose]),
        (evaluator_command, [*evaluation, "--generated-pose", pose]),
        (reskin_command, ["--prompt", "drone", "--run", whole, "--workflow", "draft", "--check", "--pose", pose]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(command, [str(each) for each in line])
        assert ended.value.code == 2
        assert f"6 frames of 320x240 px at 25 fps, and this one has 6 of {WIDTH}x{HEIGHT} px" in capfd.readouterr().err
    (whole / "pose.json").rename(tmp_path / "own.json")
    shutil.copy(pose, whole / "pose.json")
    try:
        with pytest.raises(PreserverError, match="320x240 px"):
            skater_places(Run.open(whole), [range(FRAMES)])
    finally:
        (tmp_path / "own.json").replace(whole / "pose.json")
