"""Run the pose stage: python -m posegen."""

from handoff.cli import main
from posegen.cli import command

main(command)
