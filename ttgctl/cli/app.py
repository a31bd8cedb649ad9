"""The ``ttgctl`` command and its one error boundary."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any, Final

import typer
from typer.core import TyperGroup

from ttgctl import __version__
from ttgctl.cli.options.help_sections import SectionedCommand
from ttgctl.domain.verdict import ExitCode

# Module and summary of each command, in the order of --help. Modules are imported when they are
# asked for: --help must not wait for what one command needs.
COMMANDS: Final = {
    "demo": "Run a sweep of simulated work, with faults if you like, and judge it.",
    "run": "Run your own function over your own parameters.",
    "monitor": "Watch a run that another terminal started.",
    "runs": "List what ran here, newest first.",
    "verify": "Judge a run again, from what broker and ledger hold.",
    "resume": "Go on with a run whose command was interrupted or killed.",
    "replay": "Repeat a run under a new name, and say whether it came to the same.",
    "report": "Write a report on one run or several: Markdown, HTML or DOCX.",
    "compare": "Run the same sweep on every backend, without and with a fault.",
    "soak": "Run many quick sweeps under random faults until one is not lossless.",
    "dlq": "List, show, replay or drop a run's dead letters.",
    "logs": "Print what a run's workers wrote.",
    "ui": "Open the broker's management UI.",
    "doctor": "Check this machine for what runs need.",
    "manifests": "Print the Kubernetes objects of a run as YAML.",
    "export": "Pack a run for a bug report, without secrets.",
    "bench": "Measure how fast workers here drain a broker.",
    "cleanup": "Remove what ttgctl made: lists first, asks, deletes by uid.",
}


class _Commands(TyperGroup):
    """Knows all commands by name, and loads one when it is wanted."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        # Typer would end with the exit code alone.
        except KeyboardInterrupt as interrupt:
            return _interrupted(interrupt)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _load(name: str) -> Any:
    attribute = name.replace("-", "_")
    module = importlib.import_module(f"ttgctl.cli.commands.{attribute}")
    found = getattr(module, attribute)
    # A command with commands of its own is a Typer app, any other a function.
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=SectionedCommand, help=module.__doc__)(found)
    return typer.main.get_command(single)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def ttgctl(
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True),
) -> None:
    """Fault-tolerant parameter sweeps that prove that nothing was lost."""
    if version:
        typer.echo(f"ttgctl {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; whatever goes wrong ends in one clear line and its exit code."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="ttgctl", standalone_mode=False)
        return int(code) if isinstance(code, int) else 0
    # A question that is left unanswered is an Abort.
    except (KeyboardInterrupt, typer.Abort) as interrupt:
        return _interrupted(interrupt)
    except BrokenPipeError:
        # Whoever read our output had enough; that is not an error of ours.
        sys.stdout = None
        return 0
    except Exception as error:
        return _translated(error)


def _interrupted(interrupt: BaseException) -> int:
    """With the line of whoever let go in good order, if there was one."""
    return _say(str(interrupt) or "interrupted", ExitCode.INTERRUPTED)


def _translated(error: Exception) -> int:
    from ttgctl.cli.errors import exit_code_of

    code = exit_code_of(error)
    if code is not None:
        text = getattr(error, "format_message", lambda: str(error))()
        # What a run could not tear down is noted at the error that ended it.
        return _say("\n".join([f"error: {text}", *getattr(error, "__notes__", ())]), code)
    traceback.print_exc()
    return _say("error: this is a bug in ttgctl; the lines above say where", 1)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)  # noqa: T201 (the boundary works without any view)
    return int(code)
