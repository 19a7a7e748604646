"""Several jobs on one or more ComfyUI servers: each job done once, a dead server's job given to another.

First which jobs there are (`plan_jobs`: prompts times seeds), then how they are shared out: several reskins
(`run_queue`), or the windows of one (`run_windows`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from handoff.errors import BusyError, InputError, PreserverError, UsageError
from handoff.jsonfile import read_bytes
from reskin.comfy.client import ComfyServer
from reskin.comfy.errors import (
    BadResult,
    JobError,
    JobInterrupted,
    JobsFailed,
    ServerAbsent,
    ServerError,
    WorkflowRefused,
)
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


T = TypeVar("T")
Work = Callable[[T, str, threading.Event], None]
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


def run_queue(jobs: Sequence[Job], servers: Sequence[str], work: Work[Job], say: Callable[[str], None]) -> None:
    """Do every job on the least loaded server, one at a time each; return when all are done.

    A job whose server dies (a ServerError) goes back to the head of the queue, and that server is not asked again. A
    job that fails does not hold up the others. Raises the one error of a single job, else JobsFailed, after the rest is
    done; any other error, and Ctrl-C, stops the running jobs and is raised at once.
    """
    if not jobs:
        return  # a second call, which needs no server
    stop = threading.Event()
    state = _State(iter(jobs), lambda job: f"reskin/{job.name}", list(servers), say)
    if len(servers) == 1:
        # in this thread, so that Ctrl-C arrives where the work is
        while state.has_more() and state.alive:
            future: Future[None] = Future()
            state.running[future] = (servers[0], state.waiting.popleft())
            _call(future, work, state.running[future][1], servers[0], stop)
            _collect(state, future)
    else:
        _run_threads(state, work, stop, lambda job, server: say(f"reskin/{job.name}: on {server}"))
    _raise_failures(state, jobs)


def run_windows(
    windows: Iterable[T],
    servers: Sequence[str],
    work: Work[T],
    name: Callable[[T], str],
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Do the windows of one reskin on all servers at once, one at a time each; return when all are done.

    windows: asked for the next one only when a server may have it. name: what a window is called, each otherwise. A
    window whose server dies goes to another one; so does one that fails on a server, unless somebody stopped it there.
    One that fails on all of them ends the work: no other is begun, and its error is raised when those at work have
    ended. Any other error, and `stop`, ends those at work too. Raises the last ServerError when no server is left.
    """
    state = _State(iter(windows), name, list(servers), say, elsewhere=True)
    _run_threads(state, work, stop, lambda window, server: None)
    if state.failed:
        raise next(iter(state.failed.values()))
    if state.waiting and state.last is not None and not stop.is_set():
        raise state.last


@dataclass
class _State(Generic[T]):
    """What waits, what runs, and which servers are left. elsewhere: a job that fails is tried on every server."""

    source: Iterator[T]
    name: Callable[[T], str]
    alive: list[str]
    say: Callable[[str], None]
    elsewhere: bool = False
    waiting: deque[T] = field(default_factory=deque)
    running: dict[Future[None], tuple[str, T]] = field(default_factory=dict)
    failed: dict[str, PreserverError] = field(default_factory=dict)
    tried: dict[str, dict[str, PreserverError]] = field(default_factory=dict)
    last: ServerError | None = None
    silent_since: dict[str, float] = field(default_factory=dict)

    def has_more(self) -> bool:
        """Say whether a job waits; it may take the source a while to know."""
        if not self.waiting:
            self.pull()
        return bool(self.waiting)

    def pull(self) -> None:
        """Have the source's next job wait too, where it has one."""
        for job in self.source:
            self.waiting.append(job)
            break

    def tried_by(self, job: T) -> Collection[str]:
        """Return the servers on which a job has failed."""
        return self.tried.get(self.name(job), {}).keys()

    def begin_no_more(self) -> None:
        """Leave what waits."""
        self.waiting.clear()
        self.source = iter(())


def _run_threads(state: _State[T], work: Work[T], stop: threading.Event, begun: Callable[[T, str], None]) -> None:
    with ThreadPoolExecutor(len(state.alive), "reskin") as pool:
        try:
            while not stop.is_set() and (state.running or (state.has_more() and state.alive)):
                while (found := _place(state)) and not stop.is_set():
                    server, job = found
                    begun(job, server)
                    state.running[pool.submit(work, job, server, stop)] = (server, job)
                if not state.running and state.alive and state.waiting:
                    time.sleep(_LOOK_S)  # a silent server may answer the next time
                for future in wait(state.running, _LOOK_S, FIRST_COMPLETED).done:
                    _collect(state, future)
                _give_up(state)
        except BaseException:
            stop.set()
            raise


def _call(future: Future[None], work: Work[T], job: T, server: str, stop: threading.Event) -> None:
    try:
        work(job, server, stop)
    except PreserverError as error:
        future.set_exception(error)
    else:
        future.set_result(None)


def _place(state: _State[T]) -> tuple[str, T] | None:
    """Return a server and the job that it is to have now, which waits no longer; None where it is worth waiting.

    Jobs wait in order; one that has failed somewhere lets others go before it on the servers where it has failed.
    """
    if not state.alive or not state.has_more():
        return None
    if all(map(state.tried_by, state.waiting)):
        state.pull()
    for index, job in enumerate(state.waiting):
        if server := _choose(state, state.tried_by(job)):
            del state.waiting[index]
            return server, job
    return None


def _choose(state: _State[T], without: Collection[str]) -> str | None:
    """Return the least loaded server when it has no job of ours, else None: it is worth waiting for.

    One that is silent is passed over, and left out when it has been silent for `_SILENT_S`: the others need not wait.
    """
    busy = {server for server, _ in state.running.values()}
    loads = []
    for server in [each for each in state.alive if each not in without]:
        asked = time.monotonic()
        try:
            loads.append((load(server), server in busy, state.alive.index(server), server))
            state.silent_since.pop(server, None)
        except ServerError as error:
            gone = isinstance(error, ServerAbsent)
            silent_s = time.monotonic() - state.silent_since.setdefault(server, asked)
            if server not in busy and (gone or silent_s >= _SILENT_S):  # a busy one's own job says it better
                _bury(state, server, error)
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


def _bury(state: _State[T], server: str, error: ServerError) -> None:
    if server in state.alive:
        state.alive.remove(server)
    state.last = error
    if state.alive:
        state.say(f"reskin: {server} is left out from now on: {error}")


def _collect(state: _State[T], future: Future[None]) -> None:
    server, job = state.running.pop(future)
    name = state.name(job)
    try:
        future.result()
    except ServerError as error:
        state.waiting.appendleft(job)
        _bury(state, server, error)
    except _OF_THE_JOB as error:
        if state.elsewhere and not isinstance(error, JobInterrupted):
            state.tried.setdefault(name, {})[server] = error
            state.waiting.appendleft(job)
            if set(state.alive) - state.tried[name].keys():
                state.say(f"reskin: {error} Another server gets it.")
            return
        state.failed[name] = error
        if state.waiting or state.running:
            state.say(f"{name}: {error}")


def _give_up(state: _State[T]) -> None:
    """Begin no more windows when one has failed, or fails on every server that is left."""
    for job in state.waiting:
        tried = state.tried.get(state.name(job), {})
        if tried and state.alive and not set(state.alive) - tried.keys():
            state.failed[state.name(job)] = list(tried.values())[-1]
    if state.elsewhere and state.failed:
        state.begin_no_more()


def _raise_failures(state: _State[Job], jobs: Sequence[Job]) -> None:
    failed: dict[str, PreserverError] = {}
    left = {*map(state.name, state.waiting), *map(state.name, state.source)}
    for job in jobs:
        name = state.name(job)
        if name in state.failed:
            failed[job.name] = state.failed[name]
        elif name in left and state.last is not None:
            failed[job.name] = state.last
    if failed:
        raise next(iter(failed.values())) if len(jobs) == 1 else JobsFailed(failed, len(jobs))
