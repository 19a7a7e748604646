"""make doctor: what it says of a machine, what it tells to do, and whether the chosen runner can run."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.docker import images
from runner.doctor import disk, modelfiles
from runner.process import ROOT
from tests.runner.helpers import NO_DAEMON, NOT_ALLOWED, Machine, other_pythons

WEIGHTS = tomllib.loads((ROOT / "weights.toml").read_text())["weights"]


def test_a_bare_machine_can_run_the_local_runner_and_not_the_docker_one(machine: Machine) -> None:
    local, docker = machine.doctor(RUNNER="local"), machine.doctor(RUNNER="docker")
    assert (local.code, docker.code) == (0, 3)
    assert local.line("Docker engine").startswith("warn Docker engine there is no docker command -> install Docker")
    assert docker.line("Docker engine").startswith("missing Docker engine there is no docker command -> ")
    assert local.text.endswith("\ncan run\n") and docker.text.endswith("\ncannot run: 1 thing is missing\n")


def test_the_runner_is_docker_by_itself_only_where_all_images_are(machine: Machine) -> None:
    machine.docker(built=False)
    assert machine.doctor().line("runner") == "ok runner local (RUNNER=auto)"
    machine.docker(built=True)
    report = machine.doctor()
    assert report.line("runner") == "ok runner docker (RUNNER=auto)"
    assert report.code == 0, report.text


@pytest.mark.parametrize(
    ("said", "value", "mend"),
    [
        (NOT_ALLOWED, "the Docker engine does not let this user in", "sudo usermod -aG docker $USER"),
        (NO_DAEMON, "the Docker engine does not answer (Cannot connect", "sudo systemctl start docker"),
    ],
)
def test_an_engine_that_refuses_is_told_apart_from_one_that_is_down(
    machine: Machine, said: str, value: str, mend: str
) -> None:
    machine.program("docker", ("*", said, 1))
    report = machine.doctor(RUNNER="docker")
    assert report.code == 3
    before, _, after = report.line("Docker engine").partition(" -> ")
    assert value in before and mend in after


def test_the_real_docker_command_without_an_engine(machine: Machine) -> None:
    real = shutil.which("docker")
    if real is None:
        pytest.skip("there is no docker command on this machine")
    os.symlink(real, machine.bin / "docker")
    report = machine.doctor(RUNNER="docker", DOCKER_HOST=f"unix://{machine.folder}/none.sock")
    assert report.code == 3
    assert "does not answer" in report.line("Docker engine")


@pytest.mark.parametrize("answer", [("2.17.3", 0), ("docker: 'compose' is not a docker command.", 1)])
def test_an_old_or_absent_compose_is_named(machine: Machine, answer: tuple[str, int]) -> None:
    machine.program("docker", ('"version --format"*', "27.5.1", 0), ('"compose version"*', *answer))
    report = machine.doctor(RUNNER="docker")
    assert report.code == 3
    assert report.line("Docker engine") == "ok Docker engine 27.5.1"
    assert report.line("Docker Compose").startswith("missing Docker Compose Docker")
    assert machine.doctor(RUNNER="local").code == 0


def test_images_that_are_absent_or_of_other_code_are_told_apart(machine: Machine) -> None:
    other = '[{"Config":{"Labels":{"skate-physics.code":"0123456789abcdef"}}}]'
    machine.docker(**{f"image inspect {images.image('tracker')}": other})
    report = machine.doctor(RUNNER="docker")
    assert report.code == 3
    name = images.image("tracker")
    assert report.line("image", name) == f"missing image {name} was made from other code than this -> make build"
    name = images.image("reskin")
    assert report.line("image", name) == f"missing image {name} is not built -> make build"


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"system": {"comfyui_version": "0.30.0"}}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answer) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_a_server_that_is_named_must_answer(machine: Machine, server: str) -> None:
    assert machine.doctor(RUNNER="local", SERVER=server).line("ComfyUI") == f"ok ComfyUI 0.30.0 answers at {server}"
    report = machine.doctor(RUNNER="local", SERVER="127.0.0.1:9")
    assert report.code == 3
    assert report.line("ComfyUI").startswith("missing ComfyUI 127.0.0.1:9 gives no answer that is ComfyUI's")


def place(machine: Machine, name: str, size: int, where: str = "") -> None:
    path = machine.models / (where or WEIGHTS[name]["file"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_model_files_are_known_by_presence_and_size(machine: Machine) -> None:
    size = WEIGHTS["sam2-1-hiera-tiny"]["bytes"]
    report = machine.doctor("tracker-tiny", RUNNER="local")
    assert report.line("model files").endswith(
        "0.16 GB to fetch; the embedded parts do without -> make weights PROFILE=tracker-tiny"
    )
    assert "0.2 GB" in report.line("disk: models")
    place(machine, "sam2-1-hiera-tiny", size)
    report = machine.doctor("tracker-tiny", RUNNER="local")
    assert report.line("model files").startswith("ok model files tracker-tiny: 1 of 1 in")
    assert not report.has("disk: models")
    place(machine, "sam2-1-hiera-tiny", size - 1)
    report = machine.doctor("tracker-tiny", RUNNER="local")
    assert f"has {size - 1} bytes, not {size}: move it away" in report.line("model files")
    assert report.code == 0


def test_a_model_file_that_was_dropped_into_the_folder_counts(machine: Machine) -> None:
    weight = WEIGHTS["sam2-1-hiera-tiny"]
    place(machine, "sam2-1-hiera-tiny", weight["bytes"], Path(weight["file"]).name)
    assert machine.doctor("tracker-tiny", RUNNER="local").line("model files").startswith("ok ")


def test_an_unknown_profile_and_an_unknown_runner_are_refused_with_those_that_are_known(machine: Machine) -> None:
    report = machine.doctor("trakcer", RUNNER="local")
    assert (report.code, report.text) == (2, "")
    assert report.errors.startswith("error: there is no profile 'trakcer'; there are tracker, ")
    report = machine.doctor(RUNNER="podman")
    assert report.code == 2 and "RUNNER=podman is not known" in report.errors


def test_too_little_room_for_a_run_is_missing_and_for_models_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr(disk, "RUN_GB", 1e9)
    run, models = disk.local_lines(1e9, local=False)
    assert (run.status, models.status) == ("missing", "warn")
    assert run.mend.endswith("DATA_DIR=/a/larger/disk") and models.mend.endswith("MODELS_DIR=/a/larger/disk")
    assert not (tmp_path / "not").exists()


def test_room_for_building_counts_only_while_images_are_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.docker(built=False)
    assert "building the images takes 19.0 GB" in machine.doctor(RUNNER="docker").line("disk: images")
    machine.docker(built=True)
    assert "running them takes 2.0 GB" in machine.doctor(RUNNER="docker").line("disk: images")


def test_every_line_that_is_not_well_says_what_to_do(machine: Machine) -> None:
    machine.docker(ps="Exited (1) 2 hours ago")
    machine.nvidia("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.171", 18)
    report = machine.doctor("production", RUNNER="docker", GPU="on")
    troubled = [row for row in report.text.splitlines() if row.startswith(("warn", "missing"))]
    assert len(troubled) >= 8
    assert all("  -> " in row for row in troubled), troubled


def test_another_python_is_told_so_and_not_with_a_traceback(machine: Machine) -> None:
    for python in other_pythons():
        done = subprocess.run([python, "-m", "runner.doctor"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert " 3.11 is needed  -> sudo apt install python3.11 python3.11-venv" in done.stdout


def test_each_stage_says_what_it_would_use_now_and_that_the_embedded_tracker_is_not_for_real_footage(
    machine: Machine,
) -> None:
    report = machine.doctor(RUNNER="local")
    assert report.line("tracker") == (
        "warn tracker would use the embedded tracker, which is for the demo and for tests, not for real footage "
        "-> make weights PROFILE=tracker"
    )
    assert report.line("posegen: object").startswith("warn posegen: object nothing looks for the object: its box is")
    assert "would use MediaPipe, the embedded model ->" in report.line("posegen: skater")
    assert "would use the draft workflow, which is embedded" in report.line("reskin")
    assert report.code == 0, "the embedded ones do"
    for name in ("sam2-1-hiera-large", "yolox-nano"):
        place(machine, name, 1)
    report = machine.doctor(RUNNER="local")
    assert report.line("tracker") == "ok tracker would use SAM 2.1 large"
    assert report.line("posegen: object").startswith("ok ")
    assert report.line("posegen: skater").startswith("warn "), "RTMW is not there"
    place(machine, "rtmw-l-384x288", 1)
    assert machine.doctor(RUNNER="local").line("posegen: skater") == "ok posegen: skater would use RTMW-l"


def test_what_the_doctor_takes_for_the_stages_defaults_is_what_they_take() -> None:
    from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, DETECTORS
    from posegen.models import MODELS as POSES
    from reskin.workflow import LOCKED, load_workflow, weights_of
    from tracker.sam2.sizes import MODELS as TRACKERS
    from tracker.selection import DEFAULT_MODEL as TRACKER

    wanted = {what: set(names) for what, names, *_ in modelfiles.STAGES}
    assert wanted["posegen: object"] == {DETECTORS[DEFAULT_DETECTOR]}
    assert wanted["posegen: skater"] == {POSES[DEFAULT_MODEL], DETECTORS[DEFAULT_DETECTOR]}
    assert wanted["tracker"] == {TRACKERS[TRACKER]}
    assert wanted["reskin"] == {weight.name for weight in weights_of(load_workflow(LOCKED).graph)}
