"""What the witnesses say of a mask, frame by frame, and what comes of it for the clip.

`Witnesses` is fed a mask a frame, in order, and concludes with a `Standing`. Memory: some numbers a frame.

Of a frame each witness says that the mask is right (1), that it is wrong (-1), neither (0) or nothing (None):
`detector_says`, `person_says`, `cycle_says`. Then, in this order:

    _heard          a word against the mask counts where most that this witness says around is against it too: single
                    frames are its own mistakes, a blurred detection or a limb in the way
    _with_lasting   a bad fit or a mask to one side of the detection is a word against it where it lasts
    _outweighed     where the detector is for the mask, the cycle's word against it does not count
    _together       what the three words come to
    _filled         a silence between contradicted frames is contradicted with them: a short one, or of one mask

The rules in words are in docs/how-it-works/witnesses.md, the measurement of the thresholds in docs/measurements.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from handoff.command import spans_of, spans_text
from handoff.detections.coco import CLASSES, PERSON, class_number
from handoff.detections.samples import DETECTIONS, read_detections_header, read_samples
from handoff.errors import InputError
from handoff.jsonfile import LINE, listing, number, one_of, or_null, record, truth, whole
from handoff.masks import Mask, bounds
from handoff.places import Box, Place, Prompt, place_shape, read_prompts
from handoff.run import Run
from handoff.video import ClipInfo
from tracker.quality import DOUBTFUL
from tracker.witness.body import ENOUGH, PersonWitness
from tracker.witness.detector import LOOK_BACK_S, Side, Sighting, compare, find_sightings, object_class

Word = Literal["confirmed", "unconfirmed", "contradicted"]
Says = Literal["for", "against"]

FOR_IOU, FOR_INSIDE = 0.6, 0.8  # box IoU, and share of the mask in the detection, from which the detector is for it
SURELY_IOU, SURELY_INSIDE = 0.7, 0.9  # and from which it outweighs the person: a board that is carried lies on him
INSIDE = 0.7  # of the mask in the detection's box: the detector is against less
IOU, MOSTLY = 0.5, 0.85  # and against a box IoU under IOU where less than MOSTLY is inside: all of it is hidden in part
LOOSE_IOU = 0.65  # under it a mask that is not mostly inside fits badly
ABOVE_FEET = 1 / 3  # of the mask: so much of a board is not on the skater above his feet
LEG, FOLLOWS = 0.75, 0.4  # of a leg's length in the mask, and of the mask on the skater: the mask is the leg
SHOES = 0.5  # of the skater's shoes in the mask: nothing speaks for what is said to lie under them
SAME = 0.8  # IoU of the two tracks from which tracking back is for the mask

STOOD_ON = frozenset(map(class_number, ("skateboard", "snowboard", "surfboard", "skis")))
"""Objects under the feet. What is thrown, hit or juggled may lie before the body, and then on the skater."""

_AROUND_S = 0.17  # seconds before and after a frame that are asked with it, and two samples at least
_FEW = 3  # frames that may be contradicted whatever the share
_SHARE = 0.1  # of the frames in which a witness spoke: from here on the clip's mask is contradicted
_STRETCH_S = 1.0  # and so it is where all of a stretch so long is
_CONFIRMED = 1 / 3  # of the frames with an object in which a witness must speak for the mask
_LASTS_S, _LASTS, _LASTS_SHARE = 1.0, 12, 2 / 3  # seconds before and after, detections in them, and share of them
_GAP_S = 0.5  # between two contradicted frames: so long a silence is contradicted with them, LOOK_BACK_S of one mask
_MARGIN = 0.03  # of a box's longer side: the detector cuts off ends


@dataclass(frozen=True)
class FrameWitness:
    """What was seen in one frame; None: that witness did not speak.

    box_iou: of the mask's bounds and the object's detection. inside: the share of the mask in that detection's box.
    seen_where_empty: whether the object is surely in sight where the mask is empty. on_person: the share of the mask on
    the skater. above_feet: of the mask on him, above his feet. leg: of one leg's length in the mask. shoes: of his
    shoes in the mask. cycle_iou: of the two tracks (--verify). says: what comes of it, None where it is neither.
    """

    frame: int
    box_iou: float | None = None
    inside: float | None = None
    seen_where_empty: bool | None = None
    on_person: float | None = None
    above_feet: float | None = None
    leg: float | None = None
    shoes: float | None = None
    cycle_iou: float | None = None
    says: Says | None = None


@dataclass(frozen=True)
class Standing:
    """How a mask stands with the witnesses.

    contradicted: the frames that are, ascending; a few do not make the clip's word. spoke: frames in which any witness
    spoke. sentence: all of it in one, with the figures of the first frame. correction: where the detector sees the
    object in the first such frame that has no place of its own. seen: frames with an object in the mask. second: how
    many frames that is.
    """

    word: Word = "unconfirmed"
    contradicted: tuple[int, ...] = ()
    spoke: int = 0
    frames: tuple[FrameWitness, ...] = ()
    sentence: str = "the mask is unconfirmed: no witness spoke"
    correction: Place | None = None
    seen: int = 0
    second: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it for a report."""
        return {
            "word": self.word,
            "sentence": self.sentence,
            "contradicted": list(self.contradicted),
            "spoke": self.spoke,
            "seen": self.seen,
            "second": self.second,
            "correction": self.correction.as_json() if self.correction else None,
            "frames": [asdict(each) for each in self.frames],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Standing:
        """The opposite of `as_json`, for a record of the shape `STANDING`.

        The word is ruled again of the frames; InputError where the record has another one, or other frames for it.
        """
        frames = tuple(FrameWitness(**{key: each[key] for key in _FRAME_KEYS}) for each in found["frames"])
        correction = Place.from_json(found["correction"]) if found["correction"] else None
        spoke, seen, second = found["spoke"], found["seen"], found["second"]
        contradicted, word = _ruled(frames, spoke, seen, second)
        if (word, list(contradicted)) != (found["word"], found["contradicted"]):
            raise InputError(f"the mask is called {found['word']}, and by its frames it is {word}")
        return cls(word, contradicted, spoke, frames, found["sentence"], correction, seen, second)


_FRAME_KEYS = tuple(each.name for each in dataclasses.fields(FrameWitness))
_SHARE_OF = or_null(number(0, 1))
STANDING = record(
    {
        "word": one_of("confirmed", "unconfirmed", "contradicted"),
        "sentence": LINE,
        "contradicted": listing(whole(0)),
        "spoke": whole(0),
        "seen": whole(0),
        "second": number(0),
        "correction": or_null(place_shape),
        "frames": listing(
            record(
                dict.fromkeys(("box_iou", "inside", "on_person", "above_feet", "leg", "shoes", "cycle_iou"), _SHARE_OF)
                | {"frame": whole(0), "seen_where_empty": or_null(truth), "says": or_null(one_of("for", "against"))}
            )
        ),
    }
)


class Witnesses:
    """Hears the witnesses of a run about a mask of its clip, frame by frame from the first on.

    cycle: the IoU of the two tracks, by frame (--verify). prompt: where the object is, else what prompts.json says.
    Raises InputError for files of another clip.
    """

    def __init__(
        self, run: Run, info: ClipInfo, cycle: Mapping[int, float] | None = None, prompt: Prompt | None = None
    ) -> None:
        self._info, self._cycle = info, cycle or {}
        self._prompt = prompt or read_prompts(run).get("object")
        self.label, self._every, self._sightings = _sightings(run, info, self._prompt)
        self._person = PersonWitness(run)
        self._frames: list[FrameWitness] = []
        self._slid: list[Side | None] = []
        self._bounds: Box | None = None  # of the last mask
        self._goes_on: list[bool] = []  # whether a mask overlaps, by its bounds, the one before
        self._seen = 0  # frames with a mask

    @staticmethod
    def files(run: Run) -> tuple[Path, ...]:
        """Return the files of a run that the witnesses read, but for prompts.json."""
        detections = run.path(DETECTIONS)
        return (*([detections] if detections.exists() else []), *PersonWitness.files(run))

    def feed(self, frame: int, mask: Mask) -> FrameWitness:
        """Hear the witnesses about the mask (H, W) bool of the next frame; return what they saw."""
        on = self._person.feed(mask)
        sighting = self._sightings.get(frame)
        held = compare(mask, sighting) if sighting else None
        box = bounds(mask)
        self._seen += box is not None
        self._goes_on.append(box is not None and self._bounds is not None and box.iou(self._bounds) > 0)
        self._bounds = box
        found = FrameWitness(
            frame,
            held.box_iou if held else None,
            held.inside if held else None,
            held.seen_where_empty if held else None,
            on.share,
            on.above_feet,
            on.leg,
            on.shoes,
            self._cycle.get(frame),
        )
        self._frames.append(found)
        self._slid.append(held.slid if held else None)
        return found

    def sighting(self, frame: int) -> Sighting | None:
        """Return where the detector sees the object in a frame, None where it does not."""
        return self._sightings.get(frame)

    def conclude(self) -> Standing:
        """Return how the mask stands after the frames that were fed."""
        reach = max(2 * self._every, round(_AROUND_S * self._info.fps))
        rules = (detector_says, lambda each: person_says(each, self.label), cycle_says)
        words = [_heard([rule(each) for each in self._frames], reach) for rule in rules]
        words[0] = self._with_lasting(words[0])
        words[2] = _outweighed(words[2], words[0], reach)
        said = [_together(each, self.label, *three) for each, *three in zip(self._frames, *words, strict=True)]
        said = _filled(said, self._goes_on, *(round(each * self._info.fps) for each in (_GAP_S, LOOK_BACK_S)))
        frames = tuple(dataclasses.replace(each, says=one) for each, one in zip(self._frames, said, strict=True))
        spoke = sum(
            each.says == "against" or any(one is not None for one in all_words)
            for each, *all_words in zip(frames, *words, strict=True)
        )
        second = float(self._info.fps)
        contradicted, word = _ruled(frames, spoke, self._seen, second)
        sentence = self._sentence(word, frames, [sum(each == -1 for each in one) for one in words], spoke)
        correction = self._correction(contradicted)
        return Standing(word, contradicted, spoke, frames, sentence, correction, self._seen, second)

    def _with_lasting(self, words: Sequence[int | None]) -> list[int | None]:
        """Return the detector's words, with those that only count because they last: a mask that fits its box badly,
        or lies to one side of it, in most of what the detector says for about two seconds.
        """
        heard, reach = list(words), round(_LASTS_S * self._info.fps)
        said = _around([each.box_iou is not None for each in self._frames], reach)
        kinds = [[_fits_badly(each) for each in self._frames]]
        kinds += [[slid == side for slid in self._slid] for side in get_args(Side)]
        for bad in kinds:
            lasting = (said >= _LASTS * self._every) & (_around(bad, reach) >= _LASTS_SHARE * said)
            for index in np.flatnonzero(np.array(bad, bool) & lasting):
                heard[index] = -1
        return heard

    def _sentence(self, word: Word, frames: Sequence[FrameWitness], against: Sequence[int], spoke: int) -> str:
        doubted = [each for each in frames if each.says == "against"]
        agreed = sum(each.says == "for" for each in frames)
        name = "object" if self.label is None else CLASSES[self.label]
        reasons = (f"the detector sees the {name} elsewhere", "it lies on the skater", "tracking back parts from it")
        why = ", ".join(f"{reason} in {count}" for reason, count in zip(reasons, against, strict=True) if count)
        if word == "contradicted":
            first = doubted[0]
            return (
                f"the mask is contradicted in {len(doubted)} of {spoke} frames in which a witness speaks ({why}); "
                f"first: {first.frame} ({figures_of(first)})"
            )
        known = f"in {agreed} of {self._seen} frames that show an object"
        more = f"; doubted in {spans_text(spans_of(each.frame for each in doubted), 6)}" if doubted else ""
        if word == "confirmed":
            return f"the mask is confirmed {known}{more}"
        shod = sum(_holds_shoes(each, self.label) for each in frames)
        silent = [
            said
            for said, there in (
                (f"the detector never sees the {name}" if self.label is not None else "", not self._sightings),
                ("no detections of its class", self.label is None),
                ("not tracked back", not self._cycle),
                (f"half of the skater's shoes lie in it in {shod}", shod > 0),
            )
            if there and said
        ]
        return f"the mask is unconfirmed: witnesses speak for it {known}{more} ({', '.join(silent) or 'too few'})"

    def _correction(self, contradicted: Sequence[int]) -> Place | None:
        """Return the object's box, with a margin, in the first contradicted frame that has no place yet."""
        taken = {place.frame for place in self._prompt.places} if self._prompt else set()
        for frame in contradicted:
            seen = self._sightings.get(frame)
            box = seen.box.grown(_MARGIN * seen.box.longer_side) if seen else None
            box = Box(*box.rounded_out()).clipped(self._info.width, self._info.height) if box else None
            if box is not None and frame not in taken:
                return Place(frame, box)
        return None


def _ruled(frames: Sequence[FrameWitness], spoke: int, seen: int, second: float) -> tuple[tuple[int, ...], Word]:
    """Return the contradicted frames, and the clip's word: of so many frames, or of so long a stretch of them."""
    contradicted = tuple(each.frame for each in frames if each.says == "against")
    longest = max((last - first + 1 for first, last in spans_of(contradicted)), default=0)
    if len(contradicted) >= _FEW and (len(contradicted) >= _SHARE * spoke or longest >= _STRETCH_S * second):
        return contradicted, "contradicted"
    agreed = sum(each.says == "for" for each in frames)
    return contradicted, "confirmed" if agreed and agreed >= _CONFIRMED * seen else "unconfirmed"


def _sightings(run: Run, info: ClipInfo, prompt: Prompt | None) -> tuple[int | None, int, dict[int, Sighting]]:
    """Return the object's class, how many frames apart the detector looked, and where it saw the object."""
    path = run.path(DETECTIONS)
    if not path.exists() or prompt is None:
        return None, 1, {}
    header = read_detections_header(path)
    if not header.is_of(info):
        raise InputError(f"{path} is of another clip; run the pose stage again with --force.")
    label = object_class(prompt, read_samples(path), header.every)
    if label is None:
        return None, header.every, {}
    samples = read_samples(path, [label, PERSON])
    return label, header.every, find_sightings(samples, label, prompt.places, info.fps, header.every)


def detector_says(found: FrameWitness) -> int | None:
    """Return 1 for the mask, -1 against it, 0 for neither; None where the detector does not see the object."""
    if found.seen_where_empty is not None:
        return -1 if found.seen_where_empty else 0
    if found.box_iou is None or found.inside is None:
        return None
    if found.inside < INSIDE or (found.box_iou < IOU and found.inside < MOSTLY):
        return -1
    return 1 if found.box_iou >= FOR_IOU and found.inside >= FOR_INSIDE else 0


def person_says(found: FrameWitness, label: int | None) -> int | None:
    """Return -1 against the mask, 0 where nothing is against it; None where the skater is not known. Never for it.

    label: the object's class.
    """
    if found.on_person is None or (found.on_person >= ENOUGH and found.leg is None and found.above_feet is None):
        return None
    follows = (found.leg or 0.0) >= LEG and found.on_person >= FOLLOWS
    return -1 if follows or (label in STOOD_ON and (found.above_feet or 0.0) >= ABOVE_FEET) else 0


def cycle_says(found: FrameWitness) -> int | None:
    """Return 1 for the mask, -1 against it, 0 for neither; None where the frame was not tracked back."""
    if found.cycle_iou is None:
        return None
    return -1 if found.cycle_iou < DOUBTFUL else int(found.cycle_iou >= SAME)


def _fits_badly(found: FrameWitness) -> bool:
    """Say whether the mask's box is much smaller than the detection, or a good part of it lies outside."""
    if found.box_iou is None or found.inside is None:
        return False
    return found.box_iou < IOU or (found.box_iou < LOOSE_IOU and found.inside < MOSTLY)


def _heard(words: Sequence[int | None], reach: int) -> list[int | None]:
    """Return one witness's words with a word against a frame left out (0) where it stands alone.

    It counts where more than half of what the witness says within `reach` frames is against the mask, of _FEW words
    at least.
    """
    said = _around([word is not None for word in words], reach)
    bad = _around([word == -1 for word in words], reach)
    alone = (said < _FEW) | (2 * bad <= said)
    return [0 if word == -1 and lone else word for word, lone in zip(words, alone, strict=True)]


def _around(flags: Sequence[bool], reach: int) -> NDArray[np.int64]:
    """Return for each frame how many within `reach` frames of it, before and after, have a flag."""
    sums = np.cumsum([0, *flags])
    frames = np.arange(len(flags))
    return np.asarray(sums[np.minimum(len(flags), frames + reach + 1)] - sums[np.maximum(0, frames - reach)])


def _outweighed(cycle: Sequence[int | None], detector: Sequence[int | None], reach: int) -> list[int | None]:
    """Return the cycle's words without those against frames where all that the detector says around is for the mask.

    A second track that has gone astray does not come back where the first one was right.
    """
    agreed = _around([word == 1 for word in detector], reach)
    said = _around([word is not None for word in detector], reach)
    outweighed = (agreed > 0) & (agreed == said)
    return [0 if word == -1 and over else word for word, over in zip(cycle, outweighed, strict=True)]


def _holds_shoes(found: FrameWitness, label: int | None) -> bool:
    """Say whether the mask of a thing to stand on holds half of the shoes: the detector's box holds them too, and a
    second track follows them as well.
    """
    return label in STOOD_ON and (found.shoes or 0.0) >= SHOES


def _together(
    found: FrameWitness, label: int | None, detector: int | None, person: int | None, cycle: int | None
) -> Says | None:
    """Return what three words on one frame come to."""
    surely = (found.box_iou or 0.0) >= SURELY_IOU and (found.inside or 0.0) >= SURELY_INSIDE
    if detector == -1 or (person == -1 and not surely):
        return "against"
    if detector == 1 or cycle == 1:
        return None if _holds_shoes(found, label) else "for"
    return "against" if cycle == -1 else None


def _filled(says: Sequence[Says | None], goes_on: Sequence[bool], short: int, long: int) -> list[Says | None]:
    """Return what is said of the frames, with silences between contradicted ones contradicted too.

    goes_on: whether a frame's mask goes on from the one before. short: frames of any silence. long: of one through
    which one mask goes on: the detector missed, and what was wrong before and is wrong after was followed in between.
    A silence in which anything speaks for the mask is none.
    """
    filled = list(says)
    last = None
    for index, word in enumerate(says):
        if word == "against":
            if last is not None and index - last - 1 <= (long if all(goes_on[last + 1 : index + 1]) else short):
                filled[last + 1 : index] = ["against"] * (index - last - 1)
            last = index
        elif word == "for":
            last = None
    return filled


def figures_of(found: FrameWitness) -> str:
    """Say what was seen in a frame."""
    said = []
    if found.seen_where_empty:
        said.append("the object is seen where the mask is empty")
    for name, value in (
        ("box IoU", found.box_iou),
        ("inside the detection", found.inside),
        ("on the skater", found.on_person),
        ("above his feet", found.above_feet),
        ("tracked back", found.cycle_iou),
    ):
        if value is not None:
            said.append(f"{name} {value:.2f}")
    return ", ".join(said)
