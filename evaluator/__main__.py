"""Run the stage: python -m evaluator."""

import sys

from handoff.helptext import answer_without

try:
    from evaluator.cli import evaluate
    from handoff.command import main
except ImportError as error:
    sys.exit(answer_without("evaluator", error))

if __name__ == "__main__":
    main(evaluate)
