"""Known faults, painted into a generated clip, and what the gate says of each on a real run.

    python -m bench.faults data/runs/demo

prints the table of docs/measurements.md. The faults are put into copies of the newest reskin's output.mp4; the
run is not changed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

from evaluator.cli import command
from evaluator.inputs import gather
from handoff.run import Run
from handoff.video import Frame, VideoWriter

Mask = NDArray[np.bool_]
_NEAR_PX = 25
BLEED_PX = 3
"""How far the object's colour reaches beyond its outline: chroma is stored at half size."""
LITTLE_LOSS = 2
"""The CRF that faulty clips are encoded with: they went through the output's own encoding already."""


@dataclass(frozen=True)
class Painted:
    """A reskinned clip in memory: its frames, what the background is behind the object, G, the skater, the source."""

    frames: list[Frame]
    plates: list[Frame]
    masks: list[Mask]
    skaters: list[Mask]
    sources: list[Frame] = field(default_factory=list)

    @property
    def middle(self) -> int:
        """The frame in the middle of the first stretch that shows the object."""
        seen = [bool(mask.any()) for mask in self.masks]
        start = seen.index(True)
        return (start + [*seen, False].index(False, start)) // 2

    @property
    def shown(self) -> list[int]:
        """The frames that show the object."""
        return [i for i, mask in enumerate(self.masks) if mask.any()]

    def without(self, index: int, inside: Mask | None = None) -> Frame:
        """Frame `index` with the background in place of the object, or of its outer part down to `inside`."""
        gone = _grown(self.masks[index], BLEED_PX) & ~(np.zeros_like(self.masks[index]) if inside is None else inside)
        return np.asarray(np.where(gone[..., None], self.plates[index], self.frames[index]), np.uint8)

    def moved(self, index: int, source: int, dx: int = 0) -> Frame:
        """Frame `index` with frame `source`'s object moved by dx px, and the background where its own one was."""
        frame = self.without(index)
        mask, object_ = np.roll(self.masks[source], dx, axis=1), np.roll(self.frames[source], dx, axis=1)
        return np.asarray(np.where(mask[..., None], object_, frame), np.uint8)

    def painted(self, index: int, where: Mask) -> Frame:
        """Frame `index` with the object's own colour in other pixels too."""
        frame = self.frames[index].copy()
        if self.masks[index].any():
            frame[where] = np.median(frame[self.masks[index]], axis=0)
        return frame


def load(run: Run, output: Path) -> Painted:
    """Read a run's reskin; the background is painted in from around the object."""
    frames, plates, masks, skaters, sources = [], [], [], [], []
    for sight in gather(run.path("mask.mp4"), output, run).read():
        if sight.output is None or sight.source is None:
            raise ValueError("a run has both clips")
        hidden = _grown(sight.original, BLEED_PX + 1).astype(np.uint8)
        frames.append(sight.output)
        plates.append(np.asarray(cv2.inpaint(sight.source, hidden, 4, cv2.INPAINT_TELEA), np.uint8))
        masks.append(sight.original)
        skaters.append(np.zeros_like(sight.original) if sight.skater is None else sight.skater)
        sources.append(sight.source)
    return Painted(frames, plates, masks, skaters, sources)


def _grown(mask: Mask, px: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1,) * 2)) > 0


def _shrunk(mask: Mask, px: int) -> Mask:
    return ~_grown(~mask, px)


def _shifted(px: int) -> Callable[[Painted], list[Frame]]:
    return lambda clip: [clip.moved(i, i, px) for i in range(len(clip.frames))]


def _grow(clip: Painted) -> list[Frame]:
    return [clip.painted(i, _grown(mask, 4)) for i, mask in enumerate(clip.masks)]


def _shrink(clip: Painted) -> list[Frame]:
    return [clip.without(i, _shrunk(mask, 3)) for i, mask in enumerate(clip.masks)]


def _vanish(clip: Painted) -> list[Frame]:
    gone = range(clip.middle, clip.middle + 5)
    return [clip.without(i) if i in gone else frame for i, frame in enumerate(clip.frames)]


def _freeze(clip: Painted) -> list[Frame]:
    return [frame if i < clip.middle else clip.moved(i, clip.middle) for i, frame in enumerate(clip.frames)]


def _swap(clip: Painted) -> list[Frame]:
    around = [clip.painted(i, _grown(mask, 12) & ~mask) for i, mask in enumerate(clip.masks)]
    return [np.where(clip.masks[i][..., None], clip.plates[i], frame) for i, frame in enumerate(around)]


def _over_foot(clip: Painted) -> list[Frame]:
    return [clip.painted(i, _grown(m, _NEAR_PX) & clip.skaters[i] & ~m) for i, m in enumerate(clip.masks)]


def _inside(clip: Painted, index: int, filling: Frame, where: Mask | None = None) -> Frame:
    """Frame `index` with another filling in G, or in a part of it."""
    mask = clip.masks[index] if where is None else where
    return np.asarray(np.where(mask[..., None], filling, clip.frames[index]), np.uint8)


def _unpaint_five(clip: Painted) -> list[Frame]:
    bare = range(clip.middle, clip.middle + 5)
    return [clip.sources[i] if i in bare else frame for i, frame in enumerate(clip.frames)]


def _unpaint_half(clip: Painted) -> list[Frame]:
    painted = []
    for i, mask in enumerate(clip.masks):
        columns = np.nonzero(mask)[1]
        left = mask & (np.arange(mask.shape[1]) < (np.median(columns) if columns.size else 0))
        painted.append(_inside(clip, i, clip.sources[i], left))
    return painted


def _gray(clip: Painted) -> list[Frame]:
    return [_inside(clip, i, np.full_like(frame, 127)) for i, frame in enumerate(clip.frames)]


def _recolour(clip: Painted) -> list[Frame]:
    painted = []
    for i, source in enumerate(clip.sources):
        colours = np.asarray(cv2.cvtColor(source, cv2.COLOR_RGB2HSV), np.uint8)
        colours[..., 0] = (colours[..., 0] + 60) % 180  # 180 levels are the whole circle in OpenCV
        painted.append(_inside(clip, i, np.asarray(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), np.uint8)))
    return painted


def _texture(height: int, width: int) -> NDArray[np.float32]:
    """(height, width) of blotches some px wide, mean 0, deviation 1; the same in every call."""
    noise = np.random.default_rng(7).standard_normal((height // 2, width // 2)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(cv2.resize(noise, (width, height)), (0, 0), 1), np.float32)
    return (smooth - smooth.mean()) / smooth.std()


def _paint_black(clip: Painted) -> list[Frame]:
    """A black thing with a faint texture that is its own, and lies still on it."""
    painted = []
    for i, mask in enumerate(clip.masks):
        ys, xs = np.nonzero(mask)
        centre = (round(ys.mean()), round(xs.mean())) if xs.size else (0, 0)
        level = np.roll(_texture(*mask.shape), centre, axis=(0, 1)) * 5 + 24
        painted.append(_inside(clip, i, np.repeat(np.clip(level, 0, 255)[..., None], 3, axis=2).astype(np.uint8)))
    return painted


BLACK = "none: painted black"
UNHARMED = "none, but encoded once more"
FAULTS: dict[str, Callable[[Painted], list[Frame]]] = {
    UNHARMED: lambda clip: clip.frames,
    "shifted by 1 px": _shifted(1),
    "shifted by 3 px": _shifted(3),
    "shifted by 10 px": _shifted(10),
    "grown by 4 px": _grow,
    "shrunk by 3 px": _shrink,
    "vanished for five frames": _vanish,
    "frozen from the middle on": _freeze,
    "swapped with the background": _swap,
    "painted over the skater's leg": _over_foot,
    "five frames unpainted": _unpaint_five,
    "half of G unpainted": _unpaint_half,
    "gray 127 left": _gray,
    "the source's hue shifted": _recolour,
    BLACK: _paint_black,
}
UNPAINTED_CRFS = (12, 20, 28)
"""What the source is encoded with for the clip in which nothing was painted."""


def evaluate_frames(run: Run, name: str, frames: list[Frame], crf: int) -> dict[str, Any]:
    """Encode frames as a reskin of the run, call the real command, and return iou.json."""
    folder = run.path("reskins") / name
    folder.mkdir(parents=True, exist_ok=True)
    info = run.info
    with VideoWriter(folder / "output.mp4", info.fps, info.width, info.height, crf=crf) as writer:
        for frame in frames:
            writer.write(frame)
    return evaluate_clip(run, folder / "output.mp4")


def evaluate_clip(run: Run, output: Path) -> dict[str, Any]:
    """Call the real command on a reskin of the run, and return iou.json."""
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(output), "--format", "json"]
    done = CliRunner().invoke(command, files, catch_exceptions=False, standalone_mode=False)
    data: dict[str, Any] = json.loads((output.parent / "report" / "iou.json").read_text())
    if done.return_value != (0 if data["summary"]["passed"] else 1):
        raise ValueError(f"exit code {done.return_value} and the report differ")
    return data


def touched(clip: Painted, frames: list[Frame]) -> list[int]:
    """The frames that a fault changed; ValueError where it changed none, which says nothing of the gate."""
    changed = [i for i, frame in enumerate(frames) if not np.array_equal(frame, clip.frames[i])]
    if not changed:
        raise ValueError("the fault changed no frame of this clip")
    return changed


def row(name: str, data: dict[str, Any], faulty: list[int]) -> str:
    """One line of the table: the verdict, and medians over the faulty frames."""
    seen = [data["frames"][index] for index in faulty]
    failing = sum(not each["passed"] for each in seen)

    def mid(key: str) -> float:
        values = [each[key] for each in seen if each[key] is not None]
        return float(np.median(values)) if values else float("nan")

    summary = data["summary"]
    causes = [f"{summary[each]} {each}" for each in ("unchanged", "unpainted") if summary[each]]
    verdict = "pass" if summary["passed"] else ", ".join([f"**fail**, {summary['failed']} frames", *causes])
    return (
        f"| {name} | {verdict} | {failing} of {len(seen)} | {mid('iou'):.3f} | {mid('boundary_f'):.3f} "
        f"| {mid('leak'):.3f} | {mid('gap'):.3f} | {mid('clip'):.3f} | {mid('drift_px'):.1f} "
        f"| {mid('area_ratio'):.2f} | {mid('psnr_db'):.1f} | {mid('replaced'):.3f} | {mid('unpainted'):.3f} |"
    ).replace("nan", "")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Print the table of all faults on a run."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Run.open(Path(shutil.copytree(folder, Path(scratch) / "run")))
        output = next(run.path("reskins").glob("*/output.mp4"))
        clip = load(run, output)
        print("| fault | gate | of the faulty | IoU | F | leak | gap | clip | drift, px | area | PSNR | new | gray |")
        print("| --- | --- | --- |" + " ---: |" * 10)
        print(row("none", evaluate_clip(run, output), clip.shown), flush=True)
        for index, (name, make) in enumerate(FAULTS.items()):
            frames = make(clip)
            data = evaluate_frames(run, f"fault-{index}", frames, LITTLE_LOSS)
            print(row(name, data, clip.shown if name == UNHARMED else touched(clip, frames)), flush=True)
        for crf in UNPAINTED_CRFS:
            data = evaluate_frames(run, f"unpainted-{crf}", clip.sources, crf)
            print(row(f"nothing painted, CRF {crf}", data, clip.shown), flush=True)


if __name__ == "__main__":
    main()
