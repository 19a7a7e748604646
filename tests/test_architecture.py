"""The house's rules: who may import whom, who may end the process, what every stage must have."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.process import ROOT

STAGES = ("posegen", "tracker", "reskin", "evaluator")
ALLOWED = {stage: {stage, "handoff"} for stage in STAGES} | {each: {each} for each in ("handoff", "runner", "selector")}
ALLOWED["evaluator"].add("tracker")  # its method is to track again
ALLOWED["demo"] = {"demo", "handoff", "evaluator"}  # its score is the gate's
ALLOWED["comfyui"] = {"runner"}  # the one command line of the server, in its image and beside the runner
OURS = {*STAGES, "handoff", "runner", "selector", "demo", "tests", "comfyui"}
HEAVY = {"torch", "onnxruntime", "mediapipe", "sam2"}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    assert files(package)
    for path in files(package):
        assert not (set(imports(path)) & OURS) - ALLOWED[package], path


def test_handoff_needs_no_heavy_package_and_the_runner_only_the_standard_library() -> None:
    for path in files("handoff"):
        assert not set(imports(path)) & HEAVY, path
    for path in (*files("runner"), *files("comfyui")):
        assert set(imports(path)) - {"runner"} <= set(sys.stdlib_module_names), path


def test_what_the_comfyui_image_has_of_the_runner_needs_nothing_else_of_it() -> None:
    """Its Dockerfile copies single files; one that imported a file beside them would not start."""
    copied = {name for name in (ROOT / "comfyui" / "Dockerfile").read_text().split() if name.startswith("runner/")}
    modules = {name.removesuffix(".py").replace("/", ".") for name in copied if name.endswith(".py")}
    assert {"runner.comfy.comfyargs", "runner.comfy.comfysource"} <= modules
    for path in (*files("comfyui"), *(ROOT / name for name in copied if name.endswith(".py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "runner":
                inside = [f"{node.module}.{each.name}" for each in node.names] if node.module == "runner" else []
                assert {*(inside or [node.module])} <= modules, f"{path}:{node.lineno}"


@pytest.mark.parametrize("package", [*STAGES, "handoff", "selector"])
def test_only_the_command_line_ends_the_process(package: str) -> None:
    for path in files(package):
        if path.name in ("cli.py", "__main__.py", "command.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("sys.exit", "exit", "quit", "os._exit"), f"{path}:{node.lineno}"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except in {path}"
            assert not isinstance(node, ast.Assert), f"assert in {path}:{node.lineno}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_a_command(stage: str) -> None:
    assert (ROOT / stage / "__main__.py").exists() and (ROOT / stage / "cli.py").exists()


@pytest.mark.parametrize("stage", [*STAGES, "selector"])
def test_every_lock_is_hashed(stage: str) -> None:
    lock = (ROOT / stage / "requirements.lock").read_text()
    pins = [line for line in lock.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert pins and all(pin.endswith("\\") for pin in pins), "a pin without a hash"
    assert lock.count("--hash=sha256:") >= len(pins)


def test_the_project_names_no_registry_and_no_place_of_one_machine() -> None:
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts[0]
        if not path.is_file() or inside in (".git", ".envs", "data") or "cache" in inside or path == Path(__file__):
            continue
        text = path.read_text(errors="ignore")
        assert "--index-url" not in text and "files.pythonhosted" not in text, path
