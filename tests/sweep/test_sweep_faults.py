"""What is wrong with a clip, a cell, a folder or the machine fails alone, is named, and is done again when mended."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.process import ROOT
from tests.sweep.wholes import DEMO, WholeSweep

pytestmark = [pytest.mark.slow, pytest.mark.stage, pytest.mark.server]


def failures(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("failed: ")]


def test_clips_that_cannot_be_used_fail_alone_and_are_named(sweep: WholeSweep, demo_clip: Path) -> None:
    place, whole = sweep.place, (demo_clip / "demo.mp4").read_bytes()
    (place / "text.mp4").write_text("not a clip\n")
    (place / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (place / "beside.mp4").write_bytes(whole)
    box = {"bbox": [308, 298, 466, 353], "frame": 4}
    bad = [
        {"path": "text.mp4", **box},
        {"path": "cut.mp4", **box},
        {"path": "beside.mp4", "bbox": [2000, 2000, 2100, 2100], "frame": 4},
    ]
    result = sweep.run(clips=[*bad, DEMO], seeds=[0, 1])
    assert result.returncode == 3, result.stdout + result.stderr
    told = failures(result.stderr)
    assert len(told) == 3, told
    for name, line in zip(("text", "cut", "beside"), told, strict=True):
        found = re.fullmatch(r"failed: extraction of the clip: (.+) \(2 cells, (logs/(\w+)-\w{8}\.log)\)", line)
        assert found and found[3] == name and (sweep.folder / found[2]).is_file(), line
        assert found[1].endswith(".") and "Traceback" not in found[1]
    rows = sweep.rows()
    assert {clip: verdict for (clip, _, _), verdict in rows.items() if verdict == "failed"}.keys() == {
        *("text", "cut", "beside")
    }
    assert sum(verdict in ("pass", "FAIL") for verdict in rows.values()) == 2 and sweep.painted() == 1
    assert "no clip" in (sweep.folder / "table.md").read_text() or "video" in (sweep.folder / "table.md").read_text()
    shutil.copy(demo_clip / "demo.mp4", place / "text.mp4")  # another clip: its extraction has another id
    foretold = sweep.run("-n", clips=[bad[0], bad[1], DEMO], seeds=[0, 1])
    assert foretold.returncode == 0 and "6 cells, 4 left" in foretold.stdout, foretold.stdout
    assert "to do: 2 extractions, 4 batches of cells" in foretold.stdout
    again = sweep.run(clips=[bad[1], DEMO], seeds=[0, 1])
    assert again.returncode == 3 and sweep.painted() == 1 and len(failures(again.stderr)) == 1


def test_a_cell_that_the_stage_refuses_fails_alone(sweep: WholeSweep) -> None:
    """A workflow that is no workflow, for all cells of a sweep that shares its run with another."""
    (sweep.place / "mine.json").write_text("[]")
    result = sweep.run(workflow="mine.json")
    assert result.returncode == 3, result.stdout + result.stderr
    (line,) = failures(result.stderr)
    assert re.fullmatch(r"failed: .*mine\.json.* \(1 cell, logs/\S+\.log\)", line), line
    assert "failed with exit code 2: error: " in result.stdout
    assert [*sweep.rows().values()] == ["failed"] and sweep.asked() == 0
    assert sweep.run(workflow="draft").returncode in (0, 1) and sweep.asked() == 0


def test_a_workflow_that_does_not_exist_is_refused_with_its_line(sweep: WholeSweep) -> None:
    result = sweep.run(workflow="none.json")
    assert result.returncode == 2 and "mine.yaml:1: workflow is 'none.json'; there is no file" in result.stderr


SMALL = """
mount -t tmpfs -o size={size}k tmpfs {small} || exit 99
cp -a {folder}/. {small}/ || exit 98
mount --bind {small} {folder} || exit 97
dd if=/dev/zero of={folder}/.filler bs=4k 2>/dev/null
{command}
echo "ended with $?"
find {folder} -name '*partial*' -not -path '*/.comfyui.*'
rm {folder}/.filler
{command}
echo "ended with $?"
umount {folder}
cp -a {small}/. {folder}/
exit 0
"""


@pytest.mark.parametrize("where", ["sweeps", "runs", "."])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(sweep: WholeSweep, where: str, tmp_path: Path) -> None:
    """A tmpfs in place of a folder, filled to its last page; then the same command when there is room again."""
    small, folder = tmp_path / "small", (sweep.data / where).resolve()
    small.mkdir()
    command = " ".join(f"'{word}'" for word in sweep.command(seeds=[0, 1]))
    script = SMALL.format(size=200_000, small=small, folder=folder, command=command)
    shell = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "--")
    result = sweep.run(prefix=shell, seeds=[0, 1])
    if result.returncode in (97, 98, 99):
        pytest.skip("this machine does not let a test mount a small tmpfs (unshare --map-root-user --mount)")
    said = result.stdout + result.stderr
    codes = re.findall(r"^ended with (\d+)$", said, re.M)
    assert codes[0] == "3" and codes[1] in ("0", "1"), said
    assert "No space left on device" in said or "no space left on the device" in said, said
    assert "Traceback" not in said and "partial" not in result.stdout, said
    assert sweep.painted() == 1 and set(sweep.rows().values()) <= {"pass", "FAIL"}, said


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/data"])
def test_a_data_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str) -> None:
    sweep = WholeSweep(tmp_path, settings={"DATA_DIR": place})
    (tmp_path / "line.mp4").write_text("")
    result = sweep.run(clips=[{"path": "line.mp4", "bbox": [1, 1, 9, 9]}])
    assert result.returncode in (2, 3), result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cannot write {place}/sweeps/mine (") and line.endswith("choose DATA_DIR.")


ODD = """a b 'c' "d" $(touch odd) `touch odd` ${HOME} {id} {{x}} %s \\n ünï 滑 #*?[!]&;|<>~=,"""


def test_a_data_folder_of_an_odd_name_is_a_folder_as_others(done: WholeSweep, tmp_path: Path) -> None:
    sweep = done.copy(tmp_path / "copy", data_name=ODD)
    try:
        result = sweep.run("-n", seeds=[0, 1])
        assert result.returncode == 0, result.stdout + result.stderr
        result = sweep.run()
        assert result.returncode in (0, 1), result.stdout + result.stderr
        assert sweep.painted() == 1 and set(sweep.rows().values()) <= {"pass", "FAIL"}
        assert f"table: {sweep.folder / 'table.md'}" in result.stdout
        assert not [*Path().glob("odd"), *sweep.place.rglob("odd")]
    finally:
        sweep.kill()


def test_a_data_folder_with_a_line_break_is_refused(tmp_path: Path) -> None:
    sweep = WholeSweep(tmp_path, data_name="a\nb")
    result = sweep.run()
    assert result.returncode == 2 and "has control characters" in result.stderr, result.stderr


def test_jobs_have_the_python_that_the_sweep_was_started_with(sweep: WholeSweep) -> None:
    """There is no python3.11 on the PATH; make has PYTHON for that."""
    programs = sweep.place / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for each in Path(folder).glob("*") if folder else ():
            if not each.name.startswith("python") and not (programs / each.name).exists():
                (programs / each.name).symlink_to(each)
    sweep.settings = {"PATH": str(programs), "PYTHON": sys.executable, "ARGS": ""}
    sweep.command(seeds=[0, 1])
    make = ("make", "--no-print-directory", "-C", str(ROOT), "sweep", f"SWEEP={sweep.file}", "PROFILE=local")
    result = subprocess.run(make, capture_output=True, text=True, check=False, env=sweep.environment)
    assert result.returncode in (0, 2), result.stdout + result.stderr
    assert set(sweep.rows().values()) <= {"pass", "FAIL"} and sweep.painted() == 1, result.stdout + result.stderr


def test_options_for_snakemake_and_a_profile_of_ones_own(sweep: WholeSweep) -> None:
    own = sweep.place / "my profile"
    own.mkdir()
    (own / "config.yaml").write_text("executor: local\n")
    sweep.command(seeds=[0, 1])
    result = sweep.run("--profile", f"{own}/", "--", "--config", "note=1")
    assert result.returncode in (0, 1), result.stdout + result.stderr
    assert sweep.painted() == 1
    result = sweep.run("--profile", "local", "--", "--no-such-option", seeds=[0, 1, 2])
    assert result.returncode == 3 and "Snakemake ended with 2; its log: " in result.stderr
    assert "no-such-option" in (sweep.folder / "logs" / "snakemake.log").read_text()


def test_a_table_can_be_made_before_anything_was_done(tmp_path: Path) -> None:
    (tmp_path / "line.mp4").write_text("")
    sweep = WholeSweep(tmp_path)
    result = sweep.run("--table", clips=[{"path": "line.mp4", "bbox": [1, 1, 9, 9]}])
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"0 of 1 cells pass, 1 not yet done; table: {sweep.folder / 'table.md'}\n"
    assert [*sweep.rows().values()] == ["not yet"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "slurmm"], "there is no profile slurmm; it is one of "),
        (["--profile", "./none"], "there is no profile ./none; it is one of "),
    ],
)
def test_a_profile_that_is_not_there_is_one_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "line.mp4").write_text("")
    result = WholeSweep(tmp_path).run(*words, clips=[{"path": "line.mp4", "bbox": [1, 1, 9, 9]}])
    assert result.returncode == 2 and result.stderr.startswith(f"error: {said}") and result.stdout == ""
