"""Documents that went wrong: Hypothesis changes, drops and adds what stands somewhere in one."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        2**64,
        10**400,
        0.5,
        float("nan"),
        float("inf"),
        -float("inf"),
        [],
        {},
        "",
        ".",
        "..",
        "\ud800",
    ),
    *("\x1b[2J\x07", "\u202ea", "a\nb", "x" * 5000, "../../etc/passwd", "/etc/passwd", "Note", "Reroute", "workflow>a"),
    *(["1", 0], ["1"], ["1", 0, 0], ["none", 0], ["1", 99], ["1", None], [["1"], 0], [1, 0], {"__value__": "a"}),
    *({"__value__": ["a"]}, {"": ""}, [[[[]]]], {"title": None}, {"title": ["a"]}, [None], [{}], [float("nan")]),
]
JUNK = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Where something stands: each container with each of its keys or indices."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def mutated(draw: st.DrawFn, document: Any, most: int = 3) -> Any:
    """A copy of a JSON document with one to `most` changes."""
    made = {"": copy.deepcopy(document)}
    for _ in range(draw(st.integers(1, most))):
        found = places(made)
        container, key = found[draw(st.integers(0, len(found) - 1))]
        change = draw(st.sampled_from(("replace", "replace", "move", "drop", "add")))
        if change == "drop" and container is not made:
            del container[key]
        elif change == "add" and isinstance(container[key], dict):
            container[key][draw(st.text(max_size=6))] = copy.deepcopy(draw(JUNK))
        elif change == "move":
            other, at = found[draw(st.integers(0, len(found) - 1))]
            container[key] = copy.deepcopy(other[at])
        else:
            container[key] = copy.deepcopy(draw(JUNK))
    return made[""]
