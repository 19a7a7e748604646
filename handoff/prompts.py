"""prompts.json: what each tracked thing is, where its first box is, and who said so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from handoff.atomic import write_text
from handoff.box import Box
from handoff.errors import InputError
from handoff.run import Run

SCHEMA = 1
FILE = "prompts.json"


@dataclass(frozen=True)
class Prompt:
    """A box (px of the source frame) on frame `frame`; origin: "flag", "detector", "drawn" or "pose"."""

    box: Box
    frame: int
    origin: str


def _read(run: Run) -> dict[str, Any]:
    path = run.path(FILE)
    if not path.exists():
        return {"schema": SCHEMA}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and give the box again.") from error
    return dict(data)


def read_prompts(run: Run) -> dict[str, Prompt]:
    """Return the prompts by what they are of: "object", "skater". Empty when there are none."""
    prompts = {}
    for key, record in _read(run).items():
        if key == "schema":
            continue
        try:
            box = Box(*(float(value) for value in record["box"]))
            prompts[key] = Prompt(box, int(record["frame"]), str(record["from"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{run.path(FILE)}: the prompt of '{key}' cannot be read ({error}).") from error
    return prompts


def write_prompt(run: Run, key: str, prompt: Prompt | None) -> None:
    """Set (or with None remove) one prompt and keep the others. A file that already says so is not touched."""
    data = _read(run)
    before = dict(data)
    if prompt is None:
        data.pop(key, None)
    else:
        data[key] = {"box": prompt.box.as_list(), "frame": prompt.frame, "from": prompt.origin}
    if data != before or not run.path(FILE).exists():
        write_text(run.path(FILE), json.dumps(data, indent=1) + "\n")
