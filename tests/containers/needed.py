"""Which installed packages nothing needs: run inside an image, python needed.py FOLDER [FOLDER ...]

A package is needed when code below one of the folders imports it, or when a needed package's metadata requires it.
Prints JSON: {"needed": {package: why}, "unneeded": [package, ...]}. Standard library only.
"""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import json
import re
import sys
from pathlib import Path

EXTRAS = {"onnxruntime-gpu": frozenset({"cuda", "cudnn"})}
"""The extras by which ONNX Runtime names the libraries that it loads by preload_dlls()."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: Path) -> set[str]:
    """Return the top-level names that the Python files below a folder import, anywhere in them."""
    names = set()
    for path in folder.rglob("*.py"):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module.split(".")[0])
    return names


def required(package: str, extras: frozenset[str]) -> set[tuple[str, frozenset[str]]]:
    """Return what a package's metadata requires, with these extras of it: (name, extras).

    Other conditions than extras (an operating system, say) are not looked at: only what is installed counts in the end.
    """
    found = set()
    for text in metadata.requires(package) or []:
        requirement, _, condition = text.partition(";")
        extra = re.search(r"""extra *== *["']([^"']+)""", condition)
        match = re.match(r" *([A-Za-z0-9._-]+) *(?:\[([^\]]*)\])?", requirement)
        if match and (extra is None or extra.group(1) in extras):
            wanted = frozenset(each.strip() for each in (match.group(2) or "").split(",") if each.strip())
            found.add((normal(match.group(1)), wanted))
    return found


def main(folders: list[str]) -> None:
    installed = {normal(each.metadata["Name"]) for each in metadata.distributions()}
    modules = metadata.packages_distributions()
    why: dict[str, str] = {}
    queue: list[tuple[str, frozenset[str]]] = []
    for folder in folders:
        for name in sorted(imported(Path(folder))):
            for package in modules.get(name, []):
                if normal(package) not in why:
                    why[normal(package)] = f"{Path(folder).name} imports {name}"
                    queue.append((normal(package), EXTRAS.get(normal(package), frozenset())))
    seen = set(queue)
    while queue:
        package, extras = queue.pop()
        for name, wanted in required(package, extras):
            if name in installed and (name, wanted) not in seen:
                seen.add((name, wanted))
                why.setdefault(name, f"{package} requires it")
                queue.append((name, wanted))
    print(json.dumps({"needed": why, "unneeded": sorted(installed - set(why))}))


if __name__ == "__main__":
    main(sys.argv[1:])
