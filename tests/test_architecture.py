"""The house's rules: who may import whom, what a name may stand for, who may end the process, what every stage has."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from runner.process import ROOT, stage_environment

STAGES = ("posegen", "tracker", "reskin", "evaluator")
ALLOWED = {stage: {stage, "handoff"} for stage in STAGES} | {each: {each} for each in ("handoff", "runner", "selector")}
ALLOWED["evaluator"].add("tracker")  # its method is to track again
ALLOWED["comfyui"] = {"runner"}  # the one command line of the server, in its image and beside the runner
ALLOWED["sweep"] = {"sweep"}  # it knows the product by its commands, and Snakemake by its own
ALLOWED["demo"] = {"demo", "handoff", "evaluator"}  # it says how good a mask is with the gate's own figures
HOUSE = sorted(name for name in ALLOWED if (ROOT / name).is_dir())
OURS = {*ALLOWED, "tests", "bench"}
HEAVY = {"torch", "onnxruntime", "mediapipe", "sam2"}
SLOW_TO_LOAD = ("torch", "onnxruntime", "rtmlib", "mediapipe", "cv2")
FOLDERS = sorted(path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and "cache" not in path.name)
MANY = 13
"""A folder with more modules is not looked through any more."""
NO_NOUNS = {"__init__", "__main__", "cli", "stage", "backend", "errors"}
"""The file names that every room may have."""


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> Iterator[str]:
    """Yield which of the `known` modules a file imports, inside functions too; `from a import b` may name a.b.

    What is imported for the types alone is not: nothing is loaded by it.
    """
    tree = ast.parse(path.read_text())
    for_types = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for each in node.body
    }
    for node in (each for each in ast.walk(tree) if id(each) not in for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inside & known
            if node.module in known and inside - known:
                yield node.module


NOT_YET: dict[str, dict[str, str]] = {}
"""The rooms that do not keep a rule yet, and why; a room that keeps it is taken out of here, or its test fails."""


def rooms(rule: str, names: Iterable[str]) -> list[object]:
    """The names as parameters of a test of this rule."""
    late = NOT_YET.get(rule, {})
    return [
        pytest.param(each, marks=pytest.mark.xfail(strict=True, reason=late[each])) if each in late else each
        for each in names
    ]


@pytest.mark.parametrize("package", HOUSE)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    assert files(package)
    for path in files(package):
        assert not (set(imports(path)) & OURS) - ALLOWED[package], path


def test_handoff_needs_no_heavy_package_and_the_runner_only_the_standard_library() -> None:
    for path in files("handoff"):
        assert not set(imports(path)) & HEAVY, path
    for path in (*files("runner"), *files("comfyui")):
        assert set(imports(path)) - {"runner"} <= set(sys.stdlib_module_names), path


@pytest.mark.parametrize("package", rooms("circle", [*HOUSE, "bench"]))
def test_no_module_imports_in_a_circle(package: str) -> None:
    modules = {module_of(path): path for path in files(package)}
    graph = {name: set(imported_modules(path, set(modules))) - {name} for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("stage", rooms("front door", STAGES))
def test_the_front_door_of_a_stage_opens_without_what_is_slow_to_load(stage: str) -> None:
    """--help and what is refused at once come from there."""
    code = f"import sys, {stage}.cli; print(*[name for name in {SLOW_TO_LOAD} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=stage_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", rooms("many", HOUSE))
def test_a_folder_can_be_looked_through(package: str) -> None:
    folders = defaultdict(list)
    for path in files(package):
        if path.stem not in ("__init__", "__main__"):
            folders[path.parent].append(path.name)
    assert not {folder: names for folder, names in folders.items() if len(names) > MANY}


@pytest.mark.parametrize("package", rooms("file names", HOUSE))
def test_a_file_name_is_used_once_in_the_house(package: str) -> None:
    places = defaultdict(list)
    for path in (path for each in HOUSE for path in files(each) if path.stem not in NO_NOUNS):
        places[path.name].append(str(path.relative_to(ROOT)))
    mine = {path.name for path in files(package)}
    assert not {name: found for name, found in places.items() if len(found) > 1 and name in mine}


@pytest.mark.parametrize("package", rooms("class names", HOUSE))
def test_a_class_name_is_used_once_in_the_house(package: str) -> None:
    places = defaultdict(list)
    for each in HOUSE:
        for path in files(each):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(each)
    assert not {name: found for name, found in places.items() if len(found) > 1 and package in found}


@pytest.mark.parametrize("package", rooms("tests", [*HOUSE, "bench"]))
def test_the_product_and_its_benchmarks_import_nothing_from_the_tests(package: str) -> None:
    assert not [str(path) for path in files(package) if "tests" in set(imports(path))]


@pytest.mark.parametrize("folder", rooms("helpers", FOLDERS))
def test_what_tests_share_is_in_helpers_not_in_other_tests(folder: str) -> None:
    known = {module_of(path): path for path in files("tests")}
    for path in files(f"tests/{folder}"):
        for name in imported_modules(path, set(known)):
            assert not known[name].stem.startswith(("test_", "conftest")), f"{path} imports {name}"


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
        if path.name in ("cli.py", "__main__.py") or path == ROOT / "handoff" / "command.py":  # every cli.py ends there
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
