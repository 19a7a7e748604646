"""The streaming core: prompts in, logits of every frame out, in memory that does not grow with the clip.

`Sam2Session` is the whole, `exclusive_masks` makes masks of its logits that never share a pixel. Below them is what a
session is made of: `ObjectTrack`, one object in one upstream state, stepped frame by frame.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.places import Box
from tracker.sam2.frames import FrameSource, LazyFrames
from tracker.sam2.memory import LogitSpool, Reach, lazy_state, prune, reach_of
from tracker.sam2.predictor import Predictor, State, fast_numerics, weights_cast_once


class TrackedFrame(NamedTuple):
    """One frame of all objects."""

    frame_index: int
    logits: dict[int, NDArray[np.float32]]  # object to (H, W), above 0 on it; see `exclusive_masks`
    scores: dict[int, float]  # object to the logit of "it is in this frame": at most 0 where it is absent or hidden


class Sam2Session:
    """Track objects through the frames of one shot.

        with Sam2Session(predictor, ClipFrames(path, info), spool_dir=run.dir) as session:
            session.add_prompt(20, 1, box=Box(120, 200, 260, 240))
            session.add_prompt(50, 1, box=Box(310, 190, 420, 230))    # a correction
            session.add_prompt(20, 2, box=..., points=[(200, 90)], labels=[1])
            for frame_index, logits, scores in session.propagate():
                masks = exclusive_masks(logits)

    On the CPU an object's logits are, bit for bit, those of upstream's predictor with the same prompts, propagated
    forward from its first prompt and then backward. Each object has a state of its own, so they do not depend on what
    else is tracked and every object starts at its own prompt; image features are computed once a frame for all.
    """

    def __init__(self, predictor: Predictor, source: FrameSource, *, spool_dir: Path) -> None:
        """`spool_dir`: a folder on a disk (not in memory) for what lies before a prompt; see `LogitSpool`."""
        self._predictor, self._source, self._spool_dir = predictor, source, spool_dir
        self._images = LazyFrames(source, predictor.image_size, predictor.device)
        self._reach = reach_of(predictor)
        self._states: dict[int, State] = {}
        self._firsts: dict[int, int] = {}
        self._features: object = {}
        self._started = False
        self._begin, self._next = 0, 0  # the first frame that is yielded, and the one that comes next
        self._settled = 0  # see `is_settled`

    def __enter__(self) -> Sam2Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding ahead and forget everything."""
        self._images.close()
        self._states.clear()
        self._features = {}

    def add_prompt(
        self,
        frame: int,
        obj_id: int,
        *,
        box: Box | None = None,
        points: Sequence[tuple[float, float]] | None = None,
        labels: Sequence[int] | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Say where an object is on a frame: a box, points (x, y) px with labels (1 on it, 0 beside it), both, or a
        mask (H, W). More prompts for the same object on other frames are corrections; all come before `propagate`.

        Raises InputError for a frame that is not there; UsageError for a prompt that says nothing, or too late.
        """
        if self._started:
            raise UsageError("prompts come before propagate(); begin a new session to correct the result.")
        if not 0 <= frame < len(self._source):
            raise InputError(
                f"frame {frame} is not there: there are {len(self._source)} frames, 0 to {len(self._source) - 1}."
            )
        if (points is None) != (labels is None) or (points is not None and len(points) != len(labels or ())):
            raise UsageError("every point needs a label: 1 on the object, 0 beside it.")
        if (mask is None) == (box is None and not points):
            raise UsageError("a prompt is a box, points, or both, or else a mask.")
        state = self._states.get(obj_id)
        if state is None:
            state = lazy_state(self._predictor, self._images, self._source.width, self._source.height)
            self._states[obj_id] = state
        first = self._firsts[obj_id] = min(frame, self._firsts.get(obj_id, frame))
        self._settled = max(self._settled, frame + 1, first + self._reach.pointers if first else 0)
        with self._model(state):
            if mask is not None:
                self._predictor.add_new_mask(state, frame_idx=frame, obj_id=obj_id, mask=torch.from_numpy(mask))
            else:
                corners = None if box is None else np.array(box.as_list(), np.float32)
                coordinates = np.array(points, np.float32).reshape(-1, 2) if points else None
                self._predictor.add_new_points_or_box(
                    state,
                    frame_idx=frame,
                    obj_id=obj_id,
                    box=corners,
                    points=coordinates,
                    labels=np.array(labels, np.int32) if points else None,
                )

    @property
    def is_settled(self) -> bool:
        """Whether no frame up to the one that was yielded last hangs on one behind it, and the state has all else.

        A track backward attends to frames behind the first prompt, and each frame to all prompts, those to come too.
        """
        return self._next >= self._settled

    def freeze(self) -> bytes:
        """Return the state behind the frame that was yielded last, where it `is_settled`."""
        kept = {obj_id: state["output_dict_per_obj"][0] for obj_id, state in self._states.items()}
        file = io.BytesIO()
        torch.save({"firsts": self._firsts, "outputs": kept}, file)
        return file.getvalue()

    def thaw(self, state: bytes, begin: int) -> None:
        """Take a frozen state, in place of prompts; `propagate` goes on with frame `begin` then."""
        found = torch.load(io.BytesIO(state), map_location=self._predictor.device, weights_only=True)
        self._firsts, self._begin, self._settled = found["firsts"], begin, begin
        for obj_id, outputs in found["outputs"].items():
            made = lazy_state(self._predictor, self._images, self._source.width, self._source.height)
            made |= {"obj_id_to_idx": {obj_id: 0}, "obj_idx_to_id": {0: obj_id}, "obj_ids": [obj_id]}
            made["output_dict_per_obj"][0] = outputs
            made["temp_output_dict_per_obj"][0] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
            made["frames_tracked_per_obj"][0] = {}
            self._states[obj_id] = made

    def propagate(self) -> Iterator[TrackedFrame]:
        """Yield every frame, 0 to n-1, each exactly once, with all objects. Once a session."""
        if not self._states or self._started:
            raise UsageError("propagate() runs once, after at least one add_prompt().")
        self._started = True
        count = len(self._source)
        tracks = {
            obj_id: ObjectTrack(self._predictor, state, self._reach, self._firsts[obj_id], count, self._begin)
            for obj_id, state in self._states.items()
        }
        with contextlib.ExitStack() as stack:
            stack.enter_context(weights_cast_once())
            spools = {
                obj_id: stack.enter_context(
                    contextlib.closing(LogitSpool(self._spool_dir, self._predictor.image_size // 4))
                )
                for obj_id, track in tracks.items()
                if track.first > 0
            }
            if not self._begin:
                self._track_up_to_the_prompts(tracks, spools)
            for index in range(self._begin, count):
                self._next = index + 1
                frame = TrackedFrame(index, {}, {})
                for obj_id, track in tracks.items():
                    if index < track.first or index in track.head:
                        small, frame.scores[obj_id] = spools[obj_id].get(index)
                        frame.logits[obj_id] = track.resized(small)
                    else:
                        with self._model(self._states[obj_id]):
                            frame.logits[obj_id], _, frame.scores[obj_id] = track.forward()
                yield frame

    def _track_up_to_the_prompts(self, tracks: dict[int, ObjectTrack], spools: dict[int, LogitSpool]) -> None:
        """Track every object's head and then back to frame 0, into the spools; frames in common are done together."""
        for index in sorted({index for track in tracks.values() for index in track.head}):
            for obj_id, track in tracks.items():
                if index in track.head:
                    with self._model(self._states[obj_id]):
                        step = track.forward()
                    spools[obj_id].put(index, as_array(step.small), step.score)
        before = max(track.first for track in tracks.values())
        for index in progress(range(before - 1, -1, -1), total=before, desc="back from the prompt"):
            for obj_id, track in tracks.items():
                if index < track.first:
                    with self._model(self._states[obj_id]):
                        step = track.backward()
                    spools[obj_id].put(index, as_array(step.small), step.score)

    @contextlib.contextmanager
    def _model(self, state: State) -> Iterator[None]:
        """Run the model on a state, with the features of the newest frame, whichever object they were made for."""
        state["cached_features"] = self._features
        with fast_numerics(torch.device(self._predictor.device)):
            yield
        self._features = state["cached_features"]
        state["cached_features"] = {}


def exclusive_masks(logits: Mapping[int, NDArray[np.float32]]) -> dict[int, NDArray[np.bool_]]:
    """{object: logits (H, W) float32} to {object: mask (H, W) bool}.

    A pixel belongs to the object with the highest logit there, if that is above 0; of two equal ones to the earlier
    in the mapping. The rule of upstream's non_overlap_masks (sam2_base.py, _apply_non_overlapping_constraints).
    """
    masks: dict[int, NDArray[np.bool_]] = {}
    best: NDArray[np.float32] | None = None
    for identity, values in logits.items():
        mask = values > 0
        if best is None:
            best = values
        else:
            wins = values > best
            mask &= wins
            for earlier in masks.values():
                earlier &= ~wins
            best = np.maximum(best, values)
        masks[identity] = mask
    return masks


class Step(NamedTuple):
    """One frame of one object."""

    logits: NDArray[np.float32]  # (H, W), of the clip's size
    small: torch.Tensor  # (S/4, S/4) on the model's device: what the model gave
    score: float  # logit of "the object is in this frame"


class ObjectTrack:
    """The passes over one object. Each call of `forward` or `backward` does the next frame of that pass.

    The order of a whole clip is `forward` over the head (the frames a backward pass attends to), `backward` to 0, then
    `forward` to the end: the logits are those of upstream's forward pass followed by its backward pass, because no
    frame after the head attends to anything that the backward pass writes.
    """

    def __init__(
        self, predictor: Predictor, state: State, reach: Reach, first: int, frames: int, begin: int = 0
    ) -> None:
        """begin: the frame that a thawed state goes on with; 0 for a track from its prompts."""
        self.first = first  # the earliest frame with a prompt
        self._begin = begin
        self._predictor, self._state, self._reach = predictor, state, reach
        self._frames = frames
        self._next_forward: int | None = begin or first
        self._next_backward: int | None = first - 1 if first > 0 and not begin else None
        self._passes: dict[bool, Iterator[tuple[int, list[int], Any]]] = {}

    @property
    def head(self) -> range:
        """The frames that must be tracked forward before the backward pass; empty where there is no such pass."""
        if self.first == 0 or self._begin:
            return range(0)
        return range(self.first, min(self.first + self._reach.pointers, self._frames))

    def forward(self) -> Step:
        """Track the next frame of the forward pass."""
        index, logits = self._advance(reverse=False)
        step = self._step(index, logits)
        self._next_forward = index + 1 if index + 1 < self._frames else None
        self._prune()
        return step

    def backward(self) -> Step:
        """Track the next frame of the backward pass, which begins at first - 1."""
        if True not in self._passes:
            self._advance(reverse=True)  # upstream gives the prompt frame once more
        index, logits = self._advance(reverse=True)
        step = self._step(index, logits)
        self._next_backward = index - 1 if index > 0 else None
        self._prune()
        return step

    def resized(self, small: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (S/4, S/4) as the model gave them to (H, W) of the clip, the way upstream does it."""
        with torch.inference_mode():
            values = torch.from_numpy(small)[None, None].to(self._state["device"])
            return as_array(self._predictor._get_orig_video_res_output(self._state, values)[1][0, 0])

    def _advance(self, *, reverse: bool) -> tuple[int, Any]:
        if reverse not in self._passes:
            self._passes[reverse] = self._predictor.propagate_in_video(
                self._state, start_frame_idx=self._begin or self.first, reverse=reverse
            )
        index, _, logits = next(self._passes[reverse])
        return index, logits[0, 0]

    def _step(self, index: int, logits: torch.Tensor) -> Step:
        outputs = self._state["output_dict_per_obj"][0]
        output = outputs["cond_frame_outputs"].get(index) or outputs["non_cond_frame_outputs"][index]
        return Step(as_array(logits), output["pred_masks"][0, 0], float(output["object_score_logits"].float().item()))

    def _prune(self) -> None:
        prune(self._state, self._reach, self._next_forward, self._next_backward)


def as_array(values: torch.Tensor) -> NDArray[np.float32]:
    """A tensor of logits as a float32 array in memory."""
    return np.asarray(values.float().cpu().numpy(), np.float32)
