"""A sweep's file: what is read, and each refusal with its line; random files are read or refused, and nothing else."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.clip import PROMPT_FRAME
from demo.source import FRAME_COUNT
from handoff.errors import PreserverError
from reskin.nouns import MAX_LENGTH, parse_prompt
from reskin.settings import LARGEST_SEED
from reskin.workflow import workflow_names
from runner import extract, reskin, runs
from runner.process import ROOT
from sweep.errors import SweepError
from sweep.request import specification
from sweep.request.document import LARGEST
from sweep.request.options import IN_ONE_CLIP, INTERNAL, OWN, offered, options
from sweep.request.specification import SweepClip, name_for, read

LEAST = "clips: [path: a.mp4]\nprompts: [drone]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two clips and a picture, which is the current one."""
    for name in ("a.mp4", "b.mp4", "c.png"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str | bytes) -> Path:
    path = Path("my.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(text: str | bytes) -> str:
    with pytest.raises(SweepError) as caught:
        read(write(text))
    assert caught.value.exit_code == 2
    return str(caught.value)


def clip_of(text: str) -> SweepClip:
    (clip,) = read(write(f"clips: [{text}]\nprompts: [drone]\n")).clips
    return clip


# what is read


def test_the_example_is_read() -> None:
    sweep = read(ROOT / "sweep" / "example.yaml")
    assert (sweep.name, sweep.folder, sweep.path) == ("example", ROOT / "sweep", ROOT / "sweep" / "example.yaml")
    assert [(clip.run, clip.demo, clip.path) for clip in sweep.clips] == [
        ("demo", "all", None),
        ("demo-0-39", (0, 39), None),
    ]
    assert sweep.prompts == ("cyberpunk drone, samurai", "neon surfboard, astronaut")
    assert (sweep.seeds, sweep.until_pass, sweep.workflow, sweep.batch, sweep.gpus) == ((0, 1), 2, "draft", 8, None)
    assert all(options(clip.extract) == ["--backend", "embedded"] for clip in sweep.clips)
    assert sweep.settings == sweep.gate == {}


def test_the_example_shows_own_clips_as_they_can_be_written(folder: Path) -> None:
    shown = (ROOT / "sweep" / "example.yaml").read_text()
    own = [line.removeprefix("# ") for line in shown.splitlines() if line.startswith(("# - ", "#   "))]
    own = [line for line in own if "make sweep" not in line]
    (folder / "clips").mkdir()
    for name in ("line.mp4", "slope.mp4"):
        (folder / "clips" / name).write_bytes(b"")
    line, slope = read(write("clips:\n" + "\n".join(own) + "\nprompts: [drone]\n")).clips
    assert (line.path, line.bbox, line.frame) == (folder / "clips" / "line.mp4", (308, 298, 466, 353), 4)
    assert (slope.path, slope.object) == (folder / "clips" / "slope.mp4", "snowboard")


def test_everything_that_can_be_said_is_read(folder: Path) -> None:
    sweep = read(
        write("""
name: Night_1
clips:
  - path: a.mp4
    run: line
    bbox: [308, 298, 466, 353]
    frame: 4
    correct: [{frame: 50, bbox: [310, 190, 420, 230]}]
    cuts: [50, 120]
    extract: {verify: false, model: tiny}
  - {path: b.mp4, object: snowboard, cuts: none}
  - {path: b.mp4, run: b-auto, cuts: auto, extract: {point: ["1,2", "3,4,0"], no-verify: yes}, frame: 7}
prompts: [" cyberpunk  drone,samurai", 'surfboard']
seeds: [7, 0-2, "10-10"]
until_pass: 3
workflow: wan_vace
settings: {steps: 4, cfg: 1.5, no_lock: true, keep_takes: all, vary: ["grow=4,12", cfg=4], reference: c.png,
  timeout: 1e3}
extract: {backend: sam2, verify: true, pose_backend: rtmw}
gate: {accept_mask: true, second-judge: backward}
batch: 5
gpus: 2
""")
    )
    assert sweep.clips[0] == SweepClip(
        path=folder / "a.mp4",
        demo=None,
        run="line",
        bbox=(308, 298, 466, 353),
        frame=4,
        correct=((50, (310, 190, 420, 230)),),
        cuts=(50, 120),
        object=None,
        extract={"backend": ("sam2",), "pose-backend": ("rtmw",), "model": ("tiny",)},
    )
    assert (sweep.clips[1].run, sweep.clips[1].object, sweep.clips[1].cuts) == ("b", "snowboard", "none")
    assert options(sweep.clips[1].extract) == ["--backend", "sam2", "--pose-backend", "rtmw", "--verify"]
    assert sweep.clips[2].frame == 7 and sweep.clips[2].cuts == "auto"
    assert options(sweep.clips[2].extract) == [
        *("--backend", "sam2", "--no-verify", "--point", "1,2", "--point", "3,4,0", "--pose-backend", "rtmw"),
    ]
    assert sweep.name == "Night_1" and sweep.prompts == ("cyberpunk drone, samurai", "surfboard")
    assert sweep.seeds == (7, 0, 1, 2, 10) and (sweep.until_pass, sweep.batch, sweep.gpus) == (3, 5, 2)
    assert sweep.workflow == "wan_vace" and options(sweep.extract) == options(sweep.clips[1].extract)
    assert options(sweep.settings) == [
        *("--cfg", "1.5", "--keep-takes", "all", "--no-lock", "--reference", str(folder / "c.png"), "--steps", "4"),
        *("--timeout", "1000.0", "--vary", "grow=4,12", "--vary", "cfg=4"),
    ]
    assert options(sweep.gate) == ["--accept-mask", "--second-judge", "backward"]


def test_what_is_left_out_has_its_usual_value(folder: Path) -> None:
    sweep = read(write(LEAST))
    assert sweep.name == "my" and sweep.path == folder / "my.yaml" and sweep.clips[0].run == "a"
    assert (sweep.seeds, sweep.until_pass, sweep.workflow, sweep.batch, sweep.gpus) == ((0,), 1, None, 8, None)
    assert sweep.settings == sweep.extract == sweep.gate == sweep.clips[0].extract == {}


def test_paths_begin_at_the_files_folder_and_keep_their_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = folder / "clips"
    clips.mkdir()
    (clips / "ünder.mp4").symlink_to(folder / "a.mp4")
    (folder / "own.json").write_text("{}")
    (folder / "linked").symlink_to(clips)
    file = write('clips: [path: "clips/../linked/ünder.mp4"]\nprompts: [a]\nworkflow: own.json\n')
    monkeypatch.chdir("/")
    sweep = read(folder / file)
    assert sweep.clips[0].path == clips / "ünder.mp4"
    assert sweep.clips[0].run == runs.name_for(clips / "ünder.mp4") != "nder"
    assert sweep.workflow == str(folder / "own.json")


def test_pictures_that_are_varied_have_their_whole_paths(folder: Path) -> None:
    (folder / "d, e.png").write_bytes(b"")
    sweep = read(write(LEAST + """settings: {vary: ['reference=c.png, "d, e.png"', grow=4]}"""))
    assert options(sweep.settings) == ["--vary", f'reference={folder}/c.png,"{folder}/d, e.png"', "--vary", "grow=4"]


def test_a_byte_order_mark_and_windows_lines_are_no_fault(folder: Path) -> None:
    assert read(write(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())).prompts == ("drone",)


def test_cuts_none_is_a_word_and_yes_is_a_flag(folder: Path) -> None:
    assert clip_of("{path: a.mp4, cuts: none}").cuts == "none"
    assert options(clip_of("{path: a.mp4, extract: {compile: on, verify: off}}").extract) == ["--compile"]


def test_what_quotes_make_text_is_text(folder: Path) -> None:
    quoted = ["no", "1:30", "010", "2026-11-29", "~", "5", "=", "<<"]
    assert read(write(f"clips: [path: a.mp4]\nprompts: {quoted}\n")).prompts == tuple(quoted)


def test_the_guide_says_every_key_and_its_shortest_file_is_read(folder: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "sweep.md").read_text()
    rows = [line.split(" | ")[0] for line in guide.splitlines() if line.startswith("| `")]
    said = {key for row in rows for key in row.strip("| ").replace("`", "").split(", ")}
    schema = specification._validator().schema
    assert said >= {*schema["properties"], *schema["$defs"]["clip"]["properties"]}
    (folder / "line.mp4").write_bytes(b"")
    shortest = guide[guide.index("    clips:") : guide.index("`sweep/example.yaml`")]
    assert read(write(shortest)).prompts == ("cyberpunk drone, samurai",)


# what is refused: the file

SAID_BY_HAND: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "1: the file is empty; copy sweep/example.yaml and change it."),
    "nothing but a comment": ("# hello\n", "1: the file is empty; copy sweep/example.yaml and change it."),
    "null": ("---\n~\n", "1: the file is empty; copy sweep/example.yaml and change it."),
    "a list": ("- a.mp4\n", "1: the file is a list of 1; write keys such as clips: and prompts:."),
    "text": ("hello\n", "1: the file is 'hello'; write keys such as clips: and prompts:."),
    "a key twice": (LEAST + "batch: 3\nbatch: 4\n", "4: batch stands here and in line 3; leave one of them out."),
    "a key of a clip twice": (
        "clips:\n- path: a.mp4\n  run: a\n  path: b.mp4\nprompts: [a]\n",
        "4: path stands here and in line 2; leave one of them out.",
    ),
    "an anchor": (
        "clips: [path: a.mp4]\nprompts: &all [drone]\n",
        "2: &all names a value for later; take the name out.",
    ),
    "an alias": (LEAST + "seeds: *all\n", "3: *all stands for what is elsewhere; write it out here."),
    "a merge key": (
        LEAST + "settings:\n  <<: {steps: 4}\n",
        "4: << takes in the keys of another group; write them out here.",
    ),
    "a tag": (
        LEAST + "name: !!python/object/apply:os.system ['true']\n",
        "3: the tag !!python/object/apply:os.system says how to read a value; take it out.",
    ),
    "a plain tag": (LEAST + "batch: !!str 3\n", "3: the tag !!str says how to read a value; take it out."),
    "a bare tag": (LEAST + "batch: ! 3\n", "3: the tag ! says how to read a value; take it out."),
    "two documents": (
        LEAST + "---\n" + LEAST,
        "3: a second document begins here (---); a sweep is one: take it out.",
    ),
    "a tab": (LEAST + "settings:\n\tsteps: 4\n", "4: a tab stands where YAML wants spaces; write spaces in its place."),
    "a colon": (
        "clips: [path: a.mp4]\nprompts:\n  - x\nname: drone: red\n",
        "4: a ':' stands where no key can be; put text that has ': ' in it in quotes, and check the spaces.",
    ),
    "an open list": (
        LEAST + "seeds: [1, 2\n",
        "4: this is no YAML (while parsing a flow sequence; expected ',' or ']', but got '<stream end>'); compare it "
        "with sweep/example.yaml, and put text with signs in it in quotes.",
    ),
    "a sign": (
        LEAST + "name: @home\n",
        "3: this is no YAML (while scanning for the next token; found character '@' that cannot start any token); "
        "compare it with sweep/example.yaml, and put text with signs in it in quotes.",
    ),
    "a list as a key": (
        LEAST + "? [a]\n: b\n",
        "3: a list or a group of keys stands where a key should; write a name, such as prompts:.",
    ),
    "a number as a key": (LEAST + "5: b\n", "3: the key 5 is no name; put it in quotes if it is one."),
    "no as a key": (LEAST + "no: b\n", "3: the key no is no name; put it in quotes if it is one."),
    "another encoding": (
        LEAST.encode() + b"name: caf\xe9\n",
        "3: the byte 0xe9 is no UTF-8; save the file as UTF-8.",
    ),
    "UTF-16": (LEAST.encode("utf-16"), "1: the byte 0xff is no UTF-8; save the file as UTF-8."),
    "a NUL": (LEAST + "name: a\0b\n", "3: the character U+0000 cannot stand in a text file; take it out."),
    "a letter that is none": (
        LEAST + 'name: "\\UFFFFFFFF"\n',
        "3: the number of a letter (\\U in quotes), or of a version (%YAML), is too large; take it out.",
    ),
    "a version that is none": (
        f"%YAML {'9' * 5000}.0\n---\n{LEAST}",
        "1: the number of a letter (\\U in quotes), or of a version (%YAML), is too large; take it out.",
    ),
    "a value below its key": (LEAST + "batch:\n\n  0\n", "3: batch is 0; write a whole number from 1 to 1000."),
    "a key twice with values below": (
        LEAST + "batch:\n\n  0\nbatch: 4\n",
        "6: batch stands here and in line 3; leave one of them out.",
    ),
    "half a letter": (
        'clips: [path: a.mp4]\nprompts: ["\\ud800"]\n',
        r"2: '\ud800' has a line break or a control character; write one line of plain text.",
    ),
    "two lines": (
        "clips: [path: a.mp4]\nprompts:\n- |\n  drone\n",
        r"3: 'drone\n' has a line break or a control character; write one line of plain text.",
    ),
    "nested lists": (
        LEAST + "seeds: " + "[" * 4000,
        "3: this is nested more than 20 deep; compare it with sweep/example.yaml.",
    ),
    "nested dashes": (
        LEAST + "seeds:\n" + "- " * 4000,
        "4: this is nested more than 20 deep; compare it with sweep/example.yaml.",
    ),
}
ODD = "read as a number in another notation by YAML; put it in quotes if it is text, else write a plain number."
for text in ("1:30", "010", "0x10", "0b1", "1_000", ".nan", "-.inf", "1:30.5"):
    SAID_BY_HAND[f"the number {text}"] = (LEAST + f"batch: {text}\n", f"3: '{text}' is {ODD}")
for text in ("2026-11-29", "2026-11-29 10:00:00"):
    told = f"3: '{text}' is read as a date by YAML; put it in quotes if it is text."
    SAID_BY_HAND[f"the date {text}"] = (LEAST + f"name: {text}\n", told)
for text in ("1" * 30, "1e400", "9" * 5000):
    shown = text if len(text) < 60 else text[:57] + "..."
    told = f"3: {shown} is too large a number; write a smaller one."
    SAID_BY_HAND[f"the large number {text[:5]} of {len(text)}"] = (LEAST + f"batch: {text}\n", told)


# ... and what stands in it

WHOLE_SEED = "a whole number from 0 to 18446744073709551615, or a range such as 0-7"
KEYS = "name, clips, prompts, seeds, until_pass, workflow, settings, extract, gate, batch, gpus"
NOUNS = 'write a new object and a new skater, such as "cyberpunk drone, samurai", or the object alone.'
CUTS = "write auto, none, or a list of the frames that shots begin with, such as [50, 120]."


def whole(key: str, value: str, told: str) -> tuple[str, str]:
    """A file with one more key, on line 3, and what is said of it."""
    return f"{LEAST}{key}: {value}\n", f"3: {told}"


def group(name: str, written: str, told: str) -> tuple[str, str]:
    """A file with an option in one of the groups, on line 4, and what is said of it."""
    return f"{LEAST}{name}:\n  {written}\n", f"4: {told}"


def one_clip(written: str, told: str) -> tuple[str, str]:
    """A file with one clip, on line 2, and what is said of it."""
    return f"clips:\n- {{{written}}}\nprompts: [drone]\n", f"2: {told}"


def prompts(written: str, told: str) -> tuple[str, str]:
    return f"clips: [path: a.mp4]\nprompts: {written}\n", f"2: {told}"


SAID_BY_HAND |= {
    "no prompts": ("\nclips: [path: a.mp4]\n", "2: the file has no prompts; write prompts: too."),
    "no clips": ("prompts: [a]\n", "1: the file has no clips; write clips: too."),
    "no clip": (
        "clips: []\nprompts: [a]\n",
        "1: clips is a list of 0; write a list of clips, each with a dash in front, such as - path: demo.mp4.",
    ),
    "a clip's name alone": (
        "clips:\n  - a.mp4\nprompts: [a]\n",
        "2: an entry of clips is 'a.mp4'; write a clip such as {path: demo.mp4}.",
    ),
    "a mistyped key": whole("until-pass", "3", "there is no key until-pass here; did you mean until_pass?"),
    "a mistyped key in capitals": whole("Promts", "[a]", "there is no key Promts here; did you mean prompts?"),
    "an option as a key": whole("steps", "3", "steps is an option of generate_reskin.py; write it under settings:."),
    "an option of the other as a key": whole(
        "backend", "sam2", "backend is an option of extract_physics.py; write it under extract:."
    ),
    "a clip's key": whole("bbox", "[1, 2, 3, 4]", "there is no key bbox here; write it at the clip."),
    "an unknown key": whole("zzz", "1", f"there is no key zzz here; what there is: {KEYS}."),
    "an unknown key of a clip": one_clip("path: a.mp4, objct: b", "there is no key objct here; did you mean object?"),
    "a key of the sweep": one_clip(
        "path: a.mp4, seeds: [1]", "there is no key seeds here; write it beside clips:, for all of them."
    ),
    "an option at a clip": one_clip(
        "path: a.mp4, backend: sam2", "backend is an option of extract_physics.py; write it under extract:."
    ),
    "a name with spaces": whole(
        "name", "a b", "name is 'a b'; write at most 100 letters, digits, - and _, with no - in front."
    ),
    "a path as a name": whole(
        "name", "../a", "name is '../a'; write at most 100 letters, digits, - and _, with no - in front."
    ),
    "a number as a name": whole(
        "name", "5", 'name is 5; write at most 100 letters, digits, - and _, with no - in front, in quotes: "5".'
    ),
    "one prompt": prompts(
        "cyberpunk drone", "prompts is 'cyberpunk drone'; write a list of texts such as [\"cyberpunk drone, samurai\"]."
    ),
    "a number as a prompt": prompts(
        "[5]", 'an entry of prompts is 5; write a text such as "cyberpunk drone, samurai", in quotes: "5".'
    ),
    "no as a prompt": prompts(
        "[no]",
        "an entry of prompts is no, which YAML reads as false; write a text such as "
        '"cyberpunk drone, samurai", in quotes: "no".',
    ),
    "true as a prompt": prompts(
        "[true]", 'an entry of prompts is true; write a text such as "cyberpunk drone, samurai", in quotes: "true".'
    ),
    "nothing as a prompt": prompts(
        "[~]", 'an entry of prompts is empty; write a text such as "cyberpunk drone, samurai".'
    ),
    "an empty prompt": prompts("['']", "an entry of prompts is ''; write a text such as \"cyberpunk drone, samurai\"."),
    "spaces as a prompt": prompts("['  ']", f"the prompt '  ' is not one or two nouns; {NOUNS}"),
    "three nouns": prompts("['a, b, c']", f"the prompt 'a, b, c' is not one or two nouns; {NOUNS}"),
    "a comma too many": prompts("['a,']", f"the prompt 'a,' is not one or two nouns; {NOUNS}"),
    "a long noun": prompts(f"['{'x' * 201}']", "the prompt has a noun of 201 characters; 200 is the most."),
    "a letter that is not seen": prompts(
        '["a\\u200bb"]', r"the prompt 'a\u200bb' has control characters; write plain words."
    ),
    "a prompt twice": (
        "clips: [path: a.mp4]\nprompts:\n- drone, samurai\n- ' drone,samurai '\n",
        "4: the prompt 'drone, samurai' is in line 3 too; leave one out.",
    ),
    "a prompt twice in two ways": (
        'clips: [path: a.mp4]\nprompts:\n- caf\u00e9\n- "cafe\\u0301"\n',
        "4: the prompt 'caf\u00e9' is in line 3 too; leave one out.",
    ),
    "a seed that is no whole number": whole("seeds", "[1.0]", f"an entry of seeds is 1.0; write {WHOLE_SEED}."),
    "a negative seed": whole("seeds", "[-1]", f"an entry of seeds is -1; write {WHOLE_SEED}."),
    "true as a seed": whole("seeds", "[true]", f"an entry of seeds is true; write {WHOLE_SEED}."),
    "text as a seed": whole("seeds", "['5']", f"an entry of seeds is '5'; write {WHOLE_SEED}."),
    "a seed alone": whole(
        "seeds", "3", "seeds is 3; write a list of whole numbers, such as [0, 1], or a range, such as 0-7."
    ),
    "no seed": whole(
        "seeds",
        "[]",
        "seeds is a list of 0; write a list of whole numbers, such as [0, 1], or a range, such as 0-7.",
    ),
    "a seed twice": (
        LEAST + "seeds:\n- 0-7\n- 3\n",
        "5: the seed 3 is in line 4 too; leave one out.",
    ),
    "seeds the wrong way round": whole("seeds", "7-0", "the seeds 7-0 end before they begin; write 0-7."),
    "a large seed": whole("seeds", "[18446744073709551616]", f"an entry of seeds is {2**64}; write {WHOLE_SEED}."),
    "a range to a large seed": whole(
        "seeds", f"0-{2**64}", f"the seed {2**64} is too large; 18446744073709551615 is the largest."
    ),
    "many seeds": whole("seeds", "0-100000", "these are more than 100000 seeds; write fewer."),
    "many seeds in two ranges": whole(
        "seeds", "[0-60000, 60001-100000]", "these are more than 100000 seeds; write fewer."
    ),
    "many cells": (
        "clips: [path: a.mp4]\nprompts: [a, b, c, d, e, f, g, h, i, j, k]\nseeds: 0-99999\n",
        "1: 1 clips x 11 prompts x 100000 seeds are 1100000 reskins, 1000000 are the most; make several sweeps of it.",
    ),
    "until_pass 0": whole("until_pass", "0", "until_pass is 0; write a whole number from 1 to 100."),
    "until_pass 101": whole("until_pass", "101", "until_pass is 101; write a whole number from 1 to 100."),
    "until_pass 2.0": whole("until_pass", "2.0", "until_pass is 2.0; write a whole number from 1 to 100."),
    "until_pass empty": whole("until_pass", "", "until_pass is empty; write a whole number from 1 to 100."),
    "batch 0": whole("batch", "0", "batch is 0; write a whole number from 1 to 1000."),
    "gpus 65": whole("gpus", "65", "gpus is 65; write a whole number from 1 to 64."),
    "gpus off": whole("gpus", "off", "gpus is off, which YAML reads as false; write a whole number from 1 to 64."),
    "a mistyped workflow": whole("workflow", "drft", "workflow is 'drft'; did you mean draft?"),
    "no workflow": whole(
        "workflow",
        "zzz",
        f"workflow is 'zzz'; write one of {', '.join(workflow_names())}, or a .json file.",
    ),
}

# ... a clip

SAID_BY_HAND |= {
    "a clip that is not there": one_clip(
        "path: c.mp4", "path is 'c.mp4'; there is no file FOLDER/c.mp4; check the path."
    ),
    "a folder as a clip": one_clip("path: .", "path is '.'; FOLDER is a folder; name a file."),
    "a pipe as a clip": one_clip("path: pipe", "path is 'pipe'; FOLDER/pipe is a pipe or a device; name a file."),
    "a device as a clip": one_clip(
        "path: /dev/null", "path is '/dev/null'; /dev/null is a pipe or a device; name a file."
    ),
    "a clip below a file": one_clip(
        "path: a.mp4/b", "path is 'a.mp4/b'; it cannot be used: Not a directory; check the path."
    ),
    "a circle of links": one_clip(
        "path: circle/b", "path is 'circle/b'; it cannot be used: its links lead in a circle; check the path."
    ),
    "a long name": one_clip(
        f"path: {'x' * 300}, run: x", f"path is '{'x' * 57}...'; it cannot be used: File name too long; check the path."
    ),
    "a home folder": one_clip("path: ~/a.mp4", "path is '~/a.mp4'; ~ is nobody's folder here; write the whole path."),
    "a number as a path": one_clip("path: 5", 'path is 5; write the clip\'s file, in quotes: "5".'),
    "neither path nor demo": one_clip("run: b", "an entry of clips has no path; write path: and the clip's file."),
    "both path and demo": one_clip(
        "path: a.mp4, demo: all", "path is beside demo:, which has its own; leave one of them out."
    ),
    "a box of the demo": one_clip(
        "demo: all, bbox: [1, 2, 3, 4]", "bbox is beside demo:, which has its own; leave one of them out."
    ),
    "an object of the demo": one_clip(
        "demo: all, object: surfboard", "object is beside demo:, which has its own; leave one of them out."
    ),
    "true as the demo": one_clip(
        "demo: true", "demo is true; write all, or the first and the last frame of the demo clip, such as [0, 39]."
    ),
    "another word as the demo": one_clip(
        "demo: half", "demo is 'half'; write all, or the first and the last frame of the demo clip, such as [0, 39]."
    ),
    "one frame of the demo": one_clip(
        "demo: [3]",
        "demo is a list of 1; write all, or the first and the last frame of the demo clip, such as [0, 39].",
    ),
    "more frames than the demo's": one_clip(
        "demo: [0, 92]", "an entry of demo is 92; write a frame of the demo clip, from 0 to 91."
    ),
    "frames without the demo's box": one_clip(
        "demo: [5, 39]",
        "demo is frames 5 to 39, and its box is known on frame 4; write a first and a last frame around that.",
    ),
    "the demo the wrong way round": one_clip(
        "demo: [39, 0]",
        "demo is frames 39 to 0, and its box is known on frame 4; write a first and a last frame around that.",
    ),
    "a run with spaces": one_clip(
        "path: a.mp4, run: a b", "run is 'a b'; write at most 100 letters, digits, - and _, with no - in front."
    ),
    "a run with a dash in front": one_clip(
        "path: a.mp4, run: -n", "run is '-n'; write at most 100 letters, digits, - and _, with no - in front."
    ),
    "a long run": one_clip(
        f"path: a.mp4, run: {'r' * 101}",
        f"run is '{'r' * 57}...'; write at most 100 letters, digits, - and _, with no - in front.",
    ),
    "a long name for a run": one_clip(
        f"path: {'l' * 101}.mp4",
        "the run would be named as the clip, with 101 letters, 100 are the most; write run: and a shorter one.",
    ),
    "two clips of one run": (
        "clips:\n- {path: a.mp4, run: x}\n- {path: b.mp4, run: x}\nprompts: [a]\n",
        "3: this clip and that in line 2 have one run, x; write run: and another name here.",
    ),
    "two clips of one name": (
        "clips:\n- path: a.mp4\n\n- path: ./a.mp4\nprompts: [a]\n",
        "4: this clip and that in line 2 have one run, a; write run: and another name here.",
    ),
    "a box of three": one_clip(
        "path: a.mp4, bbox: [1, 2, 3]", "bbox is a list of 3; write the object's box in pixels, [x1, y1, x2, y2]."
    ),
    "a box as on the command line": one_clip(
        "path: a.mp4, bbox: '1,2,3,4'", "bbox is '1,2,3,4'; write the object's box in pixels, [x1, y1, x2, y2]."
    ),
    "a box of no whole numbers": one_clip(
        "path: a.mp4, bbox: [1, 2, 3.0, 4]", "an entry of bbox is 3.0; write a whole number of pixels, 0 or more."
    ),
    "a box outside": one_clip(
        "path: a.mp4, bbox: [-1, 2, 3, 4]", "an entry of bbox is -1; write a whole number of pixels, 0 or more."
    ),
    "a box with no inside": one_clip(
        "path: a.mp4, bbox: [3, 2, 3, 4]",
        "bbox is [3, 2, 3, 4], which has no inside; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2.",
    ),
    "a frame without a box": one_clip(
        "path: a.mp4, frame: 3", "frame is that of bbox:, which is not here; write bbox: too, or leave frame: out."
    ),
    "a negative frame": one_clip(
        "path: a.mp4, bbox: [1, 2, 3, 4], frame: -3", "frame is -3; write a frame's number, counted from 0."
    ),
    "an object beside a box": one_clip(
        "path: a.mp4, bbox: [1, 2, 3, 4], object: snowboard",
        "object looks for what bbox: or point: gives; leave one of them out.",
    ),
    "an object beside a point": one_clip(
        "path: a.mp4, object: snowboard, extract: {point: '1,2'}",
        "object looks for what bbox: or point: gives; leave one of them out.",
    ),
    "an empty object": one_clip("path: a.mp4, object: ''", "object is ''; write a name such as snowboard."),
    "corrections as on the command line": one_clip(
        "path: a.mp4, correct: ['50:1,2,3,4']",
        "an entry of correct is '50:1,2,3,4'; write a frame and the object's box on it, such as "
        "{frame: 50, bbox: [310, 190, 420, 230]}.",
    ),
    "a correction without a frame": one_clip(
        "path: a.mp4, correct: [{bbox: [1, 2, 3, 4]}]", "an entry of correct has no frame; write frame: too."
    ),
    "a correction with no inside": one_clip(
        "path: a.mp4, correct: [{frame: 5, bbox: [4, 3, 2, 1]}]",
        "bbox is [4, 3, 2, 1], which has no inside; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2.",
    ),
    "two corrections on a frame": (
        "clips:\n- path: a.mp4\n  correct:\n  - {frame: 5, bbox: [1, 2, 3, 4]}\n  - {frame: 5, bbox: [1, 2, 3, 5]}\n"
        "prompts: [a]\n",
        "5: frame 5 has a box already; leave one of them out.",
    ),
    "a correction on the box's frame": one_clip(
        "path: a.mp4, bbox: [1, 2, 3, 4], correct: [{frame: 0, bbox: [1, 2, 3, 5]}]",
        "frame 0 has a box already; leave one of them out.",
    ),
    "cuts no": one_clip("path: a.mp4, cuts: no", f"cuts is no, which YAML reads as false; {CUTS}"),
    "cuts off": one_clip("path: a.mp4, cuts: Off", f"cuts is Off, which YAML reads as false; {CUTS}"),
    "cuts empty": one_clip("path: a.mp4, cuts: ", f"cuts is empty; {CUTS}"),
    "cuts of text": one_clip("path: a.mp4, cuts: '50,120'", f"cuts is '50,120'; {CUTS}"),
    "a cut at 0": one_clip("path: a.mp4, cuts: [0]", "an entry of cuts is 0; write a frame's number from 1 on."),
    "cuts out of order": one_clip(
        "path: a.mp4, cuts: [120, 50]", "cuts is [120, 50]; write each frame once, the smallest first."
    ),
    "a cut twice": one_clip(
        "path: a.mp4, cuts: [50, 50]", "cuts is [50, 50]; write each frame once, the smallest first."
    ),
}

# ... an option

SAID_BY_HAND |= {
    "no settings": whole("settings", "", "settings is empty; write options of generate_reskin.py, such as {steps: 4}."),
    "settings as a list": whole(
        "settings",
        "[--steps 4]",
        "settings is a list of 1; write options of generate_reskin.py, such as {steps: 4}.",
    ),
    "gate as a word": whole(
        "gate", "strict", "gate is 'strict'; write options of the gate, such as {second-judge: backward}."
    ),
    "a mistyped option": group("settings", "stps: 4", "generate_reskin.py has no option stps; did you mean steps?"),
    "an option in capitals": group(
        "settings", "STEPS: 4", "generate_reskin.py has no option STEPS; did you mean steps?"
    ),
    "an option with its dashes": group(
        "settings", "--steps: 4", "generate_reskin.py has no option --steps; did you mean steps?"
    ),
    "an option that there is not": group(
        "extract",
        "zzz: 4",
        "extract_physics.py has no option zzz; what there is: extract_physics.py --help lists them.",
    ),
    "an option of the wrong group": group(
        "settings", "backend: sam2", "backend is an option of extract_physics.py; write it under extract:."
    ),
    "an option of the gate in settings": group(
        "settings",
        "accept_mask: true",
        "accept_mask is an option of generate_reskin.py's gate; write it under gate:.",
    ),
    "another option of the evaluator": group(
        "gate",
        "threshold: 0.8",
        "generate_reskin.py's gate has no option threshold; what there is: accept-mask, second-judge.",
    ),
    "a point in all clips": group(
        "extract", "point: ['1,2']", "point is a place in one clip; write it under extract: of that clip."
    ),
    "an option twice": (
        LEAST + "gate:\n  accept_mask: true\n  accept-mask: true\n",
        "5: accept-mask stands here and in line 4; leave one of them out.",
    ),
    "an option and its opposite": (
        LEAST + "extract:\n  verify: true\n  no-verify: true\n",
        "5: no-verify stands here and verify in line 4; leave one of them out.",
    ),
    "no whole number": group("settings", "steps: 4.5", "steps is 4.5; write a whole number."),
    "true as a number": group("settings", "steps: true", "steps is true; write a whole number."),
    "text as a number": group("settings", "cfg: high", "cfg is 'high'; write a number."),
    "no value": group("settings", "steps:", "steps is empty; write a whole number."),
    "no choice": group("settings", "overlap_mode: fad", "overlap-mode is 'fad'; write one of fade, anchor."),
    "no choice of takes": group(
        "settings", "keep-takes: no", "keep-takes is no, which YAML reads as false; write one of best, all."
    ),
    "no choice of the pose stage": group(
        "extract", "pose_backend: sam2", "pose-backend is 'sam2'; write one of auto, embedded, rtmw."
    ),
    "no choice of the gate": group(
        "gate",
        "second-judge: yes",
        "second-judge is yes, which YAML reads as true; write one of backward, embedded, tiny, small, base_plus, "
        "large.",
    ),
    "a number as text": group("settings", "lora: 5", 'lora is 5; write FILE[:STRENGTH] in quotes, "5".'),
    "no as text": group(
        "settings", "sampler: no", 'sampler is no, which YAML reads as false; write NAME in quotes, "no".'
    ),
    "an empty text": group("settings", "sampler: ''", "sampler is ''; write NAME."),
    "a value for a flag": group("extract", "compile: 5", "compile is 5; it is a flag: write true or false."),
    "an empty flag": group("gate", "accept-mask:", "accept-mask is empty; it is a flag: write true or false."),
    "a list for one value": group("settings", "size: [640, 352]", "size is a list of 2; it takes one value."),
    "a place as a list": (
        "clips:\n- path: a.mp4\n  extract:\n    point: [190, 220]\nprompts: [a]\n",
        '4: point is 190; write X,Y[,0|1] in quotes, "190".\n4: point is 220; write X,Y[,0|1] in quotes, "220".',
    ),
    "a picture that is not there": group(
        "settings", "reference: d.png", "reference is 'd.png'; there is no file FOLDER/d.png; check the path."
    ),
    "a picture at home": group(
        "settings", "reference: ~/d.png", "reference is '~/d.png'; ~ is nobody's folder here; write the whole path."
    ),
    "weights that are not there": group(
        "extract", "checkpoint: big.pt", "checkpoint is 'big.pt'; there is no file FOLDER/big.pt; check the path."
    ),
    "nothing that is varied": group(
        "settings", "vary: ['=4,12']", "vary is '=4,12'; write NAME=V,V with an option of generate_reskin.py."
    ),
    "what cannot be varied": group(
        "settings",
        "vary: grwo=4,12",
        "vary is 'grwo=4,12'; write NAME=V,V with an option of generate_reskin.py such as grow.",
    ),
    "a varied picture that is not there": group(
        "settings",
        "vary: ['reference=c.png,d.png']",
        "vary is 'reference=c.png,d.png'; there is no file FOLDER/d.png; check the path.",
    ),
    "a workflow that is not there": whole(
        "workflow", "mine.json", "workflow is 'mine.json'; there is no file FOLDER/mine.json; check the path."
    ),
}
for kind, names in OWN.items():
    for name, advice in names.items():
        told = (
            f"the sweep itself gives {name} to {'generate_reskin.py' if kind == 'settings' else 'extract_physics.py'}"
        )
        SAID_BY_HAND[f"{name} in {kind}"] = group(kind, f"{name}: x", f"{told}; {advice}.")


@pytest.mark.parametrize("case", SAID_BY_HAND)
def test_what_cannot_be_is_refused_with_its_line(folder: Path, case: str) -> None:
    text, told = SAID_BY_HAND[case]
    os.mkfifo("pipe")
    Path("circle").symlink_to("circle")
    Path(f"{'l' * 101}.mp4").write_bytes(b"")
    lines = told.replace("FOLDER", str(folder)).split("\n")
    assert refused(text).split("\n") == [f"my.yaml:{line}" for line in lines]


def test_faults_are_told_in_the_order_of_their_lines_and_ten_at_most(folder: Path) -> None:
    assert refused(LEAST + "batch: 0\nzzz: 1\ngpus: 0\n").split("\n") == [
        "my.yaml:3: batch is 0; write a whole number from 1 to 1000.",
        f"my.yaml:4: there is no key zzz here; what there is: {KEYS}.",
        "my.yaml:5: gpus is 0; write a whole number from 1 to 64.",
    ]
    lines = refused(LEAST + "seeds:\n" + "- -1\n" * 12).split("\n")
    assert [line.split(": ")[0] for line in lines] == [*(f"my.yaml:{number}" for number in range(4, 14)), "my.yaml"]
    assert lines[-1] == "my.yaml: and 2 more of them."


def test_a_files_name_that_steers_a_terminal_is_told_as_letters(folder: Path) -> None:
    file = write("").rename("my\x1b[31m.yaml")
    with pytest.raises(SweepError, match=r"^my\\x1b\[31m\.yaml:1: the file is empty"):
        read(file)


# ... and what is no such file at all


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo("pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as served:
        served.bind("socket")
        said = {}
        for name in ("nothing.yaml", "folder", "pipe", "socket", "/dev/zero", "folder/", "my.yaml/a", "x" * 300):
            write(LEAST)
            with pytest.raises(SweepError) as caught:
                read(Path(name))
            said[name] = str(caught.value)
    other = "this is a folder, a pipe or a device; name the sweep's file, such as sweep/example.yaml."
    assert said == {
        "nothing.yaml": "nothing.yaml: the sweep's file cannot be read (No such file or directory); check the path.",
        "folder": f"folder: {other}",
        "pipe": f"pipe: {other}",
        "socket": "socket: the sweep's file cannot be read (No such device or address); check the path.",
        "/dev/zero": f"/dev/zero: {other}",
        "folder/": f"folder: {other}",
        "my.yaml/a": "my.yaml/a: the sweep's file cannot be read (Not a directory); check the path.",
        "x" * 300: f"{'x' * 300}: the sweep's file cannot be read (File name too long); check the path.",
    }


def test_a_huge_file_is_refused_before_it_is_read(folder: Path) -> None:
    path = write(LEAST)
    os.truncate(path, 100 * 2**20)
    began = time.monotonic()
    with pytest.raises(SweepError) as caught:
        read(path)
    assert str(caught.value) == "my.yaml: this has more than 4 MiB, and is no sweep's file; check the path."
    assert time.monotonic() - began < 2
    assert refused(b"#" * (LARGEST + 1)) == str(caught.value)


def test_a_file_that_may_not_be_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "my.yaml")

    path = write(LEAST)
    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(SweepError, match=r"my\.yaml: the sweep's file cannot be read \(Permission denied\)"):
        read(path)


def test_a_long_file_name_cannot_name_the_sweep(folder: Path) -> None:
    path = write(LEAST).rename("n" * 101 + ".yaml")
    with pytest.raises(SweepError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}:1: the sweep would be named as its file, with 101 letters, 100 are the most; write name: and a "
        "shorter one."
    )


# it says of the product what is so


@pytest.mark.parametrize("kind, command", [("settings", reskin), ("extract", extract)])
def test_the_options_are_those_of_the_command(kind: str, command: Any) -> None:
    """Each option of the command can be said in the file, or is the sweep's own, and there is no other."""
    ours = offered("gate") | offered(kind) if kind == "settings" else offered(kind)
    theirs = {name.lstrip("-"): option for option in command.command_line().options for name in option.names}
    assert set(theirs) == set(ours) | set(OWN[kind]) and not set(ours) & set(OWN[kind])
    for name, found in ours.items():
        option = theirs[name]
        expected = (option.name, option.value, option.choices or (), option.multiple)
        assert (f"--{found.name}", found.value, found.choices, found.multiple) == expected
    assert not set(theirs) & set(INTERNAL)


def test_the_gate_is_that_of_the_loop() -> None:
    assert set(offered("gate")) == {reskin.ACCEPT_MASK.lstrip("-"), reskin.SECOND_JUDGE.lstrip("-")}
    assert set(IN_ONE_CLIP) <= set(offered("extract"))


@given(st.text(min_size=1, max_size=60).filter(lambda name: "/" not in name and "\0" not in name))
def test_a_clip_names_its_run_as_the_command_does(name: str) -> None:
    assert name_for(Path(f"{name}.mp4")) == runs.name_for(Path(f"{name}.mp4"))


def test_what_is_known_of_the_product_is_so() -> None:
    schema = specification._validator().schema
    assert schema["$defs"]["clip"]["properties"]["demo"]["items"]["maximum"] == FRAME_COUNT - 1
    assert specification.DEMO_PROMPT_FRAME == PROMPT_FRAME
    assert specification.LONGEST_NOUN == MAX_LENGTH
    assert specification.LARGEST_SEED == LARGEST_SEED == schema["properties"]["seeds"]["items"]["maximum"]
    assert schema["properties"]["until_pass"]["maximum"] == reskin.MOST_TAKES
    usual = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
    assert usual == {"seeds": [0], "until_pass": 1, "batch": 8}


@given(st.text(max_size=30) | st.text("ab,\u0301\u200c\t ", max_size=12))
def test_a_prompt_that_is_read_is_one_that_is_painted(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.mp4").write_bytes(b"")
    file = folder / "prompt.yaml"
    file.write_text(yaml.safe_dump({"clips": [{"path": "a.mp4"}], "prompts": [text]}), encoding="utf-8")
    try:
        understood = str(parse_prompt(text))
    except PreserverError:
        with pytest.raises(SweepError):
            read(file)
    else:
        assert read(file).prompts == (understood,)


# whatever stands in it


def read_or_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    began = time.process_time()
    try:
        read(file)
    except SweepError as error:
        assert error.exit_code == 2
        for line in str(error).split("\n"):
            assert line.startswith(str(file)) and line.endswith((".", "?")) and line.isprintable()
    assert time.process_time() - began < 1


@settings(max_examples=300)
@given(st.binary(max_size=4096) | st.text(max_size=1000).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    read_or_refused(tmp_path_factory.getbasetemp() / "bytes.yaml", data)


SIGNS = [
    "a",
    ":",
    " ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "? ",
    "'",
    '"',
    "#",
    "&a ",
    "*a",
    "!!",
    "!",
    "|",
    ">",
    "\t",
]
SIGNS += [
    "%YAML 1.1\n",
    "---\n",
    "...\n",
    "<<",
    "=",
    "~",
    "\\x",
    "\\U",
    "0",
    "1:2",
    ".",
    "e",
    "clips:",
    "prompts: ",
    "\r",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(SIGNS), max_size=200).map("".join))
def test_random_signs_are_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    read_or_refused(tmp_path_factory.getbasetemp() / "signs.yaml", text.encode())


@pytest.mark.parametrize("sign", [*SIGNS, "a: {", "- [", "a\n", "[a: ", "{a,", "? - ", "'a':"])
def test_one_sign_many_times_is_refused_at_once(folder: Path, sign: str) -> None:
    read_or_refused(folder / "many.yaml", (sign * 4096)[:4095].encode())


PROPERTIES: dict[str, Any] = specification._validator().schema["properties"]
CLIP_KEYS = list(specification._validator().schema["$defs"]["clip"]["properties"])
NAMES = sorted({*PROPERTIES, *CLIP_KEYS, *offered("settings"), *offered("extract"), *offered("gate"), *OWN["settings"]})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=8)
    | st.sampled_from(
        ["a.mp4", "auto", "none", "all", "0-7", "7-0", "drone, samurai", "grow=4,12", "reference=a.mp4,b"]
    )
)


def trees(keys: list[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        SCALARS,
        lambda below: st.lists(below, max_size=5) | st.dictionaries(st.sampled_from(keys) | st.text(max_size=5), below),
        max_leaves=12,
    )


def likely(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), trees(NAMES), max_size=5)


BOXES = st.lists(st.integers(-1, 9), min_size=3, max_size=4)
CLIPS = st.fixed_dictionaries(
    {},
    optional={
        "path": st.just("a.mp4"),
        "demo": st.lists(st.integers(0, 92), min_size=2, max_size=2) | st.just("all"),
        "run": st.sampled_from("abc"),
        "bbox": BOXES,
        "frame": st.integers(0, 3),
        "correct": st.lists(st.fixed_dictionaries({"frame": st.integers(0, 3), "bbox": BOXES}), max_size=3),
        "cuts": st.lists(st.integers(0, 9), max_size=3) | st.just("none"),
        "object": st.text(max_size=3),
        "extract": likely(sorted(offered("extract"))),
    },
)
FILES = st.fixed_dictionaries(
    {"clips": st.lists(CLIPS, max_size=3), "prompts": st.lists(st.text("ab ,", max_size=4), max_size=3)},
    optional={
        "seeds": st.lists(st.integers(-1, 9) | st.from_regex(r"\A[0-9]{1,6}-[0-9]{1,6}\Z"), max_size=3),
        "workflow": st.sampled_from(["draft", "drft", "a.mp4", "a.json"]),
        "settings": likely(sorted(offered("settings"))),
        "extract": likely(sorted(offered("extract"))),
        "gate": likely(sorted(offered("gate"))),
        "batch": st.integers(),
    },
)


@settings(max_examples=100)
@given(tree=trees(NAMES) | likely(list(PROPERTIES)) | FILES, flow=st.booleans())
def test_random_trees_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: Any, flow: bool) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.mp4").write_bytes(b"")
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    read_or_refused(folder / "tree.yaml", text.encode("utf-8", "surrogatepass"))
