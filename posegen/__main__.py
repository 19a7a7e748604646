"""Run the pose stage: python -m posegen."""

from handoff.command import main
from posegen.cli import command

main(command)
