"""python -m tracker with SAM 2.1: every option does what it says, and what is recorded is what was done."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import json

import pytest
import torch

from handoff.errors import InputError, MissingError, UsageError
from handoff.files import DigestError
from handoff.masks import Mask, read_masks
from handoff.places import Box, Place, Point, Prompt, read_prompts, write_prompt
from handoff.run import Run
from handoff.video import read_frames
from tests.tracker.helpers import invoke, iou, masks_of, stage_of
from tests.tracker.sam2.helpers import (
    BOX,
    BOXED,
    CLIP_FRAMES,
    OTHER,
    TINY,
    expected,
    upstream_logits,
    write_frame_folder,
    write_pose,
)
from tracker import SkateboardTracker
from tracker.cleanup import keep_largest
from tracker.sam2 import predictor as predictor_module
from tracker.sam2.predictor import Predictor
from tracker.selection import TrackerChoice, make_backend


def models(run: Run) -> Path:
    return run.dir.parent / "home" / "models"


def test_a_box_gives_the_masks_and_scores_of_sam_2_and_run_json_says_with_what(
    run: Run, predictor: Predictor, checkpoint: tuple[Path, str]
) -> None:
    said = invoke(run, *BOXED, *TINY).output
    assert "SAM 2.1 Hiera tiny on cpu" in said and checkpoint[1][:12] in said
    assert np.array_equal(masks_of(run), expected(predictor, run, [{"frame": 5, "box": BOX}])[0])
    stage = stage_of(run)
    chosen = {"backend": "sam2", "model": "tiny", "weights": checkpoint[1], "device": "cpu", "compiled": False}
    assert chosen.items() <= stage["params"].items()
    assert stage["tools"]["sam2"] == "1.1.0" and "SAM 2.1" in stage["tools"]["tracker"]
    scores, seen = stage["notes"]["status"]["scores"], masks_of(run).any(axis=(1, 2))
    assert len(scores) == CLIP_FRAMES and len(set(scores)) > CLIP_FRAMES // 2
    assert not any(visible and score <= 0 for visible, score in zip(seen, scores, strict=True))
    assert "nothing has changed" in invoke(run, *TINY).output


def test_the_largest_model_is_the_default_and_auto_takes_it_where_its_weights_are(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models(run) / "sam2.1_hiera_large.pt").write_bytes(b"large")  # the file that the tests' registry describes
    backend = make_backend("auto")
    assert (backend.name, backend.params["model"]) == ("sam2", "large")


def test_auto_without_weights_is_the_embedded_tracker_and_says_so_in_one_line(run: Run) -> None:
    said = invoke(run, *BOXED).output.splitlines()
    line = next(line for line in said if "sam2.1_hiera_large.pt" in line)
    assert "the embedded tracker does the work" in line and "make weights PROFILE=tracker-large" in line
    assert stage_of(run)["params"]["backend"] == "embedded"


@pytest.mark.parametrize(
    ("options", "file", "profile"),
    [
        (("--backend", "sam2"), "sam2.1_hiera_large.pt", "tracker-large"),
        (("--model", "small"), "sam2.1_hiera_small.pt", "tracker-small"),
        (("--model", "base_plus"), "sam2.1_hiera_base_plus.pt", "tracker-base-plus"),
        (("--compile",), "sam2.1_hiera_large.pt", "tracker-large"),
    ],
)
def test_sam_2_by_name_never_falls_back(run: Run, options: tuple[str, ...], file: str, profile: str) -> None:
    with pytest.raises(MissingError, match=rf"{file} .*make weights PROFILE={profile}") as refused:
        invoke(run, *BOXED, *options)
    assert refused.value.exit_code == 3
    assert not run.path("mask.mp4").exists() and not run.path("prompts.json").exists()


def test_weights_with_another_digest_are_refused_and_auto_does_not_hide_it(run: Run) -> None:
    (models(run) / "sam2.1_hiera_large.pt").write_bytes(b"rotten")
    with pytest.raises(DigestError):
        invoke(run, *BOXED)
    assert not run.path("mask.mp4").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_by_name_or_required_is_exit_code_3_where_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="--device cuda was asked for") as refused:
        invoke(run, *BOXED, "--model", "tiny", "--device", "cuda")
    assert refused.value.exit_code == 3
    monkeypatch.setenv("SKATE_GPU", "required")
    with pytest.raises(MissingError, match="GPU=on was asked for"):
        invoke(run, *BOXED, "--model", "tiny", "--device", "auto")
    monkeypatch.delenv("SKATE_GPU")
    invoke(run, *BOXED, "--model", "tiny", "--device", "auto")
    assert stage_of(run)["params"]["device"] == "cpu"


@pytest.mark.skipif(shutil.which("g++") is None, reason="this machine has no C++ compiler")
@pytest.mark.parametrize(("options", "compiled"), [((), False), (("--compile",), True)])
def test_compile_reaches_the_model(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], compiled: bool
) -> None:
    seen: list[object] = []

    def stop(*_: object, **chosen: object) -> None:
        seen.append(chosen["compiled"])
        raise MissingError("far enough")

    monkeypatch.setattr(predictor_module, "load_predictor", stop)
    with pytest.raises(MissingError, match="far enough"):
        invoke(run, *BOXED, *TINY, *options)
    assert seen == [compiled]


def test_points_prompt_on_any_frame_and_both_kinds_count(run: Run, predictor: Predictor) -> None:
    inside = {"frame": 9, "points": [(30.0, 35.0)], "labels": [1]}
    both = {"frame": 9, "points": [(30.0, 35.0), (80.5, 60.0)], "labels": [1, 0]}
    invoke(run, "--point", "30,35", "--frame", "9", *TINY)
    first = masks_of(run)
    assert np.array_equal(first, expected(predictor, run, [inside])[0])
    invoke(run, "--point", "30,35", "--point", "80.5,60,0", "--frame", "9", *TINY)
    assert np.array_equal(masks_of(run), expected(predictor, run, [both])[0])
    assert not np.array_equal(masks_of(run), first)
    assert read_prompts(run)["object"] == Prompt(None, 9, "flag", (Point(30, 35), Point(80.5, 60, 0)))


def test_a_box_and_points_go_together(run: Run, predictor: Predictor) -> None:
    invoke(run, *BOXED, "--point", "45,45,0", *TINY)
    with_point = [{"frame": 5, "box": BOX, "points": [(45.0, 45.0)], "labels": [0]}]
    assert np.array_equal(masks_of(run), expected(predictor, run, with_point)[0])


def test_points_that_only_say_where_the_object_is_not_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="add one that is on it"):
        invoke(run, "--point", "45,45,0", *TINY)


def test_a_correction_goes_into_the_same_state_before_and_after_the_prompt(run: Run, predictor: Predictor) -> None:
    invoke(run, *BOXED, *TINY)
    before = masks_of(run)
    corrections = ("--correct", f"10:{OTHER}", "--correct", f"2:{OTHER}")
    invoke(run, *BOXED, *corrections, *TINY)
    places = [{"frame": 5, "box": BOX}, {"frame": 10, "box": OTHER}, {"frame": 2, "box": OTHER}]
    assert np.array_equal(masks_of(run), expected(predictor, run, places)[0])
    assert not np.array_equal(masks_of(run)[10], before[10])
    assert read_prompts(run)["object"].corrections == (Place(10, OTHER), Place(2, OTHER))
    assert "nothing has changed" in invoke(run, *TINY).output  # prompts.json keeps them
    assert "nothing has changed" not in invoke(run, *BOXED, *TINY).output  # a new prompt has none
    assert np.array_equal(masks_of(run), before)


def test_a_correction_by_itself_adds_to_the_prompt_that_is_stored(run: Run) -> None:
    invoke(run, *BOXED, "--check")
    invoke(run, "--correct", f"10:{OTHER}", *TINY)
    assert read_prompts(run)["object"].places == (Place(5, BOX), Place(10, OTHER))


@pytest.mark.parametrize(
    ("text", "error"),
    [(f"5:{OTHER}", UsageError), (f"{CLIP_FRAMES}:{OTHER}", InputError), ("7:60,10,99,60", InputError)],
)
def test_a_correction_that_cannot_be_is_refused_before_anything_is_written(
    run: Run, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        invoke(run, *BOXED, "--correct", text, *TINY)
    assert not run.path("prompts.json").exists()


def test_the_skater_is_tracked_from_his_box_and_surest_keypoints_and_shares_no_pixel(
    run: Run, predictor: Predictor
) -> None:
    write_pose(run)
    invoke(run, *BOXED, *TINY)
    skater = {"frame": 3, "box": OTHER, "points": [(75.5, 50.0), (70.0, 20.0)], "labels": [1, 1]}
    things, humans = expected(predictor, run, [{"frame": 5, "box": BOX}], [skater])
    assert humans is not None
    assert np.array_equal(masks_of(run), things)
    assert np.array_equal(masks_of(run, "human_mask.mp4"), humans)
    assert np.array_equal(masks_of(run, "mask_human"), humans)
    assert not (things & humans).any()
    alone = expected(predictor, run, [{"frame": 5, "box": BOX}])[0]
    assert (alone & humans).any()  # both claimed a pixel: the rule had something to decide
    assert stage_of(run)["notes"]["skater"] == [
        {"box": [60, 10, 90, 60], "frame": 3, "points": [[75.5, 50, 1], [70, 20, 1]]}
    ]
    assert stage_of(run)["notes"]["human_mask"] == "tracked by sam2"


def test_a_skater_who_was_found_elsewhere_is_tracked_anew(run: Run) -> None:
    write_pose(run)
    invoke(run, *BOXED, *TINY)
    write_prompt(run, "skater", Prompt(BOX, 3, "pose"))
    assert "nothing has changed" not in invoke(run, *TINY).output


def test_a_cut_resets_the_state_and_the_correction_is_the_second_shots_prompt(run: Run, predictor: Predictor) -> None:
    write_pose(run)
    invoke(run, *BOXED, "--correct", f"10:{OTHER}", "--cuts", "8", "--keep", "largest", *TINY)
    skater = stage_of(run)["notes"]["skater"]
    assert [place["frame"] for place in skater] == [3, 8]  # the second shot's own, from pose.json
    for shot, place in ((range(8), {"frame": 5, "box": BOX}), (range(8, CLIP_FRAMES), {"frame": 10, "box": OTHER})):
        his = next(each for each in skater if each["frame"] in shot)
        points = {"points": [(x, y) for x, y, _ in his["points"]], "labels": [label for *_, label in his["points"]]}
        where = {"frame": his["frame"], "box": Box(*his["box"])} | points
        things, humans = expected(predictor, run, [place], [where], shot)
        largest = np.array([keep_largest(mask) for mask in things])
        assert humans is not None
        assert np.array_equal(masks_of(run)[shot.start : shot.stop], largest)
        assert np.array_equal(masks_of(run, "human_mask.mp4")[shot.start : shot.stop], humans & ~largest)


def test_the_prompts_file_is_as_the_documentation_shows_it(run: Run) -> None:
    invoke(run, *BOXED, "--point", "45,45,0", "--correct", f"10:{OTHER}", "--check", *TINY)
    assert json.loads(run.path("prompts.json").read_text())["object"] == {
        "box": [20, 20, 50, 50],
        "frame": 5,
        "points": [[45, 45, 0]],
        "corrections": [{"box": [60, 10, 90, 60], "frame": 10}],
        "from": "flag",
    }


START = np.zeros((72, 96), bool)
START[22:48, 24:51] = True
START[30:35, 30:35] = False  # a box could not say so


def upstream(predictor: Predictor, run: Run, start: int, mask: Mask, frames: range, folder: Path) -> list[Mask]:
    """Upstream's masks of `frames` alone: add_new_mask on `start`, then forward and backward."""
    pictures = write_frame_folder(folder, list(read_frames(run.source, frames.start, frames.stop)))
    prompt = {"frame_idx": start - frames.start, "obj_id": 1, "mask": mask}
    logits = upstream_logits(predictor, pictures, [prompt])
    return [logits[index][1] > 0 for index in range(len(frames))]


@pytest.mark.parametrize(("start", "frames"), [(11, range(3, 12)), (3, range(3, 12))], ids=["backward", "forward"])
def test_the_second_pass_is_upstreams_from_the_mask(
    run: Run, predictor: Predictor, tmp_path: Path, start: int, frames: range
) -> None:
    backend = make_backend(TrackerChoice("sam2", "tiny", "cpu"))
    found = list(backend.retrack(run.source, run.info, start, START, frames))
    assert [index for index, _ in found] == list(frames)
    masks = np.array([mask for _, mask in found])
    assert np.array_equal(masks, upstream(predictor, run, start, START, frames, tmp_path / "frames"))
    seen = masks.reshape(len(frames), -1).mean(1)
    assert np.count_nonzero((seen > 0) & (seen < 1)) > len(frames) // 2  # not a comparison of black masks
    assert iou(masks[start - frames.start], START) > 0.8  # upstream takes the mask itself, at a quarter of its size


def test_what_verify_notes_is_the_iou_of_the_first_track_and_upstreams_second_one(
    run: Run, predictor: Predictor, tmp_path: Path
) -> None:
    said = invoke(run, *BOXED, "--verify", "--keep", "largest", *TINY).output
    first = masks_of(run)
    assert [index for index, mask in enumerate(first) if not mask.any()] == [3, 4, 5]  # two stretches, then
    expected: list[float | None] = [None] * (CLIP_FRAMES - 1)
    for start, frames in ((0, range(3)), (CLIP_FRAMES - 1, range(6, CLIP_FRAMES))):
        second = upstream(predictor, run, start, first[start], frames, tmp_path / str(start))
        for index, mask in zip(frames, second, strict=True):
            if index != start:
                expected[index] = round(iou(first[index], keep_largest(mask)), 3)
    record = stage_of(run)["notes"]["verify"][0]
    assert record["ious"] == expected and record["frames"] == 9
    assert len(set(record["ious"])) > 6  # the passes do differ
    assert "verify: tracked back over 9 frames" in said


CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"


def test_the_tracker_is_used_as_the_specification_types_it(
    run: Run, predictor: Predictor, checkpoint: tuple[Path, str], tmp_path: Path
) -> None:
    tracker = SkateboardTracker(str(checkpoint[0]), CONFIG, device="cpu")
    tracker.init_video(str(run.source))
    info = tracker.video_info
    assert (info.width, info.height, info.fps, info.count) == (96, 72, 25, CLIP_FRAMES)
    tracker.add_initial_prompt(frame_idx=0, bbox=[20, 20, 50, 50])
    tracker.add_initial_prompt(frame_idx=10, bbox=[60, 10, 90, 60])
    tracker.propagate_and_save(str(tmp_path / "out" / "mask_skateboard"))
    places = [{"frame": 0, "box": BOX}, {"frame": 10, "box": OTHER}]
    masks = expected(predictor, run, places)[0]
    assert (tmp_path / "out" / "mask_skateboard" / "frame_00000.png").is_file()
    for name in ("mask.mp4", "mask_skateboard"):
        assert np.array_equal(np.array(list(read_masks(tmp_path / "out" / name))), masks)
    indices, yielded = zip(*tracker.propagate_yield(), strict=True)
    assert indices == tuple(range(CLIP_FRAMES)) and np.array_equal(np.array(yielded), masks)


def test_that_form_takes_names_too_and_is_the_same_tracker(checkpoint: tuple[Path, str], run: Run) -> None:
    named = SkateboardTracker(checkpoint_path=checkpoint[0], config_path=CONFIG, device="cpu")
    assert named.backend.params == SkateboardTracker(make_backend(TrackerChoice("sam2", "tiny", "cpu"))).backend.params


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_that_form_means_the_gpu_and_never_falls_back(checkpoint: tuple[Path, str], run: Run) -> None:
    with pytest.raises(MissingError, match="no CUDA GPU"):
        SkateboardTracker(checkpoint[0], CONFIG)


def test_a_checkpoint_by_its_path_needs_no_models_folder_and_is_the_one_that_is_used(
    run: Run, predictor: Predictor, checkpoint: tuple[Path, str]
) -> None:
    (models(run) / "sam2.1_hiera_tiny.pt").unlink()
    invoke(run, *BOXED, "--checkpoint", str(checkpoint[0]), "--config", CONFIG, "--device", "cpu")
    assert np.array_equal(masks_of(run), expected(predictor, run, [{"frame": 5, "box": BOX}])[0])
    params = stage_of(run)["params"]
    assert (params["backend"], params["model"], params["weights"]) == ("sam2", "tiny", checkpoint[1])


def test_a_checkpoint_of_other_bytes_is_refused_before_any_work(run: Run, clip: Path, tmp_path: Path) -> None:
    wrong, folder = tmp_path / "wrong.pt", tmp_path / "new"
    wrong.write_bytes(b"wrong")
    with pytest.raises(DigestError):
        invoke(Run(folder, {}), "-i", str(clip), *BOXED, "--checkpoint", str(wrong), "--config", CONFIG)
    assert not folder.exists()
