"""The NVIDIA driver, the GPU's memory, and whether the engine can hand the GPU to a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.docker import engine, gpu
from runner.docker.engine import numbers
from runner.doctor.line import Line, ask, trouble

MIN_DRIVER = "525.60.13"
"""The oldest Linux driver that programs built with any CUDA 12 run on (docs/reference/doctor.md has the source)."""
BLACKWELL_DRIVER = "570"
"""The first driver branch that knows GPUs of compute capability 10 and above (docs/reference/doctor.md)."""
BLACKWELL = (10, 0)
OLDEST_GPU = (7, 0)
"""Compute capability; torch 2.10.0's CUDA 12.8 wheel holds kernels for 7.0 to 12.0 (torch._C._cuda_getArchFlags())."""
VRAM_GB = {
    "reskin": (8.19, "published for Wan 2.1 T2V 1.3B at 480p"),
    "production": (8.19, "published for Wan 2.1 T2V 1.3B at 480p"),
    "reskin-gguf": (11.6, "the model file alone"),
    "reskin-sd15": (12.0, "published for AnimateDiff, without ControlNets"),
    "reskin-cogvideox": (14.0, "published for CogVideoX's decoding, offloaded"),
}
"""GPU memory by profile, in 10^9 bytes, and what it is; sources: docs/guides/workflows.md. Not measured here. Of the
others, the tracker's and the pose network's, only the size of the model file is known."""
PCI = Path("/sys/bus/pci/devices")
_DISPLAY, _NVIDIA = "0x03", "0x10de"  # PCI's class of display controllers, and NVIDIA's vendor number
_SMALL_GB = 0.1
"""Any GPU has so much."""
_LESS = {"tracker": "make weights PROFILE=tracker-tiny, then --model tiny", "pose": "--device cpu"}
_UPDATE = "install a newer driver (Debian, Ubuntu: sudo apt install nvidia-driver), then restart the machine"
_TOOLKIT = (
    "install the NVIDIA Container Toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker"
)


@dataclass(frozen=True)
class Gpu:
    """A line of nvidia-smi. memory_gb: 10^9 bytes, None where it shares the computer's. capability: None: not told."""

    name: str
    driver: str
    memory_gb: float | None
    capability: tuple[int, ...] | None


def read(answer: str, with_capability: bool) -> list[Gpu]:
    """Return the GPUs in the answer of nvidia-smi --query-gpu=name,driver_version,memory.total[,compute_cap]."""
    found = []
    for row in answer.splitlines():
        cells = [cell.strip() for cell in row.split(",")]
        if len(cells) != (4 if with_capability else 3):
            continue
        mebibytes = int(cells[2]) if cells[2].isdigit() else None
        found.append(
            Gpu(
                name=cells[0],
                driver=cells[1],
                memory_gb=None if mebibytes is None else mebibytes * 2**20 / 1e9,
                capability=numbers(cells[3]) if with_capability and numbers(cells[3]) else None,
            )
        )
    return found


def gpus() -> tuple[list[Gpu], str]:
    """Return the GPUs that the driver names, and what nvidia-smi said where it names none ("" without nvidia-smi)."""
    said = ""
    # drivers before 510 refuse the whole question for compute_cap
    for fields, with_capability in (
        ("name,driver_version,memory.total,compute_cap", True),
        ("name,driver_version,memory.total", False),
    ):
        code, said = ask("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
        found = read(said, with_capability) if code == 0 else []
        if found:
            return found, ""
        if code == 127:
            return [], ""
    return [], said


def _lacks(card: Gpu) -> str | None:
    """Say why torch cannot use this GPU, or None."""
    if numbers(card.driver) < numbers(MIN_DRIVER):
        return f"driver {card.driver} is older than {MIN_DRIVER}, which CUDA 12 needs"
    if card.capability and card.capability >= BLACKWELL and numbers(card.driver) < numbers(BLACKWELL_DRIVER):
        return f"driver {card.driver} is older than {BLACKWELL_DRIVER}, which this GPU needs"
    return None


def nvidia_card(pci: Path = PCI) -> bool | None:
    """Say whether a display controller of NVIDIA's is in this machine; None where its devices cannot be read."""
    kinds = list(pci.glob("*/class"))
    if not kinds:
        return None
    try:
        display = [kind.parent for kind in kinds if kind.read_text().startswith(_DISPLAY)]
        return any((device / "vendor").read_text().strip() == _NVIDIA for device in display)
    except OSError:
        return None


def _without_driver(card: bool | None) -> Line:
    """Return the line of a machine without nvidia-smi."""
    if card:
        mend = "sudo apt install nvidia-driver"
        return Line("warn", "GPU", "an NVIDIA card without its driver (no nvidia-smi): all runs on the CPU", mend)
    if card is None:
        return Line("ok", "GPU", "no NVIDIA driver (no nvidia-smi), and whether there is a card cannot be seen: CPU")
    return Line("ok", "GPU", "there is no NVIDIA card in this machine: everything runs on the CPU")


def driver_lines(found: list[Gpu], said: str, used: bool) -> Iterator[Line]:
    """Yield a line for each GPU, or one that there is none. used: the chosen runner would use a GPU that answers."""
    if not found and not said:
        yield _without_driver(nvidia_card())
    elif not found:
        last = said.splitlines()[0]
        yield Line(
            trouble(used), "GPU", f"nvidia-smi answers: {last}", "restart the machine; then install the driver anew"
        )
    for card in found:
        memory = "memory shared with the computer" if card.memory_gb is None else f"{card.memory_gb:.1f} GB"
        capability = ".".join(map(str, card.capability)) if card.capability else "not told"
        value = f"{card.name}, {memory}, compute capability {capability}, driver {card.driver}"
        reason = _lacks(card)
        if reason:
            yield Line(trouble(used), "GPU", f"{value}: {reason}", _UPDATE)
        elif card.capability and card.capability < OLDEST_GPU:
            oldest = ".".join(map(str, OLDEST_GPU))
            yield Line(
                trouble(used), "GPU", f"{value}: torch has no kernels below {oldest}", "GPU=off, or --device cpu"
            )
        else:
            yield Line("ok", "GPU", value)


def memory_lines(found: list[Gpu], largest_gb: dict[str, float]) -> Iterator[Line]:
    """Yield a line for each profile: the first GPU's memory against its need. Never more than a warning: ComfyUI moves
    what does not fit to the computer's memory, and is slower for it. largest_gb: each profile's largest model file.
    """
    card = found[0] if found else None
    for profile, file_gb in largest_gb.items():
        need, source = VRAM_GB.get(profile, (round(file_gb, 2), "the model file alone; the rest is not measured"))
        if card is None or card.memory_gb is None or need < _SMALL_GB:
            continue
        value = f"{card.memory_gb:.1f} GB, {profile} needs {need:g} GB or more ({source})"
        if card.memory_gb >= need:
            yield Line("ok", "GPU memory", value)
        else:
            mend = _LESS.get(profile.partition("-")[0], "a smaller --size or --window, or another workflow's profile")
            yield Line("warn", "GPU memory", value, mend)


def runtime_line(found: list[Gpu], needed: bool) -> Line:
    """Return whether the engine hands a GPU to containers. needed: GPU=on with the docker runner."""
    what = "GPU runtime"
    if (os.environ.get("GPU") or "auto") == "off":
        return Line("ok", what, "not asked for: GPU=off")
    if gpu.visible() == []:
        return Line("missing" if needed else "ok", what, f"{gpu.VISIBLE} hides every GPU, from containers too")
    if gpu.runtime():
        return Line("ok", what, f"the engine has the NVIDIA runtime; containers get GPU {gpu.for_containers()}")
    specifications = list(_cdi())
    if not found and not needed:
        return Line("ok", what, "none, and no GPU either: containers run on the CPU (compose.cpu.yaml)")
    only = (
        f"only a CDI specification ({specifications[0]}), which compose.yaml does not use" if specifications else "none"
    )
    return Line(trouble(needed), what, f"{only}; containers get no GPU", f"{_TOOLKIT}; or GPU=off")


def _cdi() -> Iterator[Path]:
    """Yield the CDI specifications of NVIDIA's that the engine could read."""
    answer = engine.docker("info", "--format", "{{range .CDISpecDirs}}{{println .}}{{end}}")
    for folder in answer.stdout.split():
        yield from sorted(Path(folder).glob("nvidia*"))
