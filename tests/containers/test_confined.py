"""What a program in a container may do: seen from inside, not read from a setting."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from runner.docker import engine
from tests.containers.helpers import STAGES

pytestmark = pytest.mark.container
Inside = dict[str, dict[str, Any]]


@pytest.mark.parametrize("stage", STAGES)
def test_it_is_the_caller_and_nobody_else(inside: Inside, stage: str) -> None:
    assert inside[stage]["ids"] == [os.getuid(), os.getuid(), os.getgid(), os.getgid()]
    assert set(inside[stage]["groups"]) <= {os.getgid()}


@pytest.mark.parametrize("stage", STAGES)
def test_it_has_no_capability_and_cannot_get_one(inside: Inside, stage: str) -> None:
    assert inside[stage]["capabilities"] == [0, 0, 0, 0, 0]
    assert inside[stage]["no_new_privileges"] == "1"


@pytest.mark.parametrize("stage", STAGES)
def test_its_root_file_system_and_the_models_are_read_only_and_tmp_is_not(inside: Inside, stage: str) -> None:
    assert set(inside[stage]["refusals"].values()) == {errno.EROFS}, inside[stage]["refusals"]
    assert inside[stage]["temporary"] == 0


@pytest.mark.parametrize("stage", STAGES)
def test_its_memory_its_processes_and_its_tmp_have_an_end(inside: Inside, stage: str) -> None:
    """As the kernel sees them: a stage that goes wild ends, and not the machine."""
    there = engine.memory()
    assert there
    wanted = int(0.9 * there) if stage == "comfyui" else min(8 * 2**30, there)
    limits = inside[stage]["limits"]
    assert abs(int(limits["memory"]) - wanted) < 2**16, "the kernel counts pages"
    assert limits["processes"] == "2048"
    assert limits["swap"] in (None, "0")
    assert inside[stage]["temporary_bytes"] == 2 * 2**30


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_process_is_an_init_that_reaps_and_passes_signals_on(inside: Inside, stage: str) -> None:
    assert inside[stage]["first_process"].endswith("init") and inside[stage]["own_number"] != 1


@pytest.mark.parametrize("stage", ["posegen", "tracker", "evaluator"])
def test_a_stage_that_needs_no_network_has_none(inside: Inside, stage: str) -> None:
    assert inside[stage]["interfaces"] == ["lo"]
    assert inside[stage]["outside"] == errno.ENETUNREACH


@pytest.mark.parametrize("stage", ["reskin", "comfyui"])
def test_painting_has_one_network_without_a_way_out(inside: Inside, stage: str) -> None:
    assert len(inside[stage]["interfaces"]) == 2
    assert inside[stage]["outside"] == errno.ENETUNREACH
