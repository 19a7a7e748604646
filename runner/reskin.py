"""generate_reskin.py: the new object and the new skater, on a ComfyUI server that is started when needed."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, Given, Option, named, passed_on
from runner.evaluate import draw_takes, evaluate
from runner.holds import held_folder
from runner.loop.ledger import LARGEST
from runner.loop.rounds import Work, again, until_pass
from runner.process import RunnerError
from runner.stages import chosen, comfyui, start_stage

MASK, POSE = "mask.mp4", "pose.json"
OWN = {"--mask": MASK, "--pose": POSE, "--server": None}
"""Options of the stage that are looked at here first, with what they are where they are not given."""
UNTIL_PASS = Option(
    ("--until-pass",),
    "Judge, and paint again, with another seed (and, by --vary, setting), the windows in which a frame failed: at most "
    "N takes of each.",
    "N",
)
TAKE = Option(
    ("--take",),
    "Make output.mp4 of an earlier round's takes again, as takes.json numbers them, and judge it. What is still there "
    "is not painted again; what was dropped (--keep-takes) is, and that is said.",
    "K",
)
KEEP_TAKES = Option(
    ("--keep-takes",),
    "Whose pictures stay: those of the best takes, which may still be chosen, or those of all, so that --take paints "
    "nothing.",
    "WHICH",
    choices=("best", "all"),
    default="best",
)
VARY = "--vary"
"""Option of the reskin stage that only the loop makes use of."""
SECOND_JUDGE = "--second-judge"
ACCEPT_MASK = "--accept-mask"
"""Options of the evaluator that the loop hands on to it."""
KEEP_TRACK = "--keep-track"
"""Option of the evaluator in all rounds but the last judging: each tracks only what changed since the one before."""
USUAL_SECOND = "backward"
"""Who judges what was chosen from several rounds, where no --second-judge is named."""
MOST_TAKES = 100
ONE_RESKIN = ("--prompts-file", "--seeds", "--window-seeds")
"""Options that ask for more than one reskin, or for what the loop itself decides."""
PATIENCE = "--patience"
"""Option of the reskin stage: seconds to wait for a server that went away."""
WORK_TO_DO = 4
"""Exit code of `python -m reskin --check` when the result is not there yet."""
Server = tuple[str, str | None]
"""A server that was started for a command: its address, and the project to run the reskin stage in."""


def command_line() -> CommandLine:
    """Return the options: the reskin stage's, what to paint first; the server and the two files are found here."""
    stage = passed_on("reskin")
    first = [named(stage, name) for name in ("--prompt", "--prompts-file")]
    own = {name: replace(named(stage, name), goes={}, default=default) for name, default in OWN.items()}
    own["--server"] = replace(
        own["--server"],
        help="A running ComfyUI; may be repeated, then all paint at once. Else one is started and stopped.",
    )
    own[VARY] = replace(
        named(stage, VARY),
        help="With --until-pass: values of an option that takes have in turn; repeatable, then all of them with one "
        "another, e.g. --vary grow=4,12 --vary cfg=4,6",
    )
    rest = [own.get(each.name, each) for each in stage if each not in first]
    gate = [replace(named(passed_on("evaluator"), name), goes={}) for name in (SECOND_JUDGE, ACCEPT_MASK)]
    return CommandLine(
        "generate_reskin.py",
        "Paint a new object and a new skater into the clip.",
        [*first, RUN, UNTIL_PASS, TAKE, KEEP_TAKES, *gate, *rest, FORCE],
    )


def reskin(arguments: list[str], shared: Callable[[], Server] | None = None) -> int:
    """generate_reskin.py: paint the new object and the new skater, on a ComfyUI server that is started when needed.

    shared: how to have a server that several of these commands share, asked where none was named and one is needed.
    """
    given = command_line().parse(arguments)
    servers, forced = given.values("--server"), given.has("--force")
    folder, mask, stage = _asked(given)
    if servers and chosen() == "docker":
        _leave_the_container(servers[0])
    tries, take = _count(given, UNTIL_PASS), _count(given, TAKE)
    if tries is not None and take is not None:
        raise RunnerError("--until-pass paints and --take does not; leave one of them out.", 2)
    if tries is not None or take is not None:
        return _loop(folder, mask, tries, take, given, stage, servers, shared)
    for name in (SECOND_JUDGE, ACCEPT_MASK):
        if given.has(name):
            raise RunnerError(f"{name} is for the gate, which is asked with --until-pass; leave it out.", 2)
    for name in (VARY, KEEP_TAKES.name):
        if given.has(name):
            raise RunnerError(f"{name} is for several takes, which --until-pass paints; leave it out, or give both.", 2)
    code = 0 if forced else start_stage("reskin", [*stage, "--check"], writes=[folder])
    if code != WORK_TO_DO and not forced:
        return code
    stage += ["--force"] if forced else []
    with _server(folder, given, servers, shared) as (options, project):
        return start_stage("reskin", [*stage, *options], writes=[folder], project=project)


def _asked(given: Given) -> tuple[Path, Path, list[str]]:
    """Return the run's folder, the object's mask, and the reskin stage's command line, but for the servers."""
    named_run = runs.named_run(given.value("--run"))
    mask = runs.find(given.value("--mask") or MASK, named_run)
    pose = runs.find(given.value("--pose") or POSE, named_run)
    folder = named_run or runs.run_of(mask)
    if folder is None:
        raise RunnerError(
            f"{mask} is not in a run folder (no run.json beside it), so its clip is not known; "
            "make the mask with extract_physics.py, or name the run with --run.",
            2,
        )
    return folder, mask, ["--run", str(folder), "--mask", str(mask), "--pose", str(pose), *given.of("reskin")]


def planned_windows(arguments: list[str]) -> int | None:
    """Return how many windows these arguments of generate_reskin.py would paint; None where that cannot be said."""
    given = command_line().parse(arguments)
    folder, _, stage = _asked(given)
    code, document = _planned(folder, stage, _pictures(given))
    windows = runs.within(document, "windows")
    return len(windows) if code == 0 and isinstance(windows, list) else None


def _planned(folder: Path, stage: list[str], pictures: Sequence[Path]) -> tuple[int, Any]:
    """Return what the reskin stage says that it would paint (`Prospect.read`), with its exit code."""
    with held_folder(runs.data_dir(), "plan") as scratch:
        file = scratch / "plan.json"
        arguments = [*stage, "--keep-windows", "--plan", str(file)]
        code = start_stage("reskin", arguments, reads=pictures, writes=[folder, scratch])
        return code, runs.read_manifest(file, LARGEST) if code == 0 else None


def _pictures(given: Given) -> list[Path]:
    """Return the pictures that takes have in turn: of --vary reference=A,B."""
    return [Path(each) for text in given.values(VARY) if text.startswith("reference=") for each in _listed(text)]


@contextlib.contextmanager
def _server(
    folder: Path, given: Given, servers: list[str], shared: Callable[[], Server] | None
) -> Iterator[tuple[list[str], str | None]]:
    """Yield the stage's options that name the servers, one that is started here where none was given; its project."""
    if servers:
        yield _servers(servers), None
        return
    with contextlib.ExitStack() as stack:
        address, project = shared() if shared else stack.enter_context(comfyui(folder / "comfyui.log"))
        # nobody starts that server again
        yield [*_servers([address]), *([] if given.has(PATIENCE) else [PATIENCE, "5"])], project


def _count(given: Given, option: Option) -> int | None:
    """Return how often a window may be painted, or which round is wanted; None where it was not given."""
    text = given.value(option.name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_TAKES):
        raise RunnerError(f"{option.name} {text} is not a number of takes from 1 to {MOST_TAKES}.", 2)
    for name in ONE_RESKIN:
        if given.has(name):
            raise RunnerError(f"{option.name} is for one reskin and chooses its seeds; leave out {name}.", 2)
    return int(text)


def _loop(
    folder: Path,
    mask: Path,
    tries: int | None,
    take: int | None,
    given: Given,
    stage: list[str],
    servers: list[str],
    shared: Callable[[], Server] | None,
) -> int:
    """Paint, judge, and paint again what failed; or make an earlier take again."""
    text, forced = given.value("--seed") or "0", given.has("--force")
    seed = int(text) if text.isascii() and text.isdigit() else 0  # the stage refuses what is none
    accepted = [ACCEPT_MASK] if given.has(ACCEPT_MASK) else []
    anew = [True] if forced and take is None else []  # the first painting alone
    planned: list[str] = []  # the reskin that is meant; the newest may be another command's
    pictures = _pictures(given)
    second = [SECOND_JUDGE, str(given.value(SECOND_JUDGE))] if given.has(SECOND_JUDGE) else []
    with contextlib.ExitStack() as stack:

        @functools.cache
        def server() -> tuple[list[str], str | None]:
            return stack.enter_context(_server(folder, given, servers, shared))  # not before something is to be painted

        def plan() -> tuple[int, Any]:
            code, document = _planned(folder, stage, pictures)
            planned[:] = [str(runs.within(document, "reskin"))]
            return code, document

        def paint(seeds: Sequence[int], settings: Sequence[int]) -> int:
            options, project = server()
            own = ["--force"] if anew else []
            anew.clear()
            own += ["--window-seeds", ",".join(map(str, seeds)), "--window-settings", ",".join(map(str, settings))]
            arguments = [*stage, "--keep-windows", *own, *options]
            return start_stage("reskin", arguments, reads=pictures, writes=[folder], project=project)

        def ask(*more: str) -> int:
            clip = folder / planned[0] / "output.mp4"
            return evaluate(["--original", str(mask), "--generated", str(clip), *accepted, *more])

        def judge(last: bool) -> int:
            return ask(*second) if last else ask("--no-pose", KEEP_TRACK)

        def judge_winner() -> int:
            return ask(*(second or [SECOND_JUDGE, USUAL_SECOND]))

        def draw() -> int:
            return draw_takes(folder / planned[0])

        keep_all = given.value(KEEP_TAKES.name) == "all"
        work = Work(plan, paint, judge, judge_winner=judge_winner, keep_all=keep_all, draw=draw)
        return (
            again(folder, take, work) if take is not None else until_pass(folder, tries or 1, seed, work, anew=forced)
        )


def _listed(text: str) -> list[str]:
    """Return the values of a --vary, NAME=V1,V2, as the stage reads them; none where it will refuse them."""
    try:
        return next(csv.reader([text.partition("=")[2]], skipinitialspace=True, strict=True))
    except csv.Error:
        return []


def _leave_the_container(address: str) -> None:
    """Have this command's stage run without a container, unless docker was asked for by name (RunnerError)."""
    if os.environ.get("RUNNER") == "docker":
        raise RunnerError(
            f"--server {address} cannot be reached from the reskin container, which sees ComfyUI's container "
            "only; leave it out, or use RUNNER=local.",
            2,
        )
    print(
        f"runner: local, because the reskin container would not reach --server {address}", file=sys.stderr, flush=True
    )
    os.environ["RUNNER"] = "local"


def _servers(addresses: list[str]) -> list[str]:
    return [part for address in addresses for part in ("--server", address)]
