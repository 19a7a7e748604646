"""The demo clip's truth is exact: the same every time, and exactly what was drawn."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from demo.__main__ import write_clip
from demo.board import Mesh, build_board
from demo.choreography import Choreography
from demo.clip import SLIVER_PX, composite, make_clip
from demo.person import person_cover
from demo.render import FULL_COVERAGE, Layer, render
from demo.source import FRAME_COUNT, HEIGHT, WIDTH, Footage, load_footage
from handoff.errors import InputError
from handoff.masks import bounds, check_mask_sequence, read_masks
from handoff.video import probe, read_frames
from runner.process import ROOT

CACHE = ROOT / "data" / "cache"
NO_SHADE = np.zeros((HEIGHT, WIDTH), np.float32)


@pytest.fixture(scope="module")
def wheel() -> Path:
    named = os.environ.get("DEMO_WHEEL")
    found = [Path(named)] if named else sorted(CACHE.rglob("sports2d-0.8.34-*.whl"))
    if not found or not found[0].is_file():
        pytest.skip(f"the demo's footage is not here: set DEMO_WHEEL, or let make demo fetch it into {CACHE}")
    return found[0]


@pytest.fixture(scope="module")
def footage(wheel: Path) -> Footage:
    return load_footage(wheel)


@pytest.fixture(scope="module")
def written(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo")
    return out, write_clip(wheel, out, seed=7)


@pytest.fixture(scope="module")
def board() -> tuple[Mesh, Choreography]:
    rng = np.random.default_rng(7)
    motion = Choreography.draw(rng)
    return build_board(rng), motion


def digest(masks: Iterable[NDArray[np.bool_]]) -> str:
    return hashlib.sha256(b"".join(np.packbits(mask).tobytes() for mask in masks)).hexdigest()


def white(layer: Layer) -> Layer:
    return replace(layer, colour=np.repeat(layer.coverage[..., None] / FULL_COVERAGE * 255.0, 3, axis=2))


def test_the_same_seed_gives_the_same_truth(written: tuple[Path, dict[str, Any]], footage: Footage) -> None:
    again = digest(made.mask for made in make_clip(footage, seed=7))
    assert digest(read_masks(written[0] / "truth.mp4")) == again


def test_another_seed_gives_another_truth(footage: Footage) -> None:
    short = replace(footage, frames=footage.frames[:6])
    digests = {digest(made.mask for made in make_clip(short, seed)) for seed in (7, 8, 9)}
    assert len(digests) == 3


def test_clip_video_truth_and_pictures_have_the_same_frames(written: tuple[Path, dict[str, Any]]) -> None:
    out, described = written
    info = probe(out / "demo.mp4")
    assert (info.frames, info.width, info.height, info.fps) == (FRAME_COUNT, WIDTH, HEIGHT, Fraction(30))
    assert described["frame_count"] == len(described["frames"]) == FRAME_COUNT
    check_mask_sequence(out / "truth.mp4", info)
    check_mask_sequence(out / "truth", info)
    assert digest(read_masks(out / "truth.mp4")) == digest(read_masks(out / "truth"))
    assert json.loads((out / "truth.json").read_text(encoding="utf-8")) == described


def test_the_prompt_box_is_tight_around_the_truth(written: tuple[Path, dict[str, Any]]) -> None:
    out, described = written
    prompt = described["prompt"]
    box = bounds(list(read_masks(out / "truth.mp4"))[prompt["frame"]])
    assert box is not None
    assert box.as_list() == prompt["box"]
    assert described["frames"][prompt["frame"]]["state"] == "visible"


def test_states_and_areas_say_what_the_masks_show(written: tuple[Path, dict[str, Any]]) -> None:
    out, described = written
    for mask, frame in zip(read_masks(out / "truth.mp4"), described["frames"], strict=True):
        assert frame["area_px"] == np.count_nonzero(mask)
        assert (frame["state"] in ("hidden", "out")) == (frame["area_px"] == 0)
        assert frame["area_px"] == 0 or frame["area_px"] >= SLIVER_PX


def test_the_board_is_hidden_for_a_while_and_later_leaves_the_frame(written: tuple[Path, dict[str, Any]]) -> None:
    check_story([frame["state"] for frame in written[1]["frames"]])


def test_another_seed_tells_the_same_story(footage: Footage) -> None:
    check_story([made.state for made in make_clip(footage, seed=8)])


def check_story(states: list[str]) -> None:
    stretches = [state for i, state in enumerate(states) if i == 0 or states[i - 1] != state]
    assert stretches == ["visible", "partly_hidden", "hidden", "partly_hidden", "out"]
    assert states.count("hidden") >= 5
    assert states.count("out") >= 8
    assert states.count("visible") >= 45


@pytest.mark.parametrize("index", [4, 17, 22, 56, 61, 78])
def test_truth_is_exactly_what_compositing_changed_by_more_than_half(
    footage: Footage, board: tuple[Mesh, Choreography], index: int
) -> None:
    cover = person_cover(footage.frames[index], footage.plate)
    black = np.zeros_like(footage.plate)
    result = composite(black, white(render(*board, index)), cover, NO_SHADE)
    assert np.array_equal(result.frame.max(axis=2) >= 128, result.mask)
    assert not result.mask[cover >= 128].any()


def test_pixels_away_from_board_and_shadow_are_the_footage(footage: Footage) -> None:
    made = next(iter(make_clip(footage, seed=7)))
    changed = (made.frame != footage.frames[0]).any(axis=2)
    rows, columns = np.nonzero(made.mask)
    near = np.zeros_like(changed)
    near[rows.min() - 20 : rows.max() + 20, columns.min() - 20 : columns.max() + 20] = True
    assert changed[made.mask].mean() > 0.95
    assert not changed[~near].any()


def test_both_sides_of_the_deck_look_different(footage: Footage) -> None:
    made = list(make_clip(replace(footage, frames=footage.frames[:24]), seed=7))
    top = made[4].frame[made[4].mask].astype(float)
    below = made[22].frame[made[22].mask].astype(float)
    assert top.mean() < 100 < below.mean()
    assert np.ptp(below, axis=1).mean() > 2 * np.ptp(top, axis=1).mean()


def test_the_encoded_clip_is_close_to_what_was_drawn(written: tuple[Path, dict[str, Any]], footage: Footage) -> None:
    encoded = next(iter(read_frames(written[0] / "demo.mp4"))).astype(int)
    drawn = next(iter(make_clip(footage, seed=7))).frame.astype(int)
    assert np.abs(encoded - drawn).mean() < 3.0


def test_a_layer_half_covered_counts_and_less_does_not() -> None:
    coverage = np.full((20, 20), FULL_COVERAGE // 2, np.int32)
    coverage[0] -= 1
    layer = white(Layer(10, 10, coverage, np.zeros((20, 20, 3))))
    result = composite(np.zeros((40, 40, 3), np.uint8), layer, np.zeros((40, 40), np.uint8), NO_SHADE[:40, :40])
    expected = np.zeros((40, 40), bool)
    expected[11:30, 10:30] = True
    assert np.array_equal(result.mask, expected)


@pytest.mark.parametrize(("place", "inside_px"), [((-10, 5), 200), ((30, 30), 100), ((-40, 0), 0), ((50, 0), 0)])
def test_a_layer_beyond_the_frame_edge_is_cut(place: tuple[int, int], inside_px: int) -> None:
    coverage = np.full((20, 20), FULL_COVERAGE, np.int32)
    layer = white(Layer(*place, coverage, np.zeros((20, 20, 3))))
    result = composite(np.zeros((40, 40, 3), np.uint8), layer, np.zeros((40, 40), np.uint8), NO_SHADE[:40, :40])
    assert (result.inside_px, result.whole_px) == (inside_px, 400)
    assert np.count_nonzero(result.mask) == (inside_px if inside_px >= SLIVER_PX else 0)
    assert np.count_nonzero(result.frame.max(axis=2)) == np.count_nonzero(result.mask)


@pytest.mark.parametrize("content", [None, b"not a wheel"])
def test_a_wheel_that_is_missing_or_another_is_refused(tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "sports2d.whl"
    if content is not None:
        wheel.write_bytes(content)
    with pytest.raises(InputError, match="no wheel" if content is None else "SHA-256"):
        write_clip(wheel, tmp_path / "out", seed=7)
    assert not (tmp_path / "out").exists()
