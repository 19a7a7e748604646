"""Model files: there or not, and of the right size; and which models each stage would use with those that are there.

Digests are checked at each use, and by make weights CHECK=1.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from runner import runs
from runner.doctor.line import Line
from runner.process import ROOT, RunnerError


def registry() -> dict[str, Any]:
    """Return weights.toml, $WEIGHTS_TOML's where that is set; raise RunnerError when it cannot be read."""
    path = Path(os.environ.get("WEIGHTS_TOML") or ROOT / "weights.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunnerError(f"{path} cannot be read as TOML ({error}).", 2) from error


def chosen(names: Sequence[str], table: dict[str, Any]) -> list[str]:
    """Return the profiles that are named, or the default ones; raise RunnerError for a typo."""
    for name in names:
        if name not in table["profiles"]:
            raise RunnerError(f"there is no profile '{name}'; there are {', '.join(table['profiles'])}.", 2)
    return list(names or table["default"])


def _there(weight: dict[str, Any]) -> Path | None:
    models, place = runs.models_dir(), PurePosixPath(weight["file"])
    return next((path for path in (models / place, models / place.name) if path.is_file()), None)


def largest_gb(profile: str, table: dict[str, Any]) -> float:
    """Return the size of a profile's largest model file, in 10^9 bytes; 0 where none is known."""
    weights = (each for each in table["weights"].values() if profile in each["profiles"])
    return max((each.get("bytes", 0) for each in weights), default=0) / 1e9


def line(profile: str, table: dict[str, Any]) -> tuple[Line, float]:
    """Return a profile's line, and how many 10^9 bytes of it are still to be fetched. The embedded parts need none."""
    weights = [each for each in table["weights"].values() if profile in each["profiles"]]
    there = [(each, path) for each in weights if (path := _there(each))]
    absent_gb = sum(each.get("bytes", 0) for each in weights if not _there(each)) / 1e9
    what, mend = "model files", f"make weights PROFILE={profile}"
    for weight, path in there:
        size, wanted = path.stat().st_size, weight.get("bytes")
        if wanted is not None and size != wanted and not weight.get("also"):
            return Line(
                "warn", what, f"{profile}: {path} has {size} bytes, not {wanted}: move it away", mend
            ), absent_gb
    value = f"{profile}: {len(there)} of {len(weights)} in {runs.models_dir()}"
    if len(there) < len(weights):
        return Line(
            "warn", what, f"{value}, {absent_gb:.2f} GB to fetch; the embedded parts do without", mend
        ), absent_gb
    return Line("ok", what, f"{value}, by size; digests: {mend} CHECK=1"), 0.0


STAGES = (
    (
        "posegen: object",
        ("yolox-nano",),
        "would use YOLOX-nano to find the object and the skater",
        "nothing looks for the object: its box is given by hand (--bbox, --point or --select)",
        "detect",
    ),
    (
        "posegen: skater",
        ("rtmw-l-384x288", "yolox-nano"),
        "would use RTMW-l",
        "would use MediaPipe, the embedded model",
        '"pose detect"',
    ),
    (
        "tracker",
        ("sam2-1-hiera-large",),
        "would use SAM 2.1 large",
        "would use the embedded tracker, which is for the demo and for tests, not for real footage",
        "tracker",
    ),
    (
        "reskin",
        ("wan2-1-vace-1-3b", "umt5-xxl-fp8", "wan2-1-vae"),
        "would use Wan 2.1 VACE 1.3B (--workflow names another)",
        "would use the draft workflow, which is embedded: a generated texture and a tint, no model",
        "reskin",
    ),
)
"""What uses models; the weights that it wants, by name; what it is with all of them, and without; the profile. Each is
what the stage's own "auto" takes (posegen/stage.py, tracker/selection.py, reskin/workflow.py)."""


def stage_lines(table: dict[str, Any]) -> Iterator[Line]:
    """Yield what each stage would use now, where no option names another."""
    for what, names, production, embedded, profile in STAGES:
        weights = [table["weights"].get(name) for name in names]
        if all(weight is not None and _there(weight) for weight in weights):
            yield Line("ok", what, production)
        else:
            yield Line("warn", what, embedded, f"make weights PROFILE={profile}")
    yield Line("ok", "evaluator", "uses the tracker that made the original mask")
