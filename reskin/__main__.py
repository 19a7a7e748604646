"""`python -m reskin`."""

from handoff.cli import main
from reskin.cli import command

if __name__ == "__main__":
    main(command)
