"""What the pages name is there: every link and anchor leads somewhere, every environment variable is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.process import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").rglob("*.md")])
ENVIRONMENT = ROOT / "docs" / "reference" / "environment.md"
MAKES_OWN = {"MAKEFILE_LIST"}
"""Variables of make itself."""
READ_BY_OTHERS = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL"} | {
    "CUDA_VISIBLE_DEVICES"
}
"""What Python, requests, pip, uv and torch read of themselves."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def product_code() -> Iterator[Path]:
    """Yield every Python file that is no test's."""
    for path in sorted(ROOT.rglob("*.py")):
        first = path.relative_to(ROOT).parts[0]
        if first not in ("tests", "data") and not first.startswith("."):
            yield path


def without_code(text: str) -> str:
    """Return a page's text without what stands in backticks or is indented as code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))


def links(page: Path) -> set[str]:
    """Return the targets of a page's links, `[text](target)` and `[name]: target`, those to other sites left out."""
    text = without_code(page.read_text())
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    return {target for target in found if not re.match(r"[a-z]+:", target)}


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    wrong = []
    for target in sorted(links(page)):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_reference_in_brackets_is_defined_on_its_page(page: Path) -> None:
    text = without_code(page.read_text())
    defined = set(re.findall(r"^\[([^\]]+)\]:", text, re.MULTILINE))
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) <= defined


def test_every_page_that_code_names_is_there() -> None:
    files = [*product_code(), ROOT / "weights.toml", ROOT / "Makefile"]
    named = {each for path in files for each in re.findall(r"docs/[\w/-]+\.md", path.read_text())}
    assert named and not {each for each in named if not (ROOT / each).is_file()}


def variables_in_python(path: Path) -> set[str]:
    """Return the names that a file looks up in os.environ or sets there, constants of the file by their values."""
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    keys: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            keys.append(node.slice)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.environ.pop", "os.getenv"):
            keys.append(node.args[0])
        if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            keys.append(node.left)
    found = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    return found | {str(constants[key.id]) for key in keys if isinstance(key, ast.Name) and key.id in constants}


def variables() -> dict[str, str]:
    """Return every variable that the commands, Compose's files and the Makefile read, and where."""
    found = {name: name_of(path) for path in product_code() for name in variables_in_python(path)}
    for path in sorted(ROOT.glob("compose*.yaml")):
        found |= {name: path.name for name in re.findall(r"\$\{(\w+)", path.read_text())}
    makefile = (ROOT / "Makefile").read_text()
    assert not set(re.findall(r"\$\(([A-Z_]+)\)", makefile)) - MAKES_OWN, "make expands it, and so runs what is in it"
    used = re.findall(r"\$\$\{?([A-Z_]+)|--words ([A-Z_]+)", makefile)
    return found | {a or b: "Makefile" for a, b in used}


def test_every_variable_that_is_read_stands_on_the_page_of_environment_variables() -> None:
    page, read = ENVIRONMENT.read_text(), variables()
    assert {"DATA_DIR", "TRACKER_SAM2_OVERRIDES", "SKATE_GPU", "HOST_UID", "PROFILE", "PUBLISH"} <= set(read)
    missing = {name: where for name, where in read.items() if f"`{name}`" not in page}
    assert not missing


def test_every_variable_on_the_page_is_read_or_said_to_be_anothers() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \|", ENVIRONMENT.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}
    assert named and named <= set(variables()) | READ_BY_OTHERS
