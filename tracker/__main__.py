"""Run the stage: python -m tracker --run DIR."""

from handoff.command import main
from tracker.cli import command

if __name__ == "__main__":
    main(command)
