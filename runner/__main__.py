"""What make starts: python runner NAME ARGUMENTS; see runner/tools.py. Every Python can read this file."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # the checkout, not its folder runner

from runner import run_named  # noqa: E402

if __name__ == "__main__":
    run_named("runner.tools", "tool")
