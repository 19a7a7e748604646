"""What comes from outside is printed as text: nothing of it steers a terminal, hides, or turns a line round."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handoff.command import main, say
from handoff.errors import InputError, printable, printable_lines
from runner.commands import run
from runner.process import ROOT, RunnerError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Ünïcode 漢字 🛹", "plain Ünïcode 漢字 🛹"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\r\nb\tc\x00", r"a\r\nb\tc\x00"),
        ("\x9b31m\u202egnp.exe\u2066\ufeff\u2028", r"\x9b31m\u202egnp.exe\u2066\ufeff\u2028"),
        ("\udcff\ud800", r"\udcff\ud800"),
        (None, "None"),
        ("x" * 400, "x" * 297 + "..."),
    ],
)
def test_what_is_no_printable_character_becomes_an_escape(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_one_line_that_can_be_encoded(text: str) -> None:
    assert printable(text).isprintable()
    assert printable_lines(text).encode() and printable_lines(text).count("\n") == text.count("\n") if text else True
    assert not any(unicodedata.category(each) == "Cf" for each in printable_lines(text))


def test_a_commands_lines_and_its_error_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def fails() -> None:
        say("reads a\x1b[2J\udcff.mp4\nand more")
        raise InputError("b\x1b[1A.mp4 is no clip\u202e;\n  see there.")

    with pytest.raises(SystemExit) as caught:
        main(fails, [])
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.out == "reads a\\x1b[2J\\udcff.mp4\nand more\n"
    assert said.err == "error: b\\x1b[1A.mp4 is no clip\\u202e;\n  see there.\n"


def test_a_root_commands_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(arguments: list[str]) -> int:
        raise RunnerError("c\x1b[2J\udcff.mp4 is not there;\ncheck the path.")

    with pytest.raises(SystemExit) as caught:
        run(fails)
    assert caught.value.code == 3
    assert capsys.readouterr().err == "error: c\\x1b[2J\\udcff.mp4 is not there;\ncheck the path.\n"


def test_a_file_name_that_steers_a_terminal_and_is_no_text_is_refused_with_2(tmp_path: Path) -> None:
    name = str(tmp_path / "w\x1b[2J\udcff.json")
    (tmp_path / "w\x1b[2J\udcff.json").write_text("[]")
    given = ["--run", "none", "--prompt", "drone", "--check", "--workflow", name]
    done = subprocess.run([sys.executable, "-m", "reskin", *given], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr and b"\xff" not in done.stderr
    assert rb"w\x1b[2J\udcff.json is a list of 0, not an object of nodes" in done.stderr


@pytest.mark.parametrize(("module", "code"), [("cv2", 3), ("handoff.nothing", 70)])
def test_a_package_that_cannot_be_loaded_when_it_is_wanted_is_missing(
    module: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenCV and PyAV are loaded by the work itself; under a limit of memory they are there and cannot be."""

    @click.command()
    def fails() -> None:
        raise ImportError(f"{module}.so: failed to map segment from shared object", name=module)

    with pytest.raises(SystemExit) as caught:
        main(fails, [])
    said = capsys.readouterr().err
    assert caught.value.code == code and "failed to map segment" in said and ("Traceback" in said) == (code == 70)
