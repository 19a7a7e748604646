"""docs/security.md: every promise names a test, and that test is there."""

from __future__ import annotations

import ast
import re

from runner.process import ROOT

PAGE = ROOT / "docs" / "security.md"


def test_every_promise_is_held_by_a_test_that_is_there() -> None:
    text = PAGE.read_text()
    table = text[text.index("## The promises") : text.index("## What follows for CI")]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert len(rows) > 10
    for row in rows:
        file, _, function = re.fullmatch(r"\|.*\| `([\w/.]+)(::)(\w+)` \|", row).groups()  # type: ignore[union-attr]
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, row
