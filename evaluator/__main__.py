"""python -m evaluator"""

from evaluator.cli import evaluate
from handoff.command import main

main(evaluate)
