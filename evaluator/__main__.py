"""Run the stage: python -m evaluator -original MASK -generated VIDEO."""

from evaluator.cli import command
from handoff.command import main

if __name__ == "__main__":
    main(command)
