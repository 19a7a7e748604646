"""The CI examples in docs/ci call what exists, and do what docs/ci.md says of them."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from runner.process import ROOT

EXAMPLES = ("github", "gitlab")
CI = ROOT / "docs" / "ci"


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CI / f"{name}.yml").read_text())
    return loaded


def scripts(name: str) -> list[str]:
    """Return every piece of shell in an example."""
    if name == "github":
        return [step["run"] for step in read(name)["jobs"]["gate"]["steps"] if "run" in step]
    jobs = [job for job in read(name).values() if isinstance(job, dict) and "script" in job]
    return [line for job in jobs for key in ("script", "after_script") for line in job.get(key, [])]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_line_of_shell_is_shell(name: str) -> None:
    assert len(scripts(name)) >= 6
    for text in scripts(name):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stderr}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_target_and_profile_that_is_called_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(scripts(name))
    called = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert {"build", "weights", "doctor", "extract", "reskin"} <= called <= targets
    profiles = set(re.findall(r"PROFILE=(\S+)", text))
    assert profiles and all(f"\n{profile} = " in (ROOT / "weights.toml").read_text() for profile in profiles)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_gate_is_the_evaluator_service_with_options_that_it_has(name: str) -> None:
    gate = next(text for text in scripts(name) if "docker compose run --rm" in text)
    found = re.search(r"run --rm --no-TTY (\w+)\s(.*)", gate, re.DOTALL)
    assert found
    service, options = found.groups()
    assert service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    help_text = (ROOT / "evaluator" / "cli.py").read_text()
    for option in re.findall(r"(?<!\S)(--?[a-z-]+)", options):
        assert f'"{option}"' in help_text, option


def test_values_of_the_form_are_no_part_of_a_script() -> None:
    for text in scripts("github"):
        assert "${{" not in text, text


def test_the_reports_that_are_kept_are_those_that_the_evaluator_writes() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "evaluator").glob("*.py"))
    for file in ("summary.md", "junit.xml"):
        assert file in code
    assert "report/summary.md" in "\n".join(scripts("github"))
    assert read("gitlab")["gate"]["artifacts"]["reports"] == {"junit": "report/junit.xml"}
