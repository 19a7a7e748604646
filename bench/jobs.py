"""The runner as it is, but for the ComfyUI servers that it starts, which have the nodes of bench/nodes too.

    jobs.py PROGRAM -s runner sweep FILE

PROGRAM is what calls this file with itself and its arguments; the sweep starts its jobs in it. bench/sweep.py makes it.
It needs the standard library alone.
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
    sys.executable = sys.argv[1]
    del sys.argv[1:4]  # -s, and the runner's folder
    run_named("runner.tools", "tool")
