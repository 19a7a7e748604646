"""Fetch or check model files: python -m handoff.weights."""

import sys

from handoff.helptext import answer_without

try:
    from handoff.command import main
    from handoff.weights.cli import command
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("handoff.weights", error))

if __name__ == "__main__":
    main(command)
