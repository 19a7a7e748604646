"""Several jobs on one or more ComfyUI servers: each job done once, a dead server's job given to another.

First which jobs there are (`plan_jobs`: prompts times seeds), then how they are shared out (`run_queue`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from handoff.errors import BusyError, InputError, PreserverError, UsageError
from handoff.jsonfile import read_bytes
from reskin.comfy.client import ComfyServer
from reskin.comfy.errors import BadResult, JobError, JobsFailed, ServerAbsent, ServerError, WorkflowRefused
from reskin.nouns import Nouns, check_name, parse_prompt, slug, told_apart
from reskin.settings import check_seed

MAX_SEEDS = 1000
_LOOK_S = 2.0
_ANSWER_S = 5.0
_SILENT_S = 15.0
_OF_THE_JOB = (JobError, WorkflowRefused, BadResult, BusyError)
"""Errors that end one job and let the others go on; a ServerError ends a server, anything else the command."""


@dataclass(frozen=True)
class Job:
    """One reskin: the folder below reskins/, the prompt and the seed. chosen: the user gave the folder's name."""

    name: str
    prompt: Nouns
    seed: int
    chosen: bool = field(default=False, compare=False)


Work = Callable[[Job, str, threading.Event], None]
"""Do a job on the server at an address; stop soon, with any PreserverError, when the event is set."""


def read_prompts(prompt: str | None, file: Path | None) -> list[Nouns]:
    """Return what --prompt says, or --prompts-file; raise UsageError unless it is one of the two."""
    if (prompt is None) == (file is None):
        raise UsageError('give --prompt "object, skater", or --prompts-file FILE with one a line.')
    return [parse_prompt(prompt)] if prompt is not None else read_prompts_file(file or Path())


def read_prompts_file(path: Path) -> list[Nouns]:
    """Read a prompt a line; empty lines and lines that begin with # are left out. Raises InputError."""
    try:
        data = read_bytes(path, advice="give text, a prompt a line")
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"the prompts file {path} cannot be read ({error}); give text, a prompt a line.") from error
    prompts = [parse_prompt(line) for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise InputError(f"the prompts file {path} holds no prompt; write one a line.")
    return prompts


def plan_jobs(prompts: Sequence[Nouns], name: str | None, seed: int, seeds: int | None) -> list[Job]:
    """Return a job for each prompt and each seed, seed..seed+seeds-1 where `seeds` is given.

    A job is named after its prompt, or `name`; with several prompts "NAME-PROMPT", with `seeds` "...-seed3".
    Raises UsageError for a seed that is none, for a name that no folder can have, or that two jobs would have.
    """
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"--seeds {seeds} is not a number of seeds from 1 to {MAX_SEEDS}.")
    check_seed("--seed", seed, seeds or 1)
    jobs = []
    owners: dict[str, Nouns] = {}
    for prompt in prompts:
        base = slug(str(prompt))
        if owners.setdefault(base, prompt) != prompt:  # "toy, car" after "toy car"
            base = told_apart(base, str(prompt))
        if name is not None:
            base = name if len(prompts) == 1 else f"{name}-{base}"
        for each in range(seed, seed + (seeds or 1)):
            folder = check_name(base if seeds is None else f"{base}-seed{each}")
            jobs.append(Job(folder, prompt, each, chosen=name is not None and len(prompts) == 1))
    twice = [each for each, count in Counter(job.name for job in jobs).items() if count > 1]
    if twice:
        raise UsageError(f"two prompts would both be reskins/{twice[0]}; word one of them differently.")
    return jobs


def run_queue(jobs: Sequence[Job], servers: Sequence[str], work: Work, say: Callable[[str], None]) -> None:
    """Do every job on the least loaded server, one at a time each; return when all are done.

    A job whose server dies (a ServerError) goes back to the head of the queue, and that server is not asked again. A
    job that fails does not hold up the others. Raises the one error of a single job, else JobsFailed, after the rest is
    done; any other error, and Ctrl-C, stops the running jobs and is raised at once.
    """
    if not jobs:
        return  # a second call, which needs no server
    stop = threading.Event()
    state = _State(deque(jobs), list(servers), {}, {})
    if len(servers) == 1:
        # in this thread, so that Ctrl-C arrives where the work is
        while state.waiting and state.alive:
            future: Future[None] = Future()
            state.running[future] = (servers[0], state.waiting.popleft())
            _call(future, work, state.running[future][1], servers[0], stop)
            _collect(state, future, say)
    else:
        _run_threads(state, work, stop, say)
    _raise_failures(state, jobs)


@dataclass
class _State:
    waiting: deque[Job]
    alive: list[str]
    running: dict[Future[None], tuple[str, Job]]
    failed: dict[str, PreserverError]
    last: ServerError | None = None
    silent_since: dict[str, float] = field(default_factory=dict)


def _run_threads(state: _State, work: Work, stop: threading.Event, say: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(len(state.alive), "reskin") as pool:
        try:
            while state.running or (state.waiting and state.alive):
                while state.waiting and (server := _choose(state, say)):
                    job = state.waiting.popleft()
                    say(f"reskin/{job.name}: on {server}")
                    state.running[pool.submit(work, job, server, stop)] = (server, job)
                if not state.running and state.alive:
                    time.sleep(_LOOK_S)  # a silent server may answer the next time
                for future in wait(state.running, _LOOK_S, FIRST_COMPLETED).done:
                    _collect(state, future, say)
        except BaseException:
            stop.set()
            raise


def _call(future: Future[None], work: Work, job: Job, server: str, stop: threading.Event) -> None:
    try:
        work(job, server, stop)
    except PreserverError as error:
        future.set_exception(error)
    else:
        future.set_result(None)


def _choose(state: _State, say: Callable[[str], None]) -> str | None:
    """Return the least loaded server when it has no job of ours, else None: it is worth waiting for.

    One that is silent is passed over, and left out when it has been silent for `_SILENT_S`: the others need not wait.
    """
    busy = {server for server, _ in state.running.values()}
    loads = []
    for server in list(state.alive):
        asked = time.monotonic()
        try:
            loads.append((load(server), server in busy, state.alive.index(server), server))
            state.silent_since.pop(server, None)
        except ServerError as error:
            gone = isinstance(error, ServerAbsent)
            silent_s = time.monotonic() - state.silent_since.setdefault(server, asked)
            if server not in busy and (gone or silent_s >= _SILENT_S):  # a busy one's own job says it better
                _bury(state, server, error, say)
    if not loads or min(loads)[1]:
        return None
    return min(loads)[3]


def load(address: str) -> int:
    """Return how many jobs, anybody's, wait or run on a server, asked once; raise ServerUnreachable."""
    server = ComfyServer(address)
    try:
        return server.load(_ANSWER_S)
    finally:
        server.close()


def _bury(state: _State, server: str, error: ServerError, say: Callable[[str], None]) -> None:
    if server in state.alive:
        state.alive.remove(server)
    state.last = error
    if state.alive:
        say(f"reskin: {server} is left out from now on: {error}")


def _collect(state: _State, future: Future[None], say: Callable[[str], None]) -> None:
    server, job = state.running.pop(future)
    try:
        future.result()
    except ServerError as error:
        state.waiting.appendleft(job)
        _bury(state, server, error, say)
    except _OF_THE_JOB as error:
        state.failed[job.name] = error
        if state.waiting or state.running:
            say(f"reskin/{job.name}: {error}")


def _raise_failures(state: _State, jobs: Sequence[Job]) -> None:
    failed: dict[str, PreserverError] = {}
    for job in jobs:
        if job.name in state.failed:
            failed[job.name] = state.failed[job.name]
        elif job in state.waiting and state.last is not None:
            failed[job.name] = state.last
    if failed:
        raise next(iter(failed.values())) if len(jobs) == 1 else JobsFailed(failed, len(jobs))
