"""Who is who from one frame to the next: the pairing with the least total cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]

IMPOSSIBLE = 1e6
"""The cost of a pair that must not be."""


def assign(costs: Costs) -> list[tuple[int, int]]:
    """Return pairs (row, column) of costs (N, M): as many as possible, the least total; none that is IMPOSSIBLE.

    The Hungarian method with potentials (Kuhn 1955, Jonker and Volgenant 1987); a handful of people, so no more.
    """
    if costs.size == 0:
        return []
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    rows, columns = costs.shape
    owner = np.full(columns + 1, -1)  # of each column; the last one is where a search begins
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        owner[columns] = row
        column, came_from = columns, np.full(columns, columns)
        slack, done = np.full(columns, np.inf), np.zeros(columns + 1, bool)
        while owner[column] >= 0:
            done[column] = True
            here = owner[column]
            reduced = costs[here] - row_price[here] - column_price[:columns]
            better = ~done[:columns] & (reduced < slack)
            slack[better], came_from[better] = reduced[better], column
            step_to = int(np.where(done[:columns], np.inf, slack).argmin())
            step = slack[step_to]
            row_price[owner[done]] += step
            column_price[done] -= step
            slack[~done[:columns]] -= step
            column = step_to
        while column != columns:
            previous = int(came_from[column])
            owner[column] = owner[previous]
            column = previous
    pairs = [(int(row), column) for column, row in enumerate(owner[:columns]) if row >= 0]
    return sorted((row, column) for row, column in pairs if costs[row, column] < IMPOSSIBLE)
