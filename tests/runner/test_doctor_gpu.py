"""make doctor on machines with a GPU. The answers of nvidia-smi have its documented form and made-up values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.comfy.comfyserver import has_gpu
from runner.doctor import cards
from runner.doctor.cards import VRAM_GB, read
from runner.doctor.line import ask
from runner.process import ROOT, stage_environment
from tests.runner.helpers import Machine

ADA = "NVIDIA GeForce RTX 4090, 570.124.06, 24564, 8.9"
NVIDIA_RUNTIME = '{"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}}'


def test_a_gpu_with_a_new_driver_is_well(machine: Machine) -> None:
    machine.nvidia(ADA)
    report = machine.doctor("reskin", RUNNER="local")
    assert report.line("GPU") == ("ok GPU NVIDIA GeForce RTX 4090, 25.8 GB, compute capability 8.9, driver 570.124.06")
    assert report.line("GPU memory").startswith("ok GPU memory 25.8 GB, reskin needs 8.19 GB or more")
    assert report.code == 0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Tesla T4, 470.256.02, 15360, 7.5", "driver 470.256.02 is older than 525.60.13, which CUDA 12 needs"),
        ("Tesla T4, 525.60.11, 15360, 7.5", "driver 525.60.11 is older than 525.60.13, which CUDA 12 needs"),
        ("NVIDIA B200, 565.57.01, 183359, 10.0", "driver 565.57.01 is older than 570, which this GPU needs"),
        ("NVIDIA GeForce RTX 5090, 560.35.03, 32607, 12.0", "is older than 570, which this GPU needs"),
        ("NVIDIA GeForce GTX 1080 Ti, 570.124.06, 11264, 6.1", "torch has no kernels below 7.0"),
    ],
)
def test_a_gpu_that_torch_cannot_use_stops_the_runner(machine: Machine, row: str, reason: str) -> None:
    machine.nvidia(row)
    report = machine.doctor(RUNNER="local")
    assert report.code == 3
    assert report.line("GPU").startswith("missing GPU ") and reason in report.line("GPU")


@pytest.mark.parametrize("row", ["Tesla T4, 525.60.13, 15360, 7.5", "NVIDIA B200, 570.86.15, 183359, 10.0"])
def test_the_oldest_drivers_that_do_are_well(machine: Machine, row: str) -> None:
    machine.nvidia(row)
    assert machine.doctor(RUNNER="local").line("GPU").startswith("ok ")


def test_a_driver_that_does_not_know_the_compute_capability_is_still_read(machine: Machine) -> None:
    machine.nvidia("Tesla V100-SXM2-16GB, 470.57.02, 16160", old=True)
    assert "compute capability not told, driver 470.57.02: driver 470.57.02 is older" in (
        machine.doctor(RUNNER="local").line("GPU")
    )


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.171", 18),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9),
        ("No devices were found", 6),
    ],
)
def test_what_nvidia_smi_complains_of_is_passed_on(machine: Machine, said: str, code: int) -> None:
    machine.nvidia(said, code)
    report = machine.doctor(RUNNER="local")
    assert f"nvidia-smi answers: {said.splitlines()[0]} ->" in report.line("GPU")
    # the containers do not ask for a GPU where the engine has no runtime for it
    machine.docker(built=True)
    assert machine.doctor(RUNNER="docker").line("GPU").startswith("warn ")


def test_less_memory_than_a_profile_needs_is_a_warning(machine: Machine) -> None:
    machine.nvidia("NVIDIA GeForce RTX 3060, 570.124.06, 12288, 8.6")
    report = machine.doctor("reskin", "reskin-cogvideox", RUNNER="local")
    assert report.line("GPU memory", "reskin needs").startswith("ok ")
    assert report.line("GPU memory", "reskin-cogvideox").startswith(
        "warn GPU memory 12.9 GB, reskin-cogvideox needs 14"
    )
    assert report.code == 0


def test_what_is_advised_for_too_little_memory_is_less_than_the_default(machine: Machine) -> None:
    machine.nvidia("NVIDIA T400, 570.124.06, 512, 7.5")
    report = machine.doctor("reskin", "tracker", RUNNER="local")
    assert report.line("GPU memory", "reskin").endswith(
        "-> a smaller --size or --window, or another workflow's profile"
    )
    tracker = report.line("GPU memory", "tracker needs 0.9 GB or more (the model file alone")
    assert tracker.endswith("-> make weights PROFILE=tracker-tiny, then --model tiny")


def test_the_default_profiles_have_a_line_too(machine: Machine) -> None:
    machine.nvidia(ADA)
    report = machine.doctor(RUNNER="local")
    assert report.line("GPU memory", "tracker needs 0.9 GB").startswith("ok ")
    assert report.line("GPU memory", "pose needs 0.21 GB").startswith("ok ")
    assert "detect needs" not in report.text


def test_a_gpu_that_is_too_old_matters_no_more_once_its_use_is_switched_off(machine: Machine) -> None:
    machine.nvidia("NVIDIA GeForce GTX 1080 Ti, 570.124.06, 11264, 6.1")
    assert "-> GPU=off, or" in machine.doctor(RUNNER="local").line("GPU")
    report = machine.doctor(RUNNER="local", GPU="off")
    assert report.code == 0 and report.line("GPU").startswith("warn ")


def test_switched_off_the_gpu_is_used_by_no_stage_and_not_by_comfyui(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nvidia("GPU 0: NVIDIA GeForce GTX 1080 Ti")
    monkeypatch.setenv("PATH", str(machine.bin))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("GPU", "auto")
    assert has_gpu() and "CUDA_VISIBLE_DEVICES" not in stage_environment()
    monkeypatch.setenv("GPU", "off")
    assert not has_gpu() and stage_environment()["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setenv("GPU", "auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_gpu(), "ComfyUI would end where torch sees none"


def test_memory_shared_with_the_computer_is_not_a_number(machine: Machine) -> None:
    machine.nvidia("NVIDIA GB10, 580.95.05, [N/A], 12.1")
    report = machine.doctor("reskin", RUNNER="local")
    assert "memory shared with the computer" in report.line("GPU")
    assert not report.has("GPU memory")


def test_several_gpus_have_a_line_each() -> None:
    first, second = read(f"{ADA}\nNVIDIA H100 80GB HBM3, 570.124.06, 81559, 9.0\n", with_capability=True)
    assert (first.capability, second.capability) == ((8, 9), (9, 0))
    assert round(second.memory_gb or 0, 1) == 85.5


def test_an_engine_without_the_nvidia_runtime_is_told_how_to_get_it(machine: Machine) -> None:
    machine.docker(built=True)
    machine.nvidia(ADA)
    report = machine.doctor(RUNNER="docker")
    assert report.code == 0
    assert report.line("GPU runtime").startswith("warn GPU runtime none; containers get no GPU -> install the NVIDIA")
    assert "nvidia-ctk runtime configure --runtime=docker" in report.line("GPU runtime")
    report = machine.doctor(RUNNER="docker", GPU="on")
    assert report.code == 3 and report.line("GPU runtime").startswith("missing ")
    assert machine.doctor(RUNNER="docker", GPU="off").line("GPU runtime") == "ok GPU runtime not asked for: GPU=off"


def test_an_engine_with_the_nvidia_runtime_is_well_and_then_the_driver_counts(machine: Machine) -> None:
    machine.docker(built=True, runtimes=NVIDIA_RUNTIME)
    machine.nvidia(ADA)
    report = machine.doctor(RUNNER="docker")
    assert report.line("GPU runtime") == "ok GPU runtime the engine has the NVIDIA runtime; containers get GPU 0"
    assert report.code == 0
    machine.nvidia("Tesla T4, 470.256.02, 15360, 7.5")
    assert machine.doctor(RUNNER="docker").code == 3
    assert machine.doctor(RUNNER="docker", GPU="off").code == 0


def test_which_gpu_containers_get_is_said(machine: Machine) -> None:
    machine.docker(built=True, runtimes=NVIDIA_RUNTIME)
    machine.nvidia(f"{ADA}\n{ADA}")
    report = machine.doctor(RUNNER="docker", CUDA_VISIBLE_DEVICES="1,0")
    assert report.line("GPU runtime").endswith("containers get GPU 1")
    hidden = machine.doctor(RUNNER="docker", CUDA_VISIBLE_DEVICES="")
    assert hidden.line("GPU runtime") == "ok GPU runtime CUDA_VISIBLE_DEVICES hides every GPU, from containers too"
    assert machine.doctor(RUNNER="docker", CUDA_VISIBLE_DEVICES="", GPU="on").code == 3


def test_an_nvidia_smi_that_hangs_is_left_behind(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.bin / "nvidia-smi"
    path.write_text("#!/bin/bash\nexec sleep 1000\n")
    path.chmod(0o755)
    (machine.bin / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", str(machine.bin))
    assert ask("nvidia-smi", timeout_s=1.0) == (124, "no answer for 1 s")


def test_a_cdi_specification_alone_is_named_as_not_enough(machine: Machine) -> None:
    specifications = machine.folder / "cdi"
    specifications.mkdir()
    (specifications / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    machine.program(
        "docker",
        ('"version --format"*', "27.5.1", 0),
        ('"compose version"*', "2.32.4", 0),
        ("*.CDISpecDirs*", str(specifications), 0),
        ("*.Runtimes*", "{}", 0),
        ("*.DockerRootDir*", "/", 0),
        ('"ps "*', "", 0),
    )
    machine.nvidia(ADA)
    value = machine.doctor(RUNNER="local").line("GPU runtime")
    assert f"only a CDI specification ({specifications}/nvidia.yaml), which compose.yaml does not use" in value


def test_the_memory_table_is_the_one_in_the_documents() -> None:
    text = (ROOT / "docs" / "guides" / "workflows.md").read_text()
    for figure in (
        "8.19 GB for Wan 2.1 T2V 1.3B",
        "the model file alone is 11.6 GB",
        "about 12 GB without ControlNets",
    ):
        assert figure in text
    assert re.search(r"13 to 14 GB to decode", text)
    assert {profile: need for profile, (need, _) in VRAM_GB.items()} == {
        "reskin": 8.19,
        "production": 8.19,
        "reskin-gguf": 11.6,
        "reskin-sd15": 12.0,
        "reskin-cogvideox": 14.0,
    }


def pci(folder: Path, *devices: tuple[str, str]) -> Path:
    """A folder of PCI devices as Linux shows them: (class, vendor)."""
    for number, (kind, vendor) in enumerate(devices):
        device = folder / f"0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "class").write_text(kind + "\n")
        (device / "vendor").write_text(vendor + "\n")
    return folder


def test_a_machine_without_an_nvidia_card_is_told_so_and_not_to_install_a_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, audio = ("0x030000", "0x8086"), ("0x040300", "0x10de")  # NVIDIA's sound alone is no card
    places = {
        "no card": (pci(tmp_path / "a", other, audio), "ok", "there is no NVIDIA card"),
        "a card": (pci(tmp_path / "b", other, ("0x030200", "0x10de")), "warn", "an NVIDIA card without its driver"),
        "not to be seen": (tmp_path / "c", "ok", "whether there is a card cannot be seen"),
    }
    for folder, status, words in places.values():
        card = cards.nvidia_card(folder)
        monkeypatch.setattr(cards, "nvidia_card", lambda card=card: card)
        (line,) = cards.driver_lines([], "", used=False)
        monkeypatch.undo()
        assert (line.status, words in line.value) == (status, True), line
        assert ("nvidia-driver" in line.mend) == (status == "warn")
