"""Paint with a generative model, window by window: Wan 2.1 VACE, or any template with slots."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from handoff.files import sha256_file
from handoff.masks import Mask, frame_name, read_png, write_png
from handoff.picture.photo import read_photo
from handoff.video import ClipInfo, Frame
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.progress import Listener
from reskin.comfy.results import find_output, keep_pictures
from reskin.painting import Layers, WindowFrames, input_path, to_gray, write_pictures
from reskin.regions import BLACK, WHITE, Fit, fit_into, object_regions, skater_regions
from reskin.windows import KeptWindows, is_whole, padded_length
from reskin.workflow import REFERENCE, SEED, Graph, fill, graph_sha256, has_two_passes, nodes_of, window_slots

_ANY, _HALF = 0.0, 0.5
"""How much of a px of the model's picture must be in a mask: any of it, or half."""


@dataclass
class VacePainter:
    """A `Painter` for templates with a model: a window is uploaded, painted in one job, kept, and read.

    graph: filled but for `window_slots`. seeds: of each window. grow_px: px of the source. scratch: an empty folder.
    `resumed` counts the windows that were found finished.
    """

    comfy: ComfyOrchestrator
    graph: Graph
    seeds: Sequence[int]
    info: ClipInfo
    fit: Fit
    grow_px: int
    reference: Path | None
    kept: KeptWindows
    scratch: Path
    listener: Listener
    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    resumed: int = 0

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Paint one window in one job, or take it as it was left; yield its layers at the clip's size."""
        count = len(cut.window)
        inputs = self._write_inputs(cut)
        graph = fill(self.graph, {SEED: self.seeds[cut.window.index]})
        key = self._key(graph, inputs, count)
        folder = self.kept.place(cut.window.index, key)
        if is_whole(folder, count * (2 if self._two_passes else 1)):
            self.resumed += 1
        else:
            with self.kept.make(cut.window.index, key) as partial:
                self._run(graph, inputs, count, partial)
        for index in range(count):
            first = self._read(folder, index)
            yield Layers(self._read(folder, count + index), first) if self._two_passes else Layers(first, first)

    def _write_inputs(self, cut: WindowFrames) -> dict[str, Path]:
        """Write what the template has a slot for, at the model's size and 4n+1 frames long; return title -> file."""
        known = len(cut.known)
        things = object_regions(cut.objects, self.grow_px)
        people = skater_regions(cut.skaters, cut.objects, self.grow_px)
        nothing = np.zeros_like(things[0])

        def masks(of: list[Mask], part: float) -> Iterator[Frame]:
            # what is known is not painted again
            for mask in [nothing] * known + of[known:]:
                yield to_gray(self.fit.mask_to_model(mask, part=part))

        pictures: dict[str, Iterable[Frame]] = {
            "source": map(self.fit.to_model, [*cut.known, *cut.frames[known:]]),
            "pose": (self.fit.to_model(each, border=BLACK) for each in cut.skeletons),
            "object mask": masks(things, _ANY),
            "skater mask": masks(people, _ANY),
            "skater, exact": masks(cut.skaters, _HALF),
        }
        written: dict[str, Path] = {}
        for title, frames in pictures.items():
            if nodes_of(self.graph, title):
                written[title] = input_path(self.scratch, title)
                write_pictures(written[title], _pad(frames, len(cut.window)), self.info.fps, *self.fit.model)
        if self.reference is not None:
            written[REFERENCE] = self.scratch / "reference.png"
            write_png(written[REFERENCE], on_white(read_photo(self.reference), *self.fit.model))
        return written

    def _key(self, graph: Graph, inputs: dict[str, Path], count: int) -> str:
        """Return the SHA-256 of all that the server is given for a window, and that only."""
        files = {title: sha256_file(path) for title, path in inputs.items()}
        return graph_sha256(fill(graph, window_slots(files, padded_length(count), "")))

    def _run(self, graph: Graph, inputs: dict[str, Path], count: int, folder: Path) -> None:
        """Run one window on the server and put its pictures into `folder`: first the one pass, then the other."""
        length, passes = padded_length(count), 2 if self._two_passes else 1
        files = {
            # one set of names for all windows: the server's input folder does not grow with the clip
            title: self.comfy.upload(path, f"preserver_{self.job}_{path.name}")
            for title, path in inputs.items()
        }
        # the job id makes every run's results new files; a cached rerun would write none
        graph = fill(graph, window_slots(files, length, f"preserver/{self.job}"))
        output = find_output(graph)
        results = self.comfy.run(graph, output, self.listener)
        wanted = [one * length + index for one in range(passes) for index in range(count)]
        fetch, size = self.comfy.fetch, self.fit.model
        for _ in keep_pictures(fetch, output, results, passes * length, wanted, size, folder):
            pass  # read again when all of them are there

    def _read(self, folder: Path, index: int) -> Frame:
        return self.fit.to_source(read_png(folder / frame_name(index)))

    @property
    def _two_passes(self) -> bool:
        return has_two_passes(self.graph)


def _pad(pictures: Iterable[Frame], count: int) -> Iterator[Frame]:
    """Yield `count` pictures, then the last one again up to the next 4n+1."""
    picture: Frame | None = None
    for picture in pictures:
        yield picture
    if picture is not None:
        yield from (picture for _ in range(padded_length(count) - count))


def on_white(picture: Frame, width: int, height: int) -> Frame:
    """Return a picture in the middle of a white one of width x height px, as large as it goes: nothing is cropped."""
    fit = fit_into(picture.shape[1], picture.shape[0], width, height)
    return fit.to_model(picture, border=WHITE)
