"""takes.json, which the loop "paint until it passes" writes beside a reskin's clip: read, checked, and told.

A run may come from anybody, so nothing in it is believed before it was looked at, and it decides nothing. A round of it
is told of a clip only where it has judged the very bytes of that clip. `Attempts.read` is the door; what a report has
of it is `Attempts.told`, and as sentences `attempt_lines`; takechart.py draws it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluator.gate import FrameScore
from handoff.command import spans_of, spans_text
from handoff.jsonfile import (
    LINE,
    SHA256,
    Unfit,
    check_json,
    listing,
    mapping,
    number,
    one_of,
    or_null,
    read_json,
    record,
)
from handoff.jsonfile import whole as integer
from handoff.links import check_way

NAME = "takes.json"
SCHEMA = 1
MOST_WINDOWS, MOST_TAKES = 2000, 100
"""Windows of a clip, and takes of a window."""
_LARGEST = 64 * 2**20
_MOST_VALUES = 8_000_000
_ADVICE = "paint again with --until-pass"


@dataclass(frozen=True)
class Attempt:
    """One take of one window, and what became of its frames in its best round.

    passed, worst_iou: None where it was not judged. kind: how most of the failing frames fail, "" where that is not
    known. setting: its place in `Attempts.settings`. painted: false where a window had nothing in it to paint.
    """

    window: int
    take: int
    passed: bool | None
    worst_iou: float | None
    failing: tuple[int, ...] = ()
    kind: str = ""
    setting: int = 0
    painted: bool = True


@dataclass(frozen=True)
class Attempts:
    """All takes of a reskin, and the rounds in which they were judged.

    windows: first and last frame of each. rounds: as takes.json has them, the first one first. settings: what was to
    choose from (--vary), each as a sentence has it; one, and empty, where nothing was.
    """

    windows: list[tuple[int, int]]
    takes: list[Attempt]
    rounds: list[dict[str, Any]]
    settings: list[str] = field(default_factory=lambda: [""])

    @classmethod
    def read(cls, path: Path) -> Attempts:
        """Read takes.json; raises InputError for what it cannot be, MissingFileError where there is none."""
        check_way(path)
        found = read_json(path, _SHAPE, advice=_ADVICE, largest=_LARGEST, most=_MOST_VALUES)
        check_json(found, str(path), _fits, advice=_ADVICE)
        timed = any(each.get("seconds") is not None for each in found["takes"])  # else nobody noted anything
        takes = [
            Attempt(
                each["window"],
                each["take"],
                not each["failing"] if "failing" in each else None,
                each.get("worst_iou"),
                tuple(each.get("failing", ())),
                _most(each.get("kinds", {})),
                each["setting"],
                not timed or each.get("seconds") is not None,
            )
            for each in found["takes"]
        ]
        settings = [", ".join(f"{name} {value}" for name, value in each.items()) for each in found["settings"]]
        return cls([(first, last) for first, last in found["windows"]], takes, found["rounds"], settings)

    @classmethod
    def beside(cls, clip: Path, sha256: Callable[[Path], str]) -> tuple[Attempts, dict[str, Any]] | None:
        """Return what takes.json beside a clip says, and the round that judged it; None where none has.

        sha256: gives that of the clip. Raises InputError as `read`.
        """
        path = clip.with_name(NAME)
        check_way(path)
        if not path.exists():
            return None
        found = cls.read(path)
        mine = found.round_of(sha256(clip))
        return (found, mine) if mine else None

    def round_of(self, sha256: str) -> dict[str, Any] | None:
        """Return the first round that judged these bytes."""
        return next((each for each in self.rounds if each.get("clip") == sha256), None)

    def paintings(self, one: dict[str, Any]) -> int:
        """Return how many windows were painted for a round."""
        painted = {(each.window, each.take) for each in self.takes if each.painted}
        return sum((each["window"], each["take"]) in painted for each in one["paintings"])

    def told(self) -> dict[str, Any] | None:
        """Return what a report has of it; None where one round was enough, and nothing was chosen.

        "windows", "takes": how many, of the takes those that were judged. "rounds": each with "number", "paintings",
        how many, "failing", "worst_iou", "worst_frame" and "kinds". "stuck": each "window" that no take of passed, with
        "takes", how many, and the "frames" in which every one of them fails, as [first, last]. "settings": where
        several were varied, each with "setting", a text, and how many takes of it were "judged" and "passed".
        """
        if len(self.rounds) < 2:
            return None
        kept = ("number", "failing", "worst_iou", "worst_frame", "kinds")
        rounds = [{"paintings": self.paintings(each)} | {name: each[name] for name in kept} for each in self.rounds]
        judged = sum(each.passed is not None for each in self.takes)
        told = {"windows": len(self.windows), "takes": judged, "rounds": rounds, "stuck": self._stuck()}
        return told | {"settings": self._settings_told() if len(self.settings) > 1 else []}

    def _settings_told(self) -> list[dict[str, Any]]:
        judged = Counter(each.setting for each in self.takes if each.passed is not None)
        passed = Counter(each.setting for each in self.takes if each.passed)
        return [
            {"setting": said, "judged": judged[place], "passed": passed[place]}
            for place, said in enumerate(self.settings)
        ]

    def _stuck(self) -> list[dict[str, Any]]:
        takes, found = defaultdict[int, list[Attempt]](list), []
        for each in self.takes:
            if each.passed is not None:
                takes[each.window].append(each)
        for window, judged in sorted(takes.items()):
            same = set(judged[0].failing).intersection(*(each.failing for each in judged)) if len(judged) > 1 else None
            if same:
                frames = [list(span) for span in spans_of(sorted(same))]
                found.append({"window": window, "takes": len(judged), "frames": frames})
        return found


def attempt_lines(
    told: dict[str, Any] | None, scores: Sequence[FrameScore], threshold: float, *, asked_again: bool
) -> list[str]:
    """Return `Attempts.told` as sentences. scores: the clip's. asked_again: whether a second judge was heard."""
    if not told:
        return []
    heard = "the second judge took no part" if asked_again else "--second-judge asks a tracker that took no part"
    rounds = told["rounds"]
    windows = f"{told['windows']} window{'s' * (told['windows'] != 1)}"
    lines = [
        f"{told['takes']} takes of {windows} were judged in {len(rounds)} rounds, and the best were chosen by that, so "
        f"these figures are on the bright side; {heard}"
    ]
    for each in rounds:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(each["kinds"].items()))
        painted = f"{each['paintings']} painted" if each["paintings"] else "nothing painted"
        lines.append(
            f"Round {each['number']} ({painted}): {each['failing']} frames fail{f' ({kinds})' if kinds else ''}, "
            f"worst IoU {each['worst_iou']:.2f} at frame {each['worst_frame']}"
        )
    for each in told["settings"]:
        lines.append(f"Setting {each['setting']}: {each['passed']} of {each['judged']} takes passed")
    return lines + [_stuck_line(each, scores, threshold) for each in told["stuck"]]


def _stuck_line(stuck: dict[str, Any], scores: Sequence[FrameScore], threshold: float) -> str:
    """Say in which frames every take of a window fails, and what that points to."""
    spans = stuck["frames"]
    said = f"Window {stuck['window']}: all {stuck['takes']} takes fail in {spans_text(spans)}"
    there = [each for each in scores if any(first <= each.frame <= last for first, last in spans)]
    low = [each for each in there if each.iou <= threshold]
    floors = [each.floor_iou for each in low if each.floor_iou is not None]
    if not low:
        return f"{said}, where the outline fits and the object is not new: that is the painter's"
    if not floors:
        return (
            f"{said}. It may not be the painter's fault: evaluate_iou.py --calibrate says whether the tracker finds "
            "the source itself there"
        )
    lost = sum(each <= threshold for each in floors)
    if lost:
        return (
            f"{said}, and the source itself, tracked again, does not pass in {lost} of these (lowest IoU "
            f"{min(floors):.4f}): the tracker's limit there, not the painter's"
        )
    return f"{said}, and the source itself, tracked again, passes there (lowest IoU {min(floors):.4f}): the painter's"


def _most(kinds: dict[str, int]) -> str:
    return max(kinds, key=lambda each: kinds[each], default="")


def _result(value: Any, place: str) -> None:
    """One frame's verdict: whether it passed, then figures of 0 to 1, and perhaps more."""
    if not (isinstance(value, list) and len(value) >= 2 and isinstance(value[0], bool)):
        raise Unfit(place, "is no frame's verdict")
    number(0, 1)(value[1], f"{place}[1]")


def _setting(value: Any, place: str) -> None:
    """The value of a setting: one line of text, a number, true, false or null."""
    if isinstance(value, str):
        LINE(value, place)
    elif not (value is None or isinstance(value, bool)):
        number()(value, place)


_FRAME = integer(0)
_KINDS = mapping(integer(1), r"[A-Za-z]{1,20}", "a kind of failure")
_SPANS = listing(listing(_FRAME, 2, 2), 1)
_COUNTS = {
    "number": integer(1),
    "failing": integer(0),
    "worst_iou": number(0, 1),
    "worst_frame": _FRAME,
    "kinds": _KINDS,
}
_TAKE = record(
    {"window": _FRAME, "take": integer(1, MOST_TAKES), "setting": integer(0)},
    {"failing": listing(_FRAME), "worst_iou": or_null(number(0, 1)), "kinds": _KINDS, "seconds": or_null(number(0))},
)
_ROUND = record(
    {
        "paintings": listing(record({"window": _FRAME, "take": integer(1, MOST_TAKES)}), 0, MOST_WINDOWS),
        "chosen": listing(integer(1, MOST_TAKES), 1, MOST_WINDOWS),
        "results": listing(_result, 1),
    }
    | _COUNTS,
    {"clip": or_null(SHA256)},
)
_SHAPE = record(
    {
        "schema": one_of(SCHEMA),
        "windows": listing(listing(_FRAME, 2, 2), 1, MOST_WINDOWS),
        "settings": listing(mapping(_setting, r"[a-z][a-z-]{0,39}", "a setting"), 1, MOST_TAKES),
        "takes": listing(_TAKE, 0, MOST_WINDOWS * MOST_TAKES),
        "rounds": listing(_ROUND, 0, MOST_WINDOWS * MOST_TAKES),
    }
)
TOLD = record(
    {
        "windows": integer(1),
        "takes": integer(0),
        "rounds": listing(record({"paintings": integer(0)} | _COUNTS), 2),
        "settings": listing(record({"setting": LINE, "judged": integer(0), "passed": integer(0)})),
        "stuck": listing(record({"window": _FRAME, "takes": integer(2), "frames": _SPANS})),
    }
)
"""What `Attempts.told` returns, read back."""


def _fits(found: Any, _place: str) -> None:
    """Raise Unfit where takes, windows and rounds of a takes.json are not of one another."""
    windows, frames = found["windows"], found["windows"][-1][1] + 1
    for index, (first, last) in enumerate(windows):
        if not first <= last < frames:
            raise Unfit(f"windows[{index}]", f"is {first} to {last}")
    known = set()
    for index, each in enumerate(found["takes"]):
        if each["setting"] >= len(found["settings"]):
            raise Unfit(f"takes[{index}]", "has a setting that is not there")
        if each["window"] >= len(windows) or any(frame >= frames for frame in each.get("failing", ())):
            raise Unfit(f"takes[{index}]", "is of a window or of frames that are not there")
        known.add((each["window"], each["take"]))
    for index, each in enumerate(found["rounds"]):
        if len(each["results"]) != frames or len(each["chosen"]) != len(windows) or each["worst_frame"] >= frames:
            raise Unfit(f"rounds[{index}]", f"is not of {len(windows)} windows and {frames} frames")
        if not known.issuperset(enumerate(each["chosen"])):
            raise Unfit(f"rounds[{index}]", "has a take that is not there")
