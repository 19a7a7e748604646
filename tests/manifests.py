"""What the manifests of a run, its own and its reskins', say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from handoff.files import sha256_path


def records(run: Path) -> dict[str, Any]:
    """Every stage's record, by the name that its log lines have: "tracker", "reskin/drone"."""
    found = dict(json.loads((run / "run.json").read_text())["stages"])
    for manifest in run.glob("reskins/*/run.json"):
        stages = json.loads(manifest.read_text())["stages"]
        found |= {f"{stage}/{manifest.parent.name}": record for stage, record in stages.items()}
    return found


def outputs(run: Path) -> dict[str, str]:
    """Every output that a manifest lists, and its digest, which is that of what lies there."""
    listed = {each["path"]: each["sha256"] for record in records(run).values() for each in record["outputs"]}
    for path, digest in listed.items():
        assert sha256_path(run / path) == digest, path
    return listed


def take_out(run: Path, *stages: str) -> None:
    """Remove the work of stages, files and records; a reskin's by "reskin" or "evaluator"."""
    for path in [run / "run.json", *run.glob("reskins/*/run.json")]:
        manifest = json.loads(path.read_text())
        for stage in [each for each in manifest["stages"] if each in stages]:
            for record in manifest["stages"].pop(stage)["outputs"]:
                output = run / record["path"]
                shutil.rmtree(output) if output.is_dir() else output.unlink()
        path.write_text(json.dumps(manifest))
