"""What a loop has before it: what the reskin stage says of its work before any of it is done (its --plan)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner import runs
from runner.loop.takes import Span, Takes
from runner.process import RunnerError

Order = tuple[list[int], list[int]]
"""The seed and the setting of each window: what the reskin stage is asked for."""


@dataclass(frozen=True)
class Prospect:
    """reskin: its folder, relative to the run's. of: all that is the same in every take, as JSON.

    windows: the frames of each, first and behind the last. chained: each is painted on from the one before. settings:
    what there is to choose from, each by what it differs in. there: what the output.mp4 is of that stands there, None
    where that is not known, or something that it was made from has changed.
    """

    reskin: str
    of: Any
    windows: list[Span]
    chained: bool
    settings: list[dict[str, Any]]
    there: Order | None

    @classmethod
    def read(cls, document: Any) -> Prospect:
        """Read what the stage wrote; RunnerError where that says too little."""
        there = runs.within(document, "there")
        try:
            windows = [(int(first), int(last) + 1) for first, last in document["windows"]]
            Takes(windows, 1, 0)
            known = None if there is None else ([*map(int, there["seeds"])], [*map(int, there["settings"])])
            settings: list[dict[str, Any]] = [dict(each) for each in document["settings"]]
            chained = document["chained"] is True
            return cls(str(document["reskin"]), document["of"], windows, chained, settings, known)
        except (TypeError, KeyError, ValueError) as error:
            raise RunnerError("the reskin stage does not say what it would paint; above is what it did say.") from error

    def key(self, judged_by: str) -> str:
        """Return the SHA-256 of what verdicts hold for: all that is the same in every take, and how it is judged."""
        return hashlib.sha256(json.dumps([self.of, judged_by], sort_keys=True).encode()).hexdigest()


def setting_said(setting: Mapping[str, Any]) -> str:
    """Return a setting for people: "grow 12, cfg 4.0"."""
    return ", ".join(f"{name} {value}" for name, value in setting.items())
