"""How every stage's command ends: errors become one line on stderr and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import NoReturn

import click

from handoff.errors import PreserverError
from handoff.interrupt import interruptible

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""
FAULT = 70
"""Exit code of an error that nobody foresaw: sysexits.h's EX_SOFTWARE. 1, Python's own, means that the gate fails."""


def main(command: click.Command, arguments: list[str] | None = None) -> NoReturn:
    """Run a click command and exit: 0, a PreserverError's own code, 2 for bad usage, 130 after Ctrl-C, 70 for the rest.

    "The rest" are errors that nobody foresaw, and a reader of the output that went away (click ends that in 1).
    """
    with interruptible():
        try:
            code = command.main(args=arguments, standalone_mode=False)
        except PreserverError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("error: interrupted; the run is left as it was, run the same command to go on.", err=True)
            sys.exit(INTERRUPTED)
        except SystemExit:
            sys.exit(FAULT)
        except Exception as error:
            traceback.print_exc()
            click.echo(
                f"error: {type(error).__name__}, which nobody foresaw (above is where), stopped the work; nothing was "
                "decided. Report it, or run the same command again.",
                err=True,
            )
            sys.exit(FAULT)
        sys.exit(code if isinstance(code, int) else 0)
