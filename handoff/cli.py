"""How every stage's command ends: errors become one line on stderr and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from handoff.errors import PreserverError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""


def main(command: click.Command, arguments: list[str] | None = None) -> NoReturn:
    """Run a click command and exit: 0, a PreserverError's own code, 2 for bad usage, 130 after Ctrl-C."""
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
    sys.exit(code if isinstance(code, int) else 0)
