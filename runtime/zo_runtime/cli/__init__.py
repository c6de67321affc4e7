"""The `zo` command. Each subcommand's module is imported when it is called, so that `zo --help` is quick."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Protocol

import click

from zo_runtime import __version__
from zo_runtime.errors import ZOError
from zo_runtime.progress import Result

# Where the pod's termination message goes, if anywhere.
TERMINATION_LOG = "ZO_TERMINATION_LOG"

COMMANDS = {
    "run": "zo_runtime.cli.run:run",
    "explain": "zo_runtime.cli.explain:explain",
    "plan": "zo_runtime.cli.plan:plan",
    "probe": "zo_runtime.cli.probe:probe",
    "verify": "zo_runtime.cli.log_commands:verify",
    "replay": "zo_runtime.cli.log_commands:replay",
    "inspect": "zo_runtime.cli.log_commands:inspect",
    "log": "zo_runtime.cli.log_commands:log",
    "report": "zo_runtime.cli.report:report",
    "check": "zo_runtime.cli.check:check",
    "delete": "zo_runtime.cli.delete:delete",
    "serve-state": "zo_runtime.cli.serve_state:serve_state",
}


class Commands(click.Group):
    """A group that imports a subcommand when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zo")
def cli() -> None:
    """Zeroth-order adaptation of LLMs inside stock vLLM, kept as a log of seeds and scalars."""


def main() -> None:
    """Entry point: a `ZOError` becomes one line on stderr, its exit code, and the pod's termination message."""
    try:
        cli.main(standalone_mode=False)
    except ZOError as error:
        print(f"zo: {error}", file=sys.stderr)
        result = Result(ok=False, reason=error.reason, message=str(error), exit_code=error.exit_code)
        write_termination_message(result)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


class Account(Protocol):
    """What a command says of its end."""

    def to_termination_message(self) -> str:
        """One line of JSON, at most as long as kubelet keeps it."""


def write_termination_message(result: Account) -> None:
    """Leave the result where the kubelet picks it up, if this is a pod."""
    path = os.environ.get(TERMINATION_LOG)
    if path:
        Path(path).write_text(result.to_termination_message())
