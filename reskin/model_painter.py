"""Paint with a generative model, window by window: Wan 2.1 VACE, or any template with slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from reskin.sharing import WindowOrder
from reskin.windows import padded_length
from reskin.workflow import REFERENCE, SEED, Graph, fill, graph_sha256, has_two_passes, nodes_of, window_slots

_ANY, _HALF = 0.0, 0.5
"""How much of a px of the model's picture must be in a mask: any of it, or half."""


@dataclass
class VacePainter:
    """A `WindowPainter` for templates with a model.

    graph: filled but for `window_slots`. seeds: of each window. grow_px: px of the source.
    """

    graph: Graph
    seeds: Sequence[int]
    info: ClipInfo
    fit: Fit
    grow_px: int
    reference: Path | None

    def prepare(self, cut: WindowFrames, folder: Path) -> WindowOrder:
        """Write the window's inputs into `folder`, at the model's size and 4n+1 frames long."""
        inputs, count = self._write_inputs(cut, folder), len(cut.window)
        graph = fill(self.graph, {SEED: self.seeds[cut.window.index]})
        files = {title: sha256_file(path) for title, path in inputs.items()}
        key = graph_sha256(fill(graph, window_slots(files, padded_length(count), "")))
        return WindowOrder(cut.window, count * self._passes, key, inputs, graph)

    def _write_inputs(self, cut: WindowFrames, folder: Path) -> dict[str, Path]:
        """Write what the template has a slot for; return title -> file."""
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
                written[title] = input_path(folder, title)
                write_pictures(written[title], _pad(frames, len(cut.window)), self.info.fps, *self.fit.model)
        if self.reference is not None:
            written[REFERENCE] = folder / "reference.png"
            write_png(written[REFERENCE], on_white(read_photo(self.reference), *self.fit.model))
        return written

    def paint(self, order: WindowOrder, comfy: ComfyOrchestrator, folder: Path, listener: Listener) -> None:
        """Run one window on the server and put its pictures into `folder`: first the one pass, then the other."""
        count = len(order.window)
        length = padded_length(count)
        files = {
            # one set of names for all windows: the server's input folder does not grow with the clip
            title: comfy.upload(path, f"preserver_{comfy.client_id}_{path.name}")
            for title, path in order.inputs.items()
        }
        # the client's id makes every run's results new files; a cached rerun would write none
        graph = fill(order.graph, window_slots(files, length, f"preserver/{comfy.client_id}"))
        output = find_output(graph)
        results = comfy.run(graph, output, listener)
        wanted = [one * length + index for one in range(self._passes) for index in range(count)]
        size = self.fit.model
        for _ in keep_pictures(comfy.fetch, output, results, self._passes * length, wanted, size, folder):
            pass  # read again when all of them are there

    def layers(self, folder: Path, frames: int) -> Iterator[Layers]:
        """Yield the window's layers at the clip's size."""
        for index in range(frames):
            first = self._read(folder, index)
            yield Layers(self._read(folder, frames + index), first) if self._passes == 2 else Layers(first, first)

    def _read(self, folder: Path, index: int) -> Frame:
        return self.fit.to_source(read_png(folder / frame_name(index)))

    @property
    def _passes(self) -> int:
        return 2 if has_two_passes(self.graph) else 1


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
