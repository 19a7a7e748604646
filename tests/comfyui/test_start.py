"""How ComfyUI is started in its image: on the GPU where one answers, with the flags that the environment names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runner.process import ROOT

CODE = "import sys; from pathlib import Path; from comfyui import start; start.WORK = Path(sys.argv[1]); "
CODE += "start.NODES = start.WORK / 'none'; print(*start.command())"
GPU, NO_GPU = "echo 'GPU 0: a card'", "exit 9"


def started(folder: Path, nvidia_smi: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask for the server's command line where nvidia-smi is this piece of shell."""
    folder.joinpath("bin").mkdir(exist_ok=True)
    program = folder / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMFYUI_")}
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", CODE, str(folder / "work")]
    return subprocess.run(command, env=kept | path | environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_on_a_gpu_the_flags_are_those_of_the_environment(tmp_path: Path) -> None:
    settings = {"COMFYUI_LOWVRAM": "1", "COMFYUI_RESERVE_VRAM": "1.5", "COMFYUI_PORT": "9000"}
    flags = started(tmp_path, GPU, **settings).stdout.split()
    assert "--lowvram" in flags and "--cpu" not in flags
    assert flags[flags.index("--reserve-vram") + 1] == "1.5" and flags[flags.index("--port") + 1] == "9000"
    flags = started(tmp_path, GPU, COMFYUI_LOWVRAM="0", COMFYUI_RESERVE_VRAM="").stdout.split()
    assert flags[0] == "main.py" and not {"--lowvram", "--reserve-vram", "--cpu"} & set(flags)


def test_without_a_gpu_it_is_the_cpu_and_flags_for_a_gpu_are_left_out(tmp_path: Path) -> None:
    flags = started(tmp_path, NO_GPU, COMFYUI_LOWVRAM="1", COMFYUI_RESERVE_VRAM="1.5").stdout.split()
    assert "--cpu" in flags and not {"--lowvram", "--reserve-vram"} & set(flags)
    assert "--cpu" in started(tmp_path, GPU, COMFYUI_CPU="1").stdout.split()


def test_a_gpu_that_is_required_and_does_not_answer_ends_it_with_3(tmp_path: Path) -> None:
    done = started(tmp_path, NO_GPU, COMFYUI_GPU="required")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "error: GPU=on, but no NVIDIA driver answers in ComfyUI's container; see nvidia-smi."
    ]
    assert "--cpu" not in started(tmp_path, GPU, COMFYUI_GPU="required").stdout.split()
