"""Whose a container, network or folder is: told by the user and the process in its name."""

from __future__ import annotations

import subprocess
import sys

from runner.docker import compose


def test_what_a_process_that_is_gone_left_is_its_users_to_remove() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mark = compose.mark(gone.pid)
    assert compose.left_by(mark) == compose.left_by(f"{mark}-3") == compose.marked(f"{mark}-3") == mark


def test_a_running_command_and_another_user_are_left_alone() -> None:
    assert compose.left_by(compose.mark()) is None and compose.marked(compose.mark()) == compose.mark()
    assert compose.left_by(f"1{compose.mark(4194305)}") is None


def test_other_names_are_nobodys() -> None:
    for name in (
        "output",
        "7",
        "7-",
        "-7",
        "7-x",
        "7-7",
        "7-0123abcd",
        "7-0123abcd-x",
        "7-0123abcd-7x",
        "7-0123abc-7",
        "",
    ):
        assert compose.marked(name) is None and compose.left_by(name) is None
