"""The CI examples in docs/guides/ci and docs/how-it-works/gate.md call what exists and do what the pages say."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.process import ROOT

EXAMPLES = ("github", "gitlab")
CI = ROOT / "docs" / "guides" / "ci"


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
    code = "\n".join(path.read_text() for path in (ROOT / "evaluator").rglob("*.py"))
    for file in ("summary.md", "junit.xml"):
        assert file in code
    assert "report/summary.md" in "\n".join(scripts("github"))
    assert read("gitlab")["gate"]["artifacts"]["reports"] == {"junit": "report/junit.xml"}


def gate_page(file: str) -> dict[str, Any]:
    """Return the job in docs/how-it-works/gate.md whose first line names `file`."""
    page = (ROOT / "docs" / "how-it-works" / "gate.md").read_text()
    found = re.search(rf"^    # {re.escape(file)}\n((?:    .*\n)+)", page, re.MULTILINE)
    assert found
    jobs = yaml.safe_load(textwrap.dedent(found.group(1)))
    job: dict[str, Any] = (jobs.get("jobs") or jobs)["gate"]
    return job


def page_shell(job: dict[str, Any]) -> list[str]:
    """Return its lines of shell, in order."""
    steps = [step["run"] for step in job.get("steps", []) if "run" in step]
    return steps + [line for key in ("before_script", "script", "after_script") for line in job.get(key, [])]


PAGE = (".github/workflows/gate.yml", ".gitlab-ci.yml")


@pytest.mark.parametrize("file", PAGE)
def test_the_gates_page_calls_what_exists(file: str) -> None:
    text = "\n".join(page_shell(gate_page(file)))
    options = re.search(r'make evaluate RUN="\$RUNS/ollie" ARGS="(.*)"', text)
    assert options and "\nevaluate:" in (ROOT / "Makefile").read_text()
    help_text = (ROOT / "evaluator" / "cli.py").read_text()
    assert all(f'"{option}"' in help_text for option in re.findall(r"--[a-z-]+", options.group(1)))


@pytest.mark.parametrize("file", PAGE)
def test_in_a_checkout_that_is_not_cleaned_the_second_jobs_report_is_kept_and_only_that(
    file: str, tmp_path: Path
) -> None:
    """The page's shell, twice; make is a script that writes a report where it is told, a smaller one in job 2."""
    job = gate_page(file)
    (tmp_path / "bin").mkdir()
    make = tmp_path / "bin" / "make"
    make.write_text(
        '#!/bin/bash\nfolder="$RUNS/ollie/reskins/drone/report"\n'
        'if [[ "$3" =~ --output\\ ([^ ]+) ]]; then folder="${BASH_REMATCH[1]}"; fi\n'
        'mkdir -p "$folder"\necho "$JOB" > "$folder/summary.md"\necho "$JOB" > "$folder/junit.xml"\n'
        '[ "$JOB" = 2 ] || echo old > "$folder/iou.png"\n'
    )
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "RUNS": str(tmp_path / "runs")}
    environment |= {"GITHUB_STEP_SUMMARY": str(tmp_path / "shown.md")}
    for number in ("1", "2"):
        for line in page_shell(job):
            subprocess.run(["bash", "-ec", line], check=True, cwd=tmp_path, env=environment | {"JOB": number})
    kept = tmp_path / "report"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"summary.md": "2\n", "junit.xml": "2\n"}
    if file == ".gitlab-ci.yml":
        assert job["artifacts"]["paths"] == ["report/"]
        assert job["artifacts"]["reports"] == {"junit": "report/junit.xml"}
    else:
        assert (tmp_path / "shown.md").read_text() == "1\n2\n"
        assert job["steps"][-1]["with"]["path"] == "report" and job["steps"][0]["with"] == {"clean": False}
