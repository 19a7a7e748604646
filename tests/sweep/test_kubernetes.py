"""The Kubernetes profile without a cluster: the dry run, the manifests, and what a pod's command does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.envs import ensure_env
from runner.process import ROOT
from tests.helpers import HANG_S
from tests.sweep.pods import KubernetesCluster, kubeconfig, programs, serving

pytestmark = [pytest.mark.slow, pytest.mark.stage("sweep")]

DOES_A_JOB = f"""#!{sys.executable}
import json, sys
from pathlib import Path

plan, what, job = json.loads(Path(sys.argv[4]).read_text()), sys.argv[5], sys.argv[6]
folder, runs = Path(plan["folder"]), Path(plan["data"]) / "runs"

def put(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return [path.stat().st_size, path.stat().st_mtime_ns]

outcome = {{"schema": 1, "id": job, "key": None, "code": 0}}
if what == "extract":
    (run,) = [each["run"] for each in plan["extractions"] if each["id"] == job]
    for name in ("source.mp4", "mask.mp4", "human_mask.mp4", "pose.json"):
        put(runs / run / name, None)
    outcome |= {{"result": put(runs / run / "run.json", {{}}), "windows": 1}}
    put(folder / "extracted" / f"{{job}}.json", outcome)
else:
    (batch,) = [each for each in plan["batches"] if each["id"] == job]
    for cell in batch["cells"]:
        reskin = runs / cell["run"] / "reskins" / cell["reskin"]
        put(reskin / "output.mp4", None)
        result = put(reskin / "report" / "iou.json", {{"verdict": {{"passed": True, "sentence": "Gate: PASS"}}}})
        name = f"{{cell['run']}}/{{cell['reskin']}}"
        put(folder / "cells" / f"{{name}}.json", outcome | {{"id": name, "key": cell["key"], "result": result}})
    put(folder / "painted" / f"{{job}}.json", {{"schema": 1, "id": job, "cells": {{}}}})
"""
"""In place of `python3.11 -s ROOT/runner sweep-job PLAN extract|paint ID`: what a job leaves, and no more."""
COPIES = '#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\nmkdir -p "$(dirname "$2")" && cp -L "$1" "$2"\n'


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a sweep of one clip and two cells with the Kubernetes profile."""
    python = ensure_env("sweep")
    (tmp_path / "clip.mp4").write_bytes(b"any")
    said = {"name": "mine", "clips": [{"path": "clip.mp4"}], "prompts": ["drone"], "seeds": [0, 1], "workflow": "draft"}
    (tmp_path / "mine.yaml").write_text(json.dumps(said))
    path = programs(tmp_path / "here", rsync=COPIES) if shutil.which("rsync") is None else os.defpath

    def run(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-P", "-s", "-m", "sweep", str(tmp_path / "mine.yaml"), "--profile", "kubernetes", *more],
            env={
                **{name: value for name, value in os.environ.items() if name not in ("SWEEP_GPUS", "PYTHONPATH")},
                **{"KUBECONFIG": str(config), "DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)},
                **{"PATH": path, "SWEEP_PYTHON": "python3.11"},
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * HANG_S,
        )

    return run


def test_a_dry_run_asks_no_cluster_and_writes_nothing(
    sweep: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = sweep(kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9"), "-n")
    assert done.returncode == 0, done.stderr
    assert "1 clip, 2 cells, 2 left" in done.stdout and "1 extraction, 1 batch of cells" in done.stdout
    assert not (tmp_path / "data").exists()


def test_a_sweep_by_pods_one_of_which_is_lost(
    sweep: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    python = ensure_env("sweep")
    image = programs(
        tmp_path / "image",
        **{"python": f'#!/bin/sh\nexec {python} "$@"\n', "python3_11": DOES_A_JOB, "rsync": COPIES},
        pip="#!/bin/sh\n",
    )
    cluster = KubernetesCluster(tmp_path / "pods", image, lost=1)
    with serving(cluster) as config:
        done = sweep(config, "--", "--seconds-between-status-checks", "1")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{cluster.logs()}"
    assert "2 of 2 cells pass" in done.stdout
    commands = [cluster.container(name)["args"][1] for name in cluster.jobs]
    assert ["extract:id=" in each for each in commands] == [True, True, False]  # the lost one was submitted again
    assert all(name in cluster.deleted for name in list(cluster.jobs)[1:])

    (paint,) = [name for name, each in zip(cluster.jobs, commands, strict=True) if "paint:id=clip-000-" in each]
    container, spec = cluster.container(paint), cluster.jobs[paint]["spec"]["template"]["spec"]
    settings = yaml.safe_load((ROOT / "sweep" / "profiles" / "kubernetes" / "config.yaml").read_text())
    assert container["image"] == settings["container-image"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["requests"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["limits"]["memory"] == f"{settings['default-resources']['mem_mb']}M"
    assert container["resources"]["limits"]["cpu"] == f"{settings['set-threads']['paint']}000m"
    mounts: dict[str, Any] = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    claim, _, place = settings["kubernetes-persistent-volumes"][0].partition(":")
    assert mounts[claim] == place == "/data"
    assert {"name": claim, "persistentVolumeClaim": {"claimName": claim}} in spec["volumes"]
    assert spec["restartPolicy"] == "Never" and cluster.jobs[paint]["spec"]["backoffLimit"] == 0


def test_the_recipe_has_what_a_pods_command_calls() -> None:
    recipe = (ROOT / "sweep" / "Dockerfile").read_text()
    copied = [word for line in recipe.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert all((ROOT / each).exists() for each in copied if not each.startswith("--"))
    assert {"handoff", "runner", "sweep", "posegen", "tracker", "reskin", "evaluator", "comfyui"} <= set(copied)
    assert "rsync" in recipe and "git" in recipe
