"""What every stage's command shares: how it ends, its options, its progress bars, and words for frames and devices.

In reading order: `main` (errors become one line on stderr and an exit code), `say` (a line for people),
`interruptible` (Ctrl-C and SIGTERM end a command in order: once, however often they arrive), the table of options
(`Option`, `with_options`), `progress` (silent when standard error is no terminal), where a network runs (what --device
says, unless the GPU is required), and frame numbers as spans.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click
from tqdm import tqdm

from handoff.errors import MissingError, PreserverError, UsageError, path_error, printable_lines
from handoff.files import check_path
from handoff.helptext import is_package
from handoff.links import confine_run_of
from handoff.places import Box, parse_box

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""
FAULT = 70
"""Exit code of an error that nobody foresaw: sysexits.h's EX_SOFTWARE. 1, Python's own, means that the gate fails."""
FAILED_AS = "SKATE_FAILED_AS"
FAILED = 101
"""Environment, and what the runner sets it to: the exit code in place of 1, so that no Python that breaks down, and
ends with 1 by itself, is taken for a verdict. Another value changes nothing."""


def main(command: click.Command, arguments: list[str] | None = None, *, nvidia: bool = False) -> NoReturn:
    """Run a click command and exit: 0, a PreserverError's own code, 2 for bad usage, 130 after Ctrl-C, 70 for the rest.

    nvidia: the command may load NVIDIA's packages, so it is refused where the current folder has libraries; --help not.

    A path that the operating system refuses, whoever met it, is a PreserverError too (`handoff.errors.path_error`).
    "The rest" are errors that nobody foresaw, and a reader of the output that went away (click ends that in 1).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may have letters that the output cannot have
    with interruptible():
        try:
            if nvidia and "--help" not in (sys.argv[1:] if arguments is None else arguments):
                _check_folder()
            if any("\0" in each for each in arguments or ()):  # a shell cannot give one
                raise UsageError("an argument has a NUL character in it, which no path and no text may have.")
            code = command.main(args=arguments, standalone_mode=False)
        except PreserverError as error:
            _refuse(error)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("error: interrupted; the run is left as it was, run the same command to go on.", err=True)
            sys.exit(INTERRUPTED)
        except SystemExit:
            sys.exit(FAULT)
        except Exception as error:
            refusal = path_error(error)
            if refusal is None and is_package(error):  # it was wanted late, as OpenCV is
                refusal = MissingError(f"a package cannot be loaded here: {error}; free memory, or make it anew.")
            if refusal is not None:
                _refuse(refusal)
            traceback.print_exc()
            click.echo(
                f"error: {type(error).__name__}, which nobody foresaw (above is where), stopped the work; nothing was "
                "decided. Report it, or run the same command again.",
                err=True,
            )
            sys.exit(FAULT)
        code = code if isinstance(code, int) else 0
        sys.exit(FAILED if code == 1 and os.environ.get(FAILED_AS) == str(FAILED) else code)


_LOADERS = ("glibc-hwcaps", "tls", "x86_64", "haswell", "avx512_1", "xeon_phi", "aarch64", "atomics")
"""Folders that the system's loader looks into beside a folder of libraries."""


def _check_folder() -> None:
    """Raise UsageError where the current folder has libraries, which would be run: runner/process.py says why, too."""
    files = [*Path().glob("lib*.so*"), *(each for name in _LOADERS for each in Path(name).rglob("lib*.so*"))]
    found = [each for each in files if re.fullmatch(r"lib.+\.so[.0-9]*", each.name)]
    if found:
        raise UsageError(
            f"the current folder has {str(min(found))!r}, and NVIDIA's packages would have the system's loader take it "
            "for a library of its own; start the command in another folder."
        )


def say(line: str, err: bool = False) -> None:
    """Print a line, or several, with nothing in them that steers a terminal, whatever they quote."""
    click.echo(printable_lines(line), err=err)


def _refuse(error: PreserverError) -> NoReturn:
    say(f"error: {error}", err=True)
    sys.exit(error.exit_code)


GRACE_S = 5.0
"""How long a command that was interrupted may tidy up before another signal interrupts that too."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and on SIGTERM, so that what Ctrl-C tidies up is tidied up for both.

    Signals that follow within GRACE_S are the same wish and change nothing: in a container one Ctrl-C arrives twice,
    from the docker client and from its compose plugin, and the second would end the tidying up. A signal that is
    ignored (nohup, a job in the background) stays so. Nothing changes outside the main thread, where Python lets
    nobody say what a signal does.
    """
    asked = -math.inf

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if time.monotonic() - asked >= GRACE_S:
            asked = time.monotonic()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, interrupt) for each in heard}
    try:
        yield
    finally:
        if asked == -math.inf:  # else the command is ending, and what comes now is still the same wish
            for each, handler in before.items():
                signal.signal(each, handler)


class _PathType(click.Path):
    """A file or a folder, there or not; what is no name that it can have is refused before any work (UsageError).

    The run that it lies in is confined: it may come from anybody. What is named as a run lies in none.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = check_path(Path(os.fsdecode(super().convert(value, param, ctx))))
        if param is None or param.name != RUN[0][-1]:
            confine_run_of(path)
        return path


PATH = _PathType(path_type=Path)
"""The click parameter type of a path."""

Option = tuple[tuple[str, ...], dict[str, Any], str]
"""The names (the last without dashes is the parameter's), click's settings, and the help with an example."""

RUN: Option = (
    ("--run", "run_dir"),
    {"required": True, "type": PATH},
    "The run folder, e.g. --run runs/demo",
)
INPUT: Option = (
    ("-i", "--input", "clip"),
    {"type": PATH},
    "A clip to make the run folder of, e.g. -i a.mp4",
)
FORCE: Option = (
    ("--force",),
    {"is_flag": True},
    "Do it again even if nothing has changed, e.g. --run runs/demo --force",
)


class _BoxType(click.ParamType[Box]):
    name = "x1,y1,x2,y2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        return value if isinstance(value, Box) else parse_box(value)


BOX = _BoxType()
"""The click parameter type of a box."""


class FiniteRange(click.FloatRange):
    """A number from `min` to `max`. NaN is none: it compares as false with every limit, and click lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; raise click.BadParameter for what is none, or lies outside."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number from {self.min} to {self.max}.", param, ctx)
        return number


def with_options(*options: Option) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that gives a click command these options, in the order in which its help lists them."""

    def add(function: Callable[..., T]) -> Callable[..., T]:
        for names, settings, text in reversed(options):
            function = click.option(*names, **settings, help=text)(function)
        return function

    return add


def progress(iterable: Iterable[T], total: int | None = None, desc: str = "", unit: str = "frame") -> Iterator[T]:
    """Iterate over `iterable`, showing a bar on stderr where that is a terminal; one within another goes at its end."""
    yield from tqdm(iterable, total=total, desc=desc, unit=unit, disable=None, dynamic_ncols=True, leave=None)


REQUIRED = "SKATE_GPU"
"""Environment: "required" (GPU=on with containers) has "auto" mean the GPU or an error, never the CPU."""


def asked_device(device: str) -> str:
    """Return what is asked for: `device`, but "cuda" for "auto" where the environment requires the GPU."""
    return "cuda" if device == "auto" and os.environ.get(REQUIRED) == "required" else device


def asked_by(device: str) -> str:
    """Return how a user asked for the GPU, given what --device was: for messages."""
    return "GPU=on" if device == "auto" else f"--device {device}"


Spans = list[list[int]]
"""[[first, last], ...], both included."""


def spans_of(frames: Iterable[int]) -> Spans:
    """Join rising frame numbers: 3, 4, 5, 9 give [[3, 5], [9, 9]]."""
    spans: Spans = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return spans


def span_text(first: int, last: int) -> str:
    """Write one span as "3-5", or as "9" where it is one frame."""
    return f"{first}-{last}" if last > first else f"{first}"


def spans_text(spans: Iterable[Sequence[int]], most: int = 8) -> str:
    """Write spans as "3, 7-9"; more than `most` are counted."""
    texts = [span_text(first, last) for first, last in spans]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
