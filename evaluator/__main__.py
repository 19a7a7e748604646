"""python -m evaluator"""

from evaluator.cli import evaluate
from handoff.cli import main

main(evaluate)
