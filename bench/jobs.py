"""A sweep's job as it is, but for its ComfyUI server, which has the nodes of bench/nodes too: PYTHON -s runner ...

The `python3.11` that bench/sweep.py puts on the path of a sweep is this file. It needs the standard library alone.
"""

import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # this folder has a sweep.py too

from runner import run_named  # noqa: E402
from runner.comfy import comfyserver  # noqa: E402

if __name__ == "__main__":
    comfyserver.serve = functools.partial(comfyserver.serve, nodes=ROOT / "bench" / "nodes")
    del sys.argv[1:3]  # -s, and the runner's folder
    run_named("runner.tools", "tool")
