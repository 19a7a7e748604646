"""What the tests share: the product's commands as a user runs them, the demo clip, and one demo run."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from runner.process import ROOT, RunnerError
from runner.tools import set_up
from tests.helpers import DemoRun, Product, environments_of

SHARED = ROOT.parent / "shared"

# whoever has images has make's RUNNER=auto mean containers; only tests/containers asks for them, by name
os.environ["RUNNER"] = "local"

# a shell lets what it starts in the background ignore Ctrl-C, the product keeps that, and tests send it
signal.signal(signal.SIGINT, signal.default_int_handler)

# an example that takes long says how busy the machine is, not that the code is wrong
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


WHOLE = {"demo_run": "demo", "comfy_server": "server", "slurm_cluster": "slurm"}
"""What takes long to make, once a worker: a fixture, and the group of the tests that have it, all for one worker."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the tests that one of several workers is to have together: those of a file, of a room, of a long fixture.

    The long groups come first: whoever has begun one last would still be at it when the others have nothing to do.
    """
    first: list[pytest.Item] = []
    rest: list[pytest.Item] = []
    for item in items:
        groups = [group for fixture, group in WHOLE.items() if fixture in getattr(item, "fixturenames", ())]
        folder = item.path.parent.relative_to(ROOT)
        own = folder if folder.name == "sam2" else item.path.relative_to(ROOT)  # its models are made for all of it
        item.add_marker(pytest.mark.xdist_group((groups or [str(own)])[0]))
        (first if groups else rest).append(item)
    items[:] = first + rest


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


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' verdicts are marked, in place of the user's own state folder."""
    folder = tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = str(folder)
    return folder


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


@pytest.fixture(scope="session")
def nano(shared: Path) -> Path:
    """The real YOLOX-nano."""
    path = shared / "weights" / "yolox_nano.onnx"
    if not path.is_file():
        pytest.skip("there is no yolox_nano.onnx beside the checkout")
    return path


@pytest.fixture(scope="session")
def nano_models(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the real YOLOX-nano dropped straight into it; do not change it."""
    return Path(shutil.copy(nano, tmp_path_factory.mktemp("models"))).parent


@pytest.fixture(scope="session")
def demo_run(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """The demo, run once for all tests: do not change its folder, copy it."""
    product = Product(tmp_path_factory.mktemp("demo"))
    return DemoRun(product, product("runner.demo"))
