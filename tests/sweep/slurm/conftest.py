"""Brings up a real SLURM of one node from Debian's packages, once a worker, where that can be done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.envs import ensure_env
from tests.sweep.slurm.cluster import Cluster, Workflow

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")


@pytest.fixture(scope="session")
def slurm_cluster(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """SLURM with two pretended GPUs, on ports of its own; its folder, and the environment of its commands."""
    recipe = shared / "slurm"
    if not (recipe / "slurm-up.sh").is_file():
        pytest.skip("there is no slurm/slurm-up.sh in the folder beside the checkout")
    if os.getuid() != 0:
        pytest.skip("SLURM's services are started as root")
    _install()
    folder = tmp_path_factory.mktemp("slurm")
    ports = [str(each) for each in _free_ports(2)]
    up = [recipe / "slurm-up.sh", folder, "2", *ports]
    done = subprocess.run(up, env=os.environ | {"CPUS": "16"}, capture_output=True, text=True)
    try:
        assert done.returncode == 0, done.stderr
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        yield Cluster(folder, {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path})
    finally:
        subprocess.run([recipe / "slurm-down.sh", folder], capture_output=True)


@pytest.fixture
def cluster(slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, without jobs and with its controller, and this process set up to use it."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    slurm_cluster.clear()
    yield slurm_cluster


@pytest.fixture
def workflow(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Workflow]]:
    """Make the small workflow for this cluster, of jobs with these names; Snakemake's log is shown on failure."""
    made: list[Workflow] = []

    def make(ids: str, seconds: float = 3, patience_s: float = 120) -> Workflow:
        folder = tmp_path / f"toy{len(made)}"
        folder.mkdir()
        made.append(Workflow(folder, ensure_env("sweep"), ids, seconds, patience_s))
        return made[-1]

    yield make
    for each in made:
        print(each.log())


def _install() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        pytest.skip(f"{', '.join(missing)} is not there, and no apt-get to install it with")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    for command in (install, ["apt-get", "update"], install):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if command is install and done.returncode == 0:
            return
    pytest.skip(f"{', '.join(missing)} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
