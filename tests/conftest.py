"""What the tests share: the product's commands as a user runs them, the demo clip, and one demo run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.process import ROOT, RunnerError
from runner.tools import STAGES, set_up

SHARED = ROOT.parent / "shared"

# whoever has images has make's RUNNER=auto mean containers; only tests/containers asks for them, by name
os.environ["RUNNER"] = "local"


@dataclass(frozen=True)
class Product:
    """The root commands with a data folder of their own; settings: more of their environment."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def __call__(
        self, script: str, *arguments: object, prefix: tuple[str, ...] = (), timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run `script` (extract_physics.py, ... or a module) to its end and return what it printed."""
        return subprocess.run(
            [*prefix, *self.command(script, *arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd=self.root,
            timeout=timeout_s,
        )

    def command(self, script: str, *arguments: object) -> list[str]:
        target = [str(self.root / script)] if script.endswith(".py") else ["-m", script]
        return [sys.executable, *target, *(str(each) for each in arguments)]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"DATA_DIR": str(self.data)} | dict(self.settings)

    def run(self, name: str) -> Path:
        return self.data / "runs" / name


NEEDS = {"stage": ("posegen", "tracker", "reskin", "evaluator"), "server": ("comfyui",)}
"""Mark: the environments that a test with it needs, unless the mark names its own: @pytest.mark.stage("posegen")."""


def environments_of(item: pytest.Item) -> set[str]:
    """Return the environments that a test needs, by its marks and by the fixture that is a whole demo."""
    found = {name for mark, all_of in NEEDS.items() for each in item.iter_markers(mark) for name in each.args or all_of}
    return found | ({*STAGES} if "demo_run" in getattr(item, "fixturenames", ()) else set())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make what the tests that are about to run need, and nothing else: environments, the demo clip."""
    if session.config.option.collectonly:
        return
    environments = {name for item in session.items for name in environments_of(item)}
    clip = any("demo_clip" in getattr(item, "fixturenames", ()) for item in session.items)
    if not (environments or clip):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            set_up(environments, clip=clip and "DEMO_CLIP" not in os.environ)
        except RunnerError as error:
            pytest.exit(f"what the tests need cannot be made: {error}", returncode=error.exit_code)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(tmp_path / "data")


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The folder with demo.mp4, truth.mp4, truth/ and truth.json; made before the first test."""
    return Path(os.environ["DEMO_CLIP"])


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips and masks beside the checkout, which only some machines have."""
    if not SHARED.is_dir():
        pytest.skip("there is no folder with shared clips beside the checkout")
    return SHARED


@dataclass(frozen=True)
class DemoRun:
    """One `make demo` from beginning to end."""

    product: Product
    result: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> Path:
        return self.product.run("demo")

    @property
    def reskin(self) -> Path:
        return next((self.folder / "reskins").glob("*/output.mp4")).parent


@pytest.fixture(scope="session")
def demo_run(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """The demo, run once for all tests: do not change its folder, copy it."""
    product = Product(tmp_path_factory.mktemp("demo"))
    return DemoRun(product, product("runner.demo"))
