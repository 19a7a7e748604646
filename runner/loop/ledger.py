"""takes.json: every round of a reskin with its takes and the verdict, from the moment that it is known.

    schema      1
    of          what the verdicts hold for: SHA-256 of the first take's inputs and parameters, and of how it is judged
    windows     [first, last] frame of each
    settings    what there is to choose from, each by what it differs in: {"grow": 12}
    takes       window, take, seed, setting (its place in settings); server and seconds, of the painting, where the
                stage noted them; pictures, the name of their folder in .windows; kept, false where they are dropped;
                failing, worst_iou and kinds, of the window's frames in the round that had the fewest failing ones
    rounds      number; paintings (window, take, seed); chosen, the take of each window; clip, SHA-256 of the output.mp4
                that they make; seconds of the painting in all; failing, worst_frame, worst_iou; kinds, of failing
                frames, with how many there are; results, [passed, iou, boundary_f, lost] of each frame

It is written anew after each painting and after each verdict, beside and renamed. One that is of other inputs is begun
anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner import runs
from runner.loop.losers import is_kept
from runner.loop.prospect import Order
from runner.loop.takes import FrameResult, Joint, Round, Span, rank

NAME = "takes.json"
SCHEMA = 1
LARGEST = 2**28
"""Bytes of it, and of a report, at most."""


@dataclass
class Ledger:
    """The rounds of one reskin. path: of takes.json; the rest: see above, windows behind the last frame."""

    path: Path
    of: str
    windows: list[Span]
    settings: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    rounds: list[dict[str, Any]] = field(default_factory=list)
    takes: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, of: str, windows: list[Span], settings: list[dict[str, Any]]) -> Ledger:
        """Return what is known of these inputs; nothing where the file is missing, damaged, or of others."""
        ledger = cls(path, of, windows, settings)
        found = runs.read_manifest(path, LARGEST)
        same = (runs.within(found, "schema"), runs.within(found, "of")) == (SCHEMA, of)
        rounds, takes = (runs.within(found, name) if same else None for name in ("rounds", "takes"))
        if isinstance(takes, list) and all(map(ledger._is_take, takes)):
            ledger.takes = takes
            known = {(each["window"], each["take"]) for each in takes}
            if isinstance(rounds, list) and all(map(ledger._is_round, rounds)):
                ledger.rounds = rounds if all(known.issuperset(enumerate(each["chosen"])) for each in rounds) else []
        return ledger

    def _is_take(self, found: Any) -> bool:
        below = {"window": len(self.windows), "setting": len(self.settings), "take": LARGEST, "seed": 2**64}
        numbers = {name: runs.within(found, name) for name in below}
        pictures = runs.within(found, "pictures")
        return (
            all(type(each) is int and 0 <= each < below[name] for name, each in numbers.items())
            and numbers["take"] > 0
            and (pictures is None or is_kept(pictures))
        )

    def _is_round(self, found: Any) -> bool:
        chosen, results = runs.within(found, "chosen"), runs.within(found, "results")
        return (
            isinstance(chosen, list)
            and len(chosen) == len(self.windows)
            and all(type(each) is int and each > 0 for each in chosen)
            and isinstance(results, list)
            and len(results) == self.windows[-1][1]
            and all(map(_is_result, results))
        )

    def results_of(self, chosen: tuple[int, ...]) -> list[FrameResult] | None:
        """Return the verdict of these takes together, None where it is not known."""
        found = next((each for each in self.rounds if tuple(each["chosen"]) == chosen), None)
        return [FrameResult(*each) for each in found["results"]] if found else None

    def best(self) -> Joint | None:
        """Return the best of what was judged as a whole, the earliest of equals; None before the first verdict."""
        joints = [
            Joint(tuple(each["chosen"]), tuple(FrameResult(*one) for one in each["results"])) for each in self.rounds
        ]
        return min(joints, key=lambda each: rank(each.results), default=None)

    def chosen_in(self, number: int) -> tuple[int, ...] | None:
        """Return the take of each window in the round of that number, None where there is none."""
        return next((tuple(each["chosen"]) for each in self.rounds if each["number"] == number), None)

    def order(self, chosen: Sequence[int]) -> Order:
        """Return the seed and the setting of each window, of takes that were painted."""
        known = {(each["window"], each["take"]): each for each in self.takes}
        takes = [known[pair] for pair in enumerate(chosen)]
        return [each["seed"] for each in takes], [each["setting"] for each in takes]

    def keep(self, kept: Collection[tuple[int, int]]) -> None:
        """Note which takes, (window, take), are kept, and that all others are given up: once and for all.

        The file is written where that is new.
        """
        lost = [each for each in self.takes if each.get("kept", True) and (each["window"], each["take"]) not in kept]
        for each in lost:
            each["kept"] = False
        if lost:
            self._write()

    def keep_again(self, chosen: Sequence[int]) -> None:
        """Note that some takes, one a window, which were given up are kept once more, and write the file."""
        for each in self.takes:
            each["kept"] = each.get("kept", True) or chosen[each["window"]] == each["take"]
        self._write()

    def pictures(self, *, kept: bool) -> set[str]:
        """Return the names of the folders with the pictures of the takes that are kept, or of those given up."""
        wanted = (each["pictures"] for each in self.takes if each.get("pictures") and each.get("kept", True) is kept)
        return set(wanted)

    def pictures_of(self, chosen: Sequence[int]) -> list[str | None]:
        """Return the name of the folder of each window's take, None where it is not known."""
        known = {(each["window"], each["take"]): each.get("pictures") for each in self.takes}
        return [known.get(pair) for pair in enumerate(chosen)]

    def forget(self) -> None:
        """Begin anew: nothing is known."""
        self.rounds.clear()
        self.takes.clear()

    def painted(self, done: Round, notes: Mapping[int, Mapping[str, Any]]) -> None:
        """Note the takes that a round painted, before anything is known of them, and write the file.

        notes: of a window, the server, the seconds and the folder of its pictures where they are known.
        """
        known = {(each["window"], each["take"]) for each in self.takes}
        for each in done.paintings:
            if (each.window, each.take) not in known:
                note = notes.get(each.window, {})
                by = {name: note.get(name) for name in ("server", "seconds")}
                folder = note.get("pictures")
                self.takes.append(asdict(each) | by | {"pictures": folder if is_kept(folder) else None, "kept": True})
        self._write()

    def add(
        self, done: Round, results: list[FrameResult], seconds: float, kinds: Sequence[str], clip: str | None = None
    ) -> None:
        """Note a round with its verdict, and write the file.

        seconds: that the round's painting took. kinds: how each frame fails, "" where it passes. clip: SHA-256 of what
        was judged.
        """
        worst = min(range(len(results)), key=lambda index: results[index].iou)
        for each in self.takes:
            first, behind = self.windows[each["window"]]
            if done.chosen[each["window"]] == each["take"]:
                part = results[first:behind]
                failing = [first + at for at, result in enumerate(part) if not result.passed]
                if "failing" not in each or len(failing) < len(each["failing"]):
                    each |= {"failing": failing, "worst_iou": min(result.iou for result in part)}
                    each["kinds"] = _counted(kinds[first:behind])
        self.rounds.append(
            {
                "number": done.number,
                "paintings": [{"window": p.window, "take": p.take, "seed": p.seed} for p in done.paintings],
                "seconds": round(seconds, 1),
                "chosen": list(done.chosen),
                "clip": clip,
                "failing": sum(not each.passed for each in results),
                "worst_frame": worst,
                "worst_iou": results[worst].iou,
                "kinds": _counted(kinds),
                "results": [[each.passed, each.iou, each.boundary_f, each.lost] for each in results],
            }
        )
        self._write()

    def _write(self) -> None:
        spans = [[first, behind - 1] for first, behind in self.windows]
        document: dict[str, Any] = {"schema": SCHEMA, "of": self.of, "windows": spans}
        document |= {"settings": self.settings, "takes": self.takes, "rounds": self.rounds}
        try:
            runs.put_bytes(json.dumps(document).encode() + b"\n", self.path)
        except OSError as error:
            raise runs.unwritable(self.path, error) from error


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    return dict(Counter(filter(None, kinds)))


def _is_result(found: Any) -> bool:
    if not (isinstance(found, list) and len(found) == 4 and type(found[0]) is type(found[3]) is bool):
        return False
    return all(type(each) in (int, float) and 0 <= each <= 1 for each in found[1:3])
