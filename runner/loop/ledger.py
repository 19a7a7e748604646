"""takes.json: every round of a reskin with its takes and the verdict, from the moment that it is known.

    schema      1
    of          what the verdicts hold for: SHA-256 of the first take's inputs and parameters, and of how it is judged
    windows     [first, last] frame of each
    takes       window, take, seed, setting; server and seconds, of the painting, where the stage noted them;
                failing and worst_iou, of the window's frames in the round that had the fewest failing ones
    rounds      number; paintings (window, take, seed); chosen, the take of each window; seconds of the painting in all;
                failing, worst_frame, worst_iou; kinds, of failing frames, with how many there are; results,
                [passed, iou, boundary_f, lost] of each frame

It is written anew after each painting and after each verdict, beside and renamed. One that is of other inputs is begun
anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner import runs
from runner.holds import fsync
from runner.loop.takes import FrameResult, Round, Span

NAME = "takes.json"
SCHEMA = 1
LARGEST = 2**28
"""Bytes of it, and of a report, at most."""


@dataclass
class Ledger:
    """The rounds of one reskin. path: of takes.json. of, windows: see above; windows behind the last frame."""

    path: Path
    of: str
    windows: list[Span]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    takes: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, of: str, windows: list[Span]) -> Ledger:
        """Return what is known of these inputs; nothing where the file is missing, damaged, or of others."""
        ledger = cls(path, of, windows)
        found = runs.read_manifest(path, LARGEST)
        same = (runs.within(found, "schema"), runs.within(found, "of")) == (SCHEMA, of)
        rounds = runs.within(found, "rounds") if same else None
        if isinstance(rounds, list) and all(map(ledger._is_round, rounds)):
            ledger.rounds = rounds
            known = runs.within(found, "takes")
            ledger.takes = known if isinstance(known, list) and all(map(ledger._is_take, known)) else []
        return ledger

    def _is_take(self, found: Any) -> bool:
        window, take = runs.within(found, "window"), runs.within(found, "take")
        return type(window) is int and 0 <= window < len(self.windows) and type(take) is int and take > 0

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

    def forget(self) -> None:
        """Begin anew: nothing is known."""
        self.rounds.clear()
        self.takes.clear()

    def painted(self, done: Round, notes: Sequence[Mapping[str, Any]]) -> None:
        """Note the takes that a round painted, before anything is known of them, and write the file.

        notes: of each window, the server and the seconds where they are known.
        """
        known = {(each["window"], each["take"]) for each in self.takes}
        for each in done.paintings:
            if (each.window, each.take) not in known:
                note = notes[each.window] if each.window < len(notes) else {}
                by = {name: note.get(name) for name in ("server", "seconds")}
                self.takes.append(asdict(each) | by)
        self._write()

    def add(self, done: Round, results: list[FrameResult], seconds: float, kinds: Mapping[str, int]) -> None:
        """Note a round with its verdict, and write the file.

        seconds: that the round's painting took. kinds: of failing frames, with how many there are.
        """
        worst = min(range(len(results)), key=lambda index: results[index].iou)
        for each in self.takes:
            first, behind = self.windows[each["window"]]
            if done.chosen[each["window"]] == each["take"]:
                part = results[first:behind]
                failing = [first + at for at, result in enumerate(part) if not result.passed]
                if "failing" not in each or len(failing) < len(each["failing"]):
                    each |= {"failing": failing, "worst_iou": min(result.iou for result in part)}
        self.rounds.append(
            {
                "number": done.number,
                "paintings": [{"window": p.window, "take": p.take, "seed": p.seed} for p in done.paintings],
                "seconds": round(seconds, 1),
                "chosen": list(done.chosen),
                "failing": sum(not each.passed for each in results),
                "worst_frame": worst,
                "worst_iou": results[worst].iou,
                "kinds": dict(kinds),
                "results": [[each.passed, each.iou, each.boundary_f, each.lost] for each in results],
            }
        )
        self._write()

    def same_frames(self) -> dict[int, list[int]]:
        """Return, of each window that no take of passed, the frames in which every one of them (at least two) fails."""
        found = {}
        for window in range(len(self.windows)):
            judged = [each["failing"] for each in self.takes if each["window"] == window and "failing" in each]
            same = set(judged[0]).intersection(*judged[1:]) if len(judged) > 1 else set()
            if same:
                found[window] = sorted(same)
        return found

    def _write(self) -> None:
        spans = [[first, behind - 1] for first, behind in self.windows]
        document: dict[str, Any] = {"schema": SCHEMA, "of": self.of, "windows": spans}
        document |= {"takes": self.takes, "rounds": self.rounds}
        partial = self.path.with_name(f".{NAME}.{os.getpid()}.partial")
        with runs.new_file(partial) as file:
            file.write(json.dumps(document).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)
        fsync(self.path.parent)


def _is_result(found: Any) -> bool:
    if not (isinstance(found, list) and len(found) == 4 and type(found[0]) is type(found[3]) is bool):
        return False
    return all(type(each) in (int, float) and 0 <= each <= 1 for each in found[1:3])
