"""Masks that are right and masks that are wrong, and what the witnesses say of each: who is named, who is blamed.

    make bench-witness [ARGS="--clips ../shared/clips --folder data/witness --holdouts"]

For each clip with a truth and each fault the table has

    wrong      frames whose mask has an IoU under WRONG with the truth, and the share of them that is contradicted
    between    frames between WRONG and RIGHT: neither; how many of them are contradicted
    right      frames with an IoU from RIGHT on, and the share of them that is contradicted
    word       what is said of the clip as a whole

The truth: every frame of the demo clip, as it was rendered; outlines drawn by hand on some frames of the real clips
(bench/outlines.py). Between these no frame is scored, and the masks are carried there by optical flow. `extracted` and
`corrected` are the embedded tracker's own masks, as it was prompted by the detector, and with the object's box on every
third outline. --holdouts: the same for real clips that were changed.

The detector's weights have to be there: make weights PROFILE=detect, or MODELS_DIR. Real clips are left out where
--clips is no folder. About 20 minutes of processor time, with --short --no-tracking 5.

The last line is one JSON object: the sums over all real clips and the demo, of faults that a tracker makes (FAULTS) and
of an adversary's (MORE_FAULTS) apart.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from bench.crossing import FIRST, FRAMES, crossing
from bench.maskfaults import FAULTS, MORE_FAULTS, FaultyMasks, Scene
from bench.outlines import carried, read_outlines
from evaluator.trust import cycle_ious
from handoff.masks import Mask, bounds, mask_iou, read_masks
from handoff.places import Box, Place, Prompt, read_prompts, write_prompt
from handoff.poses import read_poses
from handoff.run import Run
from handoff.video import Frame, VideoWriter, read_frames
from runner.envs import ensure_env
from runner.process import ROOT, stage_environment
from tracker.witness.body import surest
from tracker.witness.ruling import Standing, Witnesses

WRONG, SURE = 0.5, 0.7
"""IoU with the truth: under the first a mask is wrong, from the second on it is right."""
OUTLINES = ROOT / "tests" / "tracker" / "witness" / "outlines.json"
_EACH_CORRECTED = 3


@dataclass
class Footage:
    """A clip with a truth: its frames as a file, the object's class, right masks, and on which frames they are truth.

    another: masks of another thing in it. prompt: where the object is, where not the detector says it.
    """

    name: str
    clip: Path
    label: str
    masks: list[Mask]
    truth: dict[int, Mask]
    another: list[Mask] | None = None
    prompt: Prompt | None = None


@dataclass
class Score:
    """Counts of frames by how right their masks are, and how many of them are contradicted."""

    wrong: int = 0
    named: int = 0
    between: int = 0
    doubted: int = 0
    right: int = 0
    blamed: int = 0
    unheard: int = 0  # wrong frames in which no witness spoke
    words: list[str] = field(default_factory=list)

    def add(self, iou: float, contradicted: bool, heard: bool) -> None:
        """Count a frame: its mask's IoU with the truth, and what was said of it."""
        if iou < WRONG:
            self.wrong, self.named, self.unheard = self.wrong + 1, self.named + contradicted, self.unheard + (not heard)
        elif iou < SURE:
            self.between, self.doubted = self.between + 1, self.doubted + contradicted
        else:
            self.right, self.blamed = self.right + 1, self.blamed + contradicted

    def __add__(self, other: Score) -> Score:
        names = [each.name for each in dataclasses.fields(self)]
        return Score(*(getattr(self, name) + getattr(other, name) for name in names))

    def as_json(self) -> dict[str, Any]:
        """Return the counts and the two shares, None of nothing."""
        share = self.named / self.wrong if self.wrong else None
        blamed = self.blamed / self.right if self.right else None
        counts = {key: value for key, value in dataclasses.asdict(self).items() if key != "words"}
        return counts | {"named_share": share, "blamed_share": blamed}


def standing_of(run: Run, masks: Iterable[Mask], cycle: dict[int, float] | None = None) -> Standing:
    """Return what the witnesses of a run say of masks of its clip."""
    witnesses = Witnesses(run, run.info, cycle)
    for index, mask in enumerate(masks):
        witnesses.feed(index, mask)
    return witnesses.conclude()


def score(standing: Standing, ious: dict[int, float]) -> Score:
    """Hold what was said against the IoU with the truth on the frames where that is known."""
    result, contradicted = Score(words=[standing.word]), set(standing.contradicted)
    frames = {each.frame: each for each in standing.frames}
    for frame, iou in ious.items():
        result.add(iou, frame in contradicted, frames[frame].box_iou is not None or frames[frame].on_person is not None)
    return result


def judged(run: Run, truth: dict[int, Mask], masks: Iterator[Mask], cycle: dict[int, float] | None = None) -> Score:
    """Feed masks to the witnesses of a run and score what they say."""
    ious: dict[int, float] = {}

    def measured() -> Iterator[Mask]:
        for index, mask in enumerate(masks):
            if index in truth:
                ious[index] = mask_iou(truth[index], np.ascontiguousarray(mask))
            yield np.ascontiguousarray(mask)

    return score(standing_of(run, measured(), cycle), ious)


# --- clips ---------------------------------------------------------------------------------------------------------


def real_clips(clips: Path) -> Iterator[Footage]:
    """The two real clips, with what was drawn on them."""
    for name in ("skateboarder", "juggle"):
        clip = clips / f"{name}.mp4"
        drawn = read_outlines(OUTLINES, clip)
        yield Footage(name, clip, drawn.label, carried(clip, drawn.masks, drawn.frames), drawn.masks)


def demo_footage(folder: Path) -> Footage:
    """The demo clip: its truth is known in every frame."""
    truth = list(read_masks(folder / "truth.mp4"))
    place = json.loads((folder / "truth.json").read_text())["prompt"]
    prompt = Prompt(Box(*place["box"]), place["frame"], "flag")
    return Footage("demo", folder / "demo.mp4", "skateboard", truth, dict(enumerate(truth)), prompt=prompt)


def two_people(clips: Path, skater: Footage, folder: Path) -> Footage:
    """The skater's clip in half size with the juggler walking past him: what he hides of the board is not seen."""
    made = list(crossing(clips))
    path = written(folder / "crossing.mp4", (each.both for each in made), Fraction(24))
    masks = [half(skater.masks[FIRST + index]) & ~each.cover for index, each in enumerate(made)]
    truth = {index: masks[index] for index in range(FRAMES) if FIRST + index in skater.truth}
    return Footage("crossing", path, skater.label, masks, truth, another=[each.cover for each in made])


def half(mask: Mask) -> Mask:
    """Return a mask at half its size: a pixel is the object's where half of its four are."""
    small = cv2.resize(mask.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(small >= 0.5)


def halved(frame: Frame) -> Frame:
    """Return a picture at half its size."""
    return np.asarray(cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


CHANGES: dict[str, tuple[Callable[[Frame], Frame], Callable[[Mask], Mask], int]] = {
    "small": (halved, half, 1),
    "mirrored": (lambda frame: halved(frame)[:, ::-1], lambda mask: half(mask)[:, ::-1], 1),
    "dark": (lambda frame: (halved(frame) * 0.3).astype(np.uint8), half, 1),
    "blurred": (lambda frame: np.asarray(cv2.GaussianBlur(halved(frame), (0, 0), 1.5), np.uint8), half, 1),
    "slow": (halved, half, 2),
}
"""How real clips are changed: the pictures, the masks, and how often each frame is shown. All are half as large."""


def changed(footage: Footage, name: str, folder: Path) -> Footage:
    """The same clip and truth after a change of CHANGES."""
    picture, shape, times = CHANGES[name]
    path = folder / f"{footage.name}-{name}.mp4"
    frames = (picture(frame) for frame in read_frames(footage.clip) for _ in range(times))
    written(path, frames, Fraction(24))
    masks = [np.ascontiguousarray(shape(mask)) for mask in footage.masks for _ in range(times)]
    truth = {index * times: masks[index * times] for index in footage.truth}
    return dataclasses.replace(footage, name=f"{footage.name}-{name}", clip=path, masks=masks, truth=truth)


def written(path: Path, frames: Iterable[Frame], fps: Fraction) -> Path:
    """Write a clip that is not there yet."""
    if not path.exists():
        first, *rest = frames
        with VideoWriter(path, fps, first.shape[1], first.shape[0]) as writer:
            for frame in (first, *rest):
                writer.write(np.ascontiguousarray(frame))
    return path


# --- runs ----------------------------------------------------------------------------------------------------------


def run_stage_of(name: str, *arguments: object) -> None:
    """Run a stage as the product does; what it says goes to stderr."""
    command = [str(ensure_env(name)), "-m", name, *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, env=stage_environment(), stdout=sys.stderr, check=True)


def looked_at(footage: Footage, folder: Path) -> Run:
    """Make the clip's run as far as the pose stage: detections, prompts, the person."""
    run_dir = folder / footage.name
    run_stage_of("posegen", "--run", run_dir, "-i", footage.clip, "--object", footage.label)
    run = Run.open(run_dir)
    if footage.prompt is not None:
        write_prompt(run, "object", footage.prompt)
    return run


def scene_of(footage: Footage, run: Run) -> Scene:
    """The footage with what the pose stage found in it, for the faults."""
    people = [surest(people) for people in read_poses(run.path("pose.json"))]
    bodies = list(read_masks(run.path("person_mask.mp4")))
    prompt = read_prompts(run).get("object")
    frame = prompt.frame if prompt else 0
    return Scene(footage.clip, footage.masks, bodies, people, frame, footage.another)


def tracked(footage: Footage, run: Run, places: Sequence[Place], name: str) -> tuple[Run, dict[int, float]]:
    """Track in a copy of the run with the embedded tracker; return the copy and the IoU of its two passes by frame."""
    copy = run.dir.parent / f"{run.dir.name}-{name}"
    if not copy.exists():
        shutil.copytree(run.dir, copy)
    corrections = [part for place in places for part in ("--correct", f"{place.frame}:{place.box}")]
    run_stage_of("tracker", "--run", copy, "--backend", "embedded", "--verify", *corrections)
    done = Run.open(copy)
    return done, cycle_ious(done, done.path("mask.mp4"), done.info.frames)


def corrections(footage: Footage, prompt_frame: int) -> list[Place]:
    """The object's box on some frames of the truth that show it, not on the prompt's."""
    boxes = {frame: box for frame, mask in sorted(footage.truth.items()) if (box := bounds(mask))}
    step = max(_EACH_CORRECTED, len(boxes) // 9)
    return [Place(frame, box) for frame, box in [*boxes.items()][::step] if frame != prompt_frame]


# --- the table -----------------------------------------------------------------------------------------------------


def rows_of(footage: Footage, run: Run, faults: dict[str, FaultyMasks], really: bool) -> Iterator[tuple[str, Score]]:
    """Yield each kind of mask and its score."""
    if really:
        prompt = read_prompts(run)["object"]
        for name, places in (("extracted", []), ("corrected", corrections(footage, prompt.frame))):
            done, cycle = tracked(footage, run, places, name)
            yield f"{name}, cycle not heard", judged(done, footage.truth, read_masks(done.path("mask.mp4")))
            yield name, judged(done, footage.truth, read_masks(done.path("mask.mp4")), cycle)
    scene = scene_of(footage, run)
    for name, fault in faults.items():
        yield name, judged(run, footage.truth, fault(scene))


def line(clip: str, name: str, of: Score) -> str:
    """One row of the table, in Markdown."""
    words = ", ".join(f"{word} {of.words.count(word)}" for word in sorted(set(of.words)))
    word = of.words[0] if len(of.words) == 1 else words
    unheard = f", {of.unheard} unheard" if of.unheard else ""
    return (
        f"| {clip} | {name} | {_share(of.named, of.wrong)}{unheard} | {_share(of.doubted, of.between)} "
        f"| {_share(of.blamed, of.right)} | {word} |"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "-"


@click.command()
@click.option("--clips", type=click.Path(path_type=Path), default=ROOT.parent / "shared" / "clips", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Runs are kept there. [default: a temporary one]")
@click.option("--holdouts", is_flag=True, help="Real clips that were changed, too.")
@click.option("--only", multiple=True, help="Clips of that name only; repeatable.")
@click.option("--no-tracking", is_flag=True, help="Only injected faults: the tracker is not run.")
@click.option("--short", is_flag=True, help="Without the adversary's faults.")
def main(
    clips: Path, folder: Path | None, holdouts: bool, only: tuple[str, ...], no_tracking: bool, short: bool
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        where = (folder or Path(scratch)).absolute()
        where.mkdir(parents=True, exist_ok=True)
        sums = {"faults": Score(), "more": Score(), "tracked": Score()}
        click.echo("| clip | mask | wrong frames named | between | right frames blamed | word |")
        click.echo("| --- | --- | --- | --- | --- | --- |")
        for footage, changed_clip in all_footage(clips, where, holdouts):
            if only and footage.name not in only:
                continue
            run = looked_at(footage, where)
            faults = FAULTS if changed_clip or short else FAULTS | MORE_FAULTS
            for name, of in rows_of(footage, run, faults, not no_tracking and not changed_clip):
                click.echo(line(footage.name, name, of))
                kind = "faults" if name in FAULTS else "more" if name in MORE_FAULTS else "tracked"
                kind = f"changed clips, {kind}" if changed_clip else kind
                sums[kind] = sums.get(kind, Score()) + of
        for name, of in sums.items():
            click.echo(line("all", name, of))
        click.echo(json.dumps({name: of.as_json() for name, of in sums.items()}))


def all_footage(clips: Path, folder: Path, holdouts: bool) -> Iterator[tuple[Footage, bool]]:
    """Yield every clip with its truth, and whether it is a changed one."""
    demo = os.environ.get("DEMO_CLIP")
    if demo:
        yield demo_footage(Path(demo)), False
    if not clips.is_dir():
        click.echo(f"no real clips: {clips} is not there", err=True)
        return
    for footage in real_clips(clips):
        yield footage, False
        if footage.name == "skateboarder":
            yield two_people(clips, footage, folder), False
        if holdouts:
            for name in CHANGES:
                yield changed(footage, name, folder), True


if __name__ == "__main__":
    main()
