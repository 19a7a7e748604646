"""What the root commands share: the right Python, errors as one line and an exit code, and their command lines.

The runner knows the stages by their commands only: handoff/commands.json says what options each has (`make reference`
writes it from click). A root command has all of them under their own names, less the few that it answers for itself,
hands each to its stage as it was given, and refuses what no stage has before anything is made or started.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import functools
import io
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from runner import FAULT, NEEDED, refuse_python
from runner.process import ROOT, RunnerError
from runner.runs import check_path

BAD_PATH, NO_ROOM = 2, 3
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PATH_REASONS = {
    errno.ENOENT: "there is nothing of that name",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}
"""What the operating system says of a path that was given, as handoff/errors.py has it."""
COMMANDS = ROOT / "handoff" / "commands.json"
INTERNAL = ("--check", "--plan", "--window-settings", "--prompt-only", "--keep-detections", "--again-as")
"""What only the runner says to a stage."""
RUN_AND_CLIP = ("--run", "--input", "--force")
"""What every root command gives to its stages itself."""
_PATHS = ("PATH", "CLIP", "FILE", "DIR")
"""What the value of an option looks like that is a file or a folder."""


@dataclass(frozen=True)
class Option:
    """One option. names: all of its spellings. value: what its value looks like, None where it is a flag.

    goes: stage -> the name that the option has there; empty where the root command answers for it.
    """

    names: tuple[str, ...]
    help: str
    value: str | None = None
    choices: tuple[str, ...] | None = None
    multiple: bool = False
    required: bool = False
    default: str | None = None
    hidden: bool = False
    goes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The long spelling."""
        return max(self.names, key=lambda each: each.startswith("--"))

    def text(self) -> str:
        """Return the help with what else there is to say: the default, may be repeated, required."""
        said = []
        if self.default is not None and "default" not in self.help:
            said.append(f"default: {self.default}")
        if self.multiple and "repeat" not in self.help:
            said.append("may be repeated")
        if self.required:
            said.append("required")
        return f"{self.help}  [{'; '.join(said)}]" if said else self.help


@functools.lru_cache(maxsize=None)  # noqa: UP033 (an older Python imports this, to be told that it is one)
def _recorded() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(COMMANDS.read_text(encoding="utf-8"))
    return recorded


def help_of(command: str) -> str:
    """Return what `python -m COMMAND --help` prints."""
    return str(_recorded()[command]["help"])


def options_of(stage: str) -> list[Option]:
    """Return all options of `python -m STAGE`, each going to that stage under its own name."""
    found = []
    for each in _recorded()[stage]["options"]:
        option = Option(**{**each, "names": tuple(each["names"]), "choices": tuple(each.get("choices", ())) or None})
        found.append(replace(option, goes={stage: option.name}))
    return found


def passed_on(stage: str, *but: str) -> list[Option]:
    """Return a stage's options that a root command hands over: not its run and clip, nothing internal, not `but`."""
    without = {*RUN_AND_CLIP, *INTERNAL, *but}
    return [each for each in options_of(stage) if not each.hidden and without.isdisjoint(each.names)]


def beside(taken: Iterable[Option], options: Iterable[Option]) -> list[Option]:
    """Return `options` under those of their names that `taken` leaves free."""
    others = {name for each in taken for name in each.names}
    return [replace(each, names=tuple(name for name in each.names if name not in others)) for each in options]


def shared(*options: Option) -> Option:
    """Return one option that goes to every stage that one of these, all of one name, goes to."""
    goes = {stage: name for each in options for stage, name in each.goes.items()}
    return replace(options[0], goes=goes)


def named(options: Iterable[Option], name: str) -> Option:
    """Return the option of that name."""
    return next(each for each in options if name in each.names)


@dataclass(frozen=True)
class Given:
    """What was given on a command line, in its order: each option with its value, None for a flag."""

    pairs: list[tuple[Option, str | None]]

    def has(self, name: str) -> bool:
        """Say whether an option was given."""
        return any(name in option.names for option, _ in self.pairs)

    def values(self, name: str) -> list[str]:
        """Return every value that an option was given."""
        return [value for option, value in self.pairs if name in option.names and value is not None]

    def value(self, name: str, default: str | None = None) -> str | None:
        """Return the last value that an option was given, else `default`."""
        values = self.values(name)
        return values[-1] if values else default

    def of(self, stage: str) -> list[str]:
        """Return what goes to a stage, as its command line."""
        handed: list[str] = []
        for option, value in self.pairs:
            if stage in option.goes:
                handed += [option.goes[stage], *([] if value is None else [value])]
        return handed


@dataclass(frozen=True)
class CommandLine:
    """A root command's options."""

    program: str
    description: str
    options: list[Option]

    def parse(self, arguments: Sequence[str]) -> Given:
        """Read the arguments, or print the help and exit with 0.

        Raises RunnerError (2) for an option that there is not, a value that is missing or none of its choices, a path
        that nothing can have, and a required option that was not given.
        """
        if any(each in ("-h", "--help") for each in arguments):
            self._parser().print_help()
            raise SystemExit(0)
        known = {name: option for option in self.options for name in option.names}
        pairs: list[tuple[Option, str | None]] = []
        left = list(arguments)
        while left:
            name, equals, value = left.pop(0).partition("=")
            option = known.get(name)
            if option is None:
                raise RunnerError(self._unknown(name, known), 2)
            if option.value is None:
                if equals:
                    raise RunnerError(f"{name} takes no value, and was given '{value}'.", 2)
                pairs.append((option, None))
                continue
            if not equals:
                if not left:
                    raise RunnerError(f"{name} needs a value: {name} {option.value}.", 2)
                value = left.pop(0)
            if option.choices and value not in option.choices:
                raise RunnerError(f"{name} is one of {', '.join(option.choices)}, not '{value}'.", 2)
            if not value and option.value in (*_PATHS, "RUN", "NAME"):
                raise RunnerError(f"{name} is empty; give a name: {name} {option.value}.", 2)
            if option.value in _PATHS:
                check_path(Path(value))
            pairs.append((option, value))
        given = Given(pairs)
        for option in self.options:
            if option.required and not given.has(option.name):
                raise RunnerError(f"{option.name} {option.value} is missing; {self.program} --help says more.", 2)
        return given

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        more = f"{self.program} --help lists every option."
        if not name.startswith("-"):
            return f"'{name}' stands where an option should; {more}"
        near = difflib.get_close_matches(name, known, 1)
        return f"there is no option {name}{f' (did you mean {near[0]}?)' if near else ''}; {more}"

    def _parser(self) -> argparse.ArgumentParser:
        required = "".join(f"{each.name} {each.value} " for each in self.options if each.required)
        usage = f"{self.program} {required}[OPTIONS]"
        parser = argparse.ArgumentParser(prog=self.program, usage=usage, description=self.description)
        for each in self.options:
            kind: dict[str, Any] = {"action": "store_true"} if each.value is None else {"metavar": each.value}
            parser.add_argument(*each.names, required=each.required, help=each.text().replace("%", "%%"), **kind)
        return parser


RUN = Option(("--run",), "The run: a name in data/runs, or a folder (with a slash).", "NAME")
FORCE = Option(("--force",), "Do the work again even where nothing has changed.")


def run(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a command with this process's arguments and exit with what it returns; with 3 in another Python than 3.11."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may have letters that the output cannot have
    try:
        if sys.version_info[:2] != NEEDED:
            refuse_python()
        code = command(sys.argv[1:])
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted; run the same command to go on.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Path.resolve says RuntimeError of links that lead in a circle
        met = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(met, OSError) and met.filename is not None and met.errno in _PATH_REASONS:
            print(f"error: {met.filename} cannot be used: {_PATH_REASONS[met.errno]}; check the path.", file=sys.stderr)
            sys.exit(BAD_PATH)
        if isinstance(met, OSError) and met.errno in _NO_ROOM:
            print(f"error: {met.strerror}: what is printed, or a file, cannot be written.", file=sys.stderr)
            sys.exit(NO_ROOM)
        traceback.print_exc()
        print(f"error: {type(error).__name__}, which nobody foresaw (above is where); report it.", file=sys.stderr)
        sys.exit(FAULT)
    sys.exit(code)
