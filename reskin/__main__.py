"""`python -m reskin`."""

from handoff.command import main
from reskin.cli import command

if __name__ == "__main__":
    main(command)
