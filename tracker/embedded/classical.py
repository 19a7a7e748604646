"""The embedded tracker's streaming core: one object, one frame at a time, no weights, no files.

    tracker = EmbeddedTracker()
    mask = tracker.start(frame, box)
    mask = tracker.step(next_frame)

Each pixel near the object gets log odds from its colour (the object's against its surroundings'), from its difference
to the remembered background, and from where optical flow carried the last mask; what came here with something else
that moves (a foot) speaks against. The sum is smoothed along the picture's edges and its outline settled on them.
The constants are this project's own measurement on its demo clip and on two real ones.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import UsageError
from handoff.masks import Mask, bounds
from handoff.places import Box
from handoff.threads import opencv_on_one_thread
from handoff.video import Frame
from tracker.embedded.cues import Background, ColourModel, shade_and_hue
from tracker.embedded.motion import Motion, best_shift
from tracker.embedded.outline import (
    Field,
    Window,
    cut_out,
    fill_holes,
    grow,
    grow_within,
    keep_parts,
    ring,
    settle_edge,
    signed_distance,
    snap_to_edges,
    window_around,
)

_DOUBT = 0.4  # log odds against everything: what nothing speaks for is not the object
_FAR = 3.0  # log odds against what is far from where the object was expected
_RIVAL_LIMIT = 2.5  # log odds against what came here with something that was not the object

_MIN_SHARE = 0.06  # of the prompt's area: less than this is lost
_RETURN_SHARE = 0.12  # of the prompt's area: what a lost object must show to be found again
_MAX_SHARE = 3.5  # of the prompt's area: more than this is not the object
_MAX_SHARE_AT_ONCE = 1.3  # of the prompt's area: growth up to this is never doubted
_MAX_GROWTH = 1.8  # of the last frames' area: more is mixed up with something else

_RING_PX = 14  # width of "around the object"
_RIVAL_REACH_PX = 48  # around the object: other things that move are watched in here
_BIRTH_PX = 7  # nearer to the object, what moves may be a missed part of it: no rival begins there
_GROWTH_STEPS = 8  # of 3 px: how far a side that turns into view may reach from what was found


class EmbeddedTracker:
    """One track. `lost` says whether the object was not found on the last frame."""

    def __init__(self) -> None:
        self.lost = False

    @opencv_on_one_thread()  # DIS cuts its work by thread, and so its result, to the last bit
    def start(self, frame: Frame, box: Box) -> Mask:
        """Mask (H, W) of the object in `box`, which lies inside the frame (H, W, 3) RGB."""
        return self.resume(frame, cut_out(frame, box))

    @opencv_on_one_thread()
    def resume(self, frame: Frame, mask: Mask) -> Mask:
        """Begin with the object's mask (H, W) on this frame; a copy of it. UsageError when it is empty."""
        box = bounds(mask)
        if box is None:
            raise UsageError("an empty mask does not say where the object is; begin on a frame where it has one.")
        look, mask = shade_and_hue(frame), mask.copy()
        self._frame, self._look, self._mask = frame, look, mask
        self._area = max(16, int(np.count_nonzero(mask)))
        self._recent_area = float(self._area)
        self._colours = ColourModel(look, mask, ring(mask, 1, _RING_PX))
        self._background = Background(look, grow(mask, 4))
        self._motion = Motion(look[..., 0])
        self._rival = np.full(mask.shape, -50.0, np.float32)
        self._speed, self._missing, self._last_box = np.zeros(2), 0, box
        return mask.copy()

    @opencv_on_one_thread()  # DIS cuts its work by thread, and so its result, to the last bit
    def step(self, frame: Frame) -> Mask:
        """Mask (H, W) of the object on the next frame; all False while it is lost."""
        self._frame, self._look = frame, shade_and_hue(frame)
        flow = self._motion.advance(self._look[..., 0])
        camera = self._motion.camera(flow, ~grow(self._mask, 6))
        if camera is not None:
            self._background.move(camera)
        mask = self._search() if self.lost else self._follow(flow)
        box = bounds(mask)
        if box is None or self._is_hidden(mask, box):
            self.lost, mask = True, np.zeros_like(mask)
            self._miss(mask)
        else:
            self.lost = False
            self._learn(mask, box, flow)
        return mask.copy()

    def _follow(self, flow: NDArray[np.float32]) -> Mask:
        reach = int(16 + 1.5 * np.abs(self._speed).max())
        expected = Box(*(np.array(self._last_box.as_list()) + np.tile(self._speed, 2)))
        window = window_around(expected, reach + 12, self._mask.shape)
        colour, difference = self._cues(window)
        colour = np.where(difference < -2.0, np.minimum(colour, 1.0), colour)  # it was there all along
        odds = np.asarray(colour + difference - _DOUBT, np.float32)
        distance = signed_distance(self._mask)
        nearness = np.maximum(
            self._motion.carry(distance, flow, window), best_shift(odds, distance, self._speed, window, reach)
        )
        rival = self._motion.carry(self._rival, flow, window)
        against = np.clip(1.0 + 0.5 * (rival - np.maximum(nearness, -6.0)), 0.0, _RIVAL_LIMIT)
        odds -= np.where(colour > 2.0, 0.0, against).astype(np.float32)  # a rival is of other colours

        limit = max(_MAX_GROWTH * self._recent_area, _MAX_SHARE_AT_ONCE * self._area)
        mask = self._decide(window, odds + _prior(nearness), difference)
        if np.count_nonzero(mask) > limit:
            return self._decide(window, odds + 3.0 * _prior(nearness), difference)
        # a side that turned into view: let it grow from what was found over whatever surely hides the background
        reachable = grow_within(mask[window], (difference > 1.6) & (odds > 0), _GROWTH_STEPS)
        if reachable.any():
            nearness = np.maximum(nearness, signed_distance(reachable))
            wider = self._decide(window, odds + _prior(nearness), difference)
            if np.count_nonzero(wider) <= limit:
                return wider
        return mask

    def _is_hidden(self, mask: Mask, box: Box) -> bool:
        """Whether what was found is of foreign colours and part of something larger that hides the background.

        A side that turns into view has foreign colours too, but the background shows around it.
        """
        window = window_around(box, 10, mask.shape)
        inside, (colour, difference) = mask[window], self._cues(window)
        around = ring(inside, 2, 8)
        strange = float(np.mean(difference[around] > 0.5)) if around.any() else 0.0
        return strange > 0.3 and float(np.mean(colour[inside] > 0.5)) < 0.25

    def _search(self) -> Mask:
        window = window_around(self._last_box, 24 + 10 * self._missing, self._mask.shape)
        colour, difference = self._cues(window, sure=True)
        mask = self._decide(window, colour + np.minimum(difference, 0.5) - 1.0, difference, share=0.2)
        inside = mask[window]
        found = np.count_nonzero(inside) >= _RETURN_SHARE * self._area and float(np.mean(colour[inside])) >= 1.5
        return mask if found else np.zeros_like(mask)

    def _cues(self, window: Window, sure: bool = False) -> tuple[Field, Field]:
        """Log odds in `window` by colour and by difference from the background."""
        colour = cv2.GaussianBlur(self._colours.odds(self._look[window], sure=sure), (3, 3), 0)
        return np.asarray(colour, np.float32), self._background.odds(self._look, window)

    def _decide(self, window: Window, odds: Field, difference: Field, share: float = 0.08) -> Mask:
        """The mask that log odds in `window` speak for; empty when it is too small or too large."""
        odds = np.clip(odds, -12.0, 12.0).astype(np.float32)
        soft = np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)
        soft = snap_to_edges(soft, self._look[window], radius=3, eps=20.0)
        inside = fill_holes(keep_parts(soft > 0.5, odds, share), difference, 12)
        inside = settle_edge(inside, self._frame[window])
        mask = np.zeros(self._mask.shape, bool)
        if _MIN_SHARE * self._area <= np.count_nonzero(inside) <= _MAX_SHARE * self._area:
            mask[window] = inside
        return mask

    def _miss(self, mask: Mask) -> None:
        self._background.learn(self._look, ~grow(self._mask, 6))
        self._missing, self._mask = self._missing + 1, mask
        self._rival[:] = -50.0

    def _learn(self, mask: Mask, box: Box, flow: NDArray[np.float32]) -> None:
        if self._missing == 0:
            moved = np.subtract(box.as_list(), self._last_box.as_list()).reshape(2, 2).mean(0)
            self._speed = 0.5 * self._speed + 0.5 * moved
        else:
            self._speed = np.zeros(2)
        area = float(np.count_nonzero(mask))
        self._recent_area += 0.5 * (max(area, 0.35 * self._area) - self._recent_area)
        self._missing, self._last_box, self._mask = 0, box, mask

        window = window_around(box, _RIVAL_REACH_PX, mask.shape)
        look, inside = self._look[window], mask[window]
        difference = self._background.odds(self._look, window)
        evidence = self._colours.odds(look) + difference
        inner = cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0
        self._colours.learn(look, inner & (evidence > 0), ring(inside, 2, _RING_PX), 0.08)

        old = (self._motion.carry(self._rival, flow, window) > -3) | (signed_distance(inside) < -_BIRTH_PX)
        self._rival = _rival_field(mask.shape, window, (difference > 0.5) & (evidence < 3.0) & ~inside & old)
        moving = self._background.learn(self._look, ~grow(mask, 5)) & ~grow(mask, 8)
        self._colours.learn_others(self._look[::2, ::2], moving[::2, ::2])


def _rival_field(shape: tuple[int, ...], window: Window, moving: Mask) -> Field:
    """Signed distance (H, W) to what moves near the object without being it; -50 far from any."""
    field = np.full(shape, -50.0, np.float32)
    solid = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5))) > 0
    if solid.any():
        field[window] = signed_distance(np.asarray(solid))
    return field


def _prior(nearness: Field) -> Field:
    """Log odds from the signed distance (px) to where the mask was expected: up to 1.5 inside, down to -3 outside."""
    outside = np.maximum(-nearness, 0)
    inside = np.minimum(0.35 * np.maximum(nearness, 0), 1.5)
    return np.asarray(inside - np.minimum(0.3 * outside + 0.03 * outside**2, _FAR), np.float32)
