"""The ``ttgctl`` command and its one error boundary."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from typing import Any, Final

import typer
from typer.core import TyperGroup

from ttgctl import __version__
from ttgctl.cli.options.help_sections import SectionedCommand
from ttgctl.cli.streams import forget_stdout, open_missing_streams
from ttgctl.domain.verdict import ExitCode

# Module and summary of each command, in the order of --help. Modules are imported when they are
# asked for: --help must not wait for what one command needs.
COMMANDS: Final = {
    "demo": "Run a sweep of simulated work, with faults if you like, and judge it.",
    "run": "Run your own function over your own parameters.",
    "monitor": "Watch a run that another terminal started.",
    "runs": "List what ran here, newest first.",
    "verify": "Judge a run again, from what broker and ledger hold.",
    "results": "Write a run's results, also while it runs or years later.",
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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "see: ttgctl --help"
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

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


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ttgctl {__version__}")
        raise typer.Exit


@app.callback()
def ttgctl(
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Fault-tolerant parameter sweeps that prove that nothing was lost."""


def main() -> None:
    """Runs the command line; whatever goes wrong ends in one clear line and its exit code."""
    open_missing_streams()
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments or ["--help"], prog_name="ttgctl", standalone_mode=False)
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else 0
    # A question that is left unanswered is an Abort.
    except (KeyboardInterrupt, typer.Abort) as interrupt:
        return _interrupted(interrupt)
    except BrokenPipeError:
        # Whoever read our output had enough; that is not an error of ours.
        forget_stdout()
        return 0
    # How Typer ends when the reader of our output is gone.
    except SystemExit as ended:
        forget_stdout()
        return 0 if ended.code == 1 else int(ended.code or 0)
    except Exception as error:
        return _translated(error)


def _interrupted(interrupt: BaseException) -> int:
    """With the line of whoever let go in good order, if there was one."""
    return _say(str(interrupt) or "interrupted", ExitCode.INTERRUPTED)


def _translated(error: Exception) -> int:
    from ttgctl.cli.errors import exit_code_of, message_of

    # Help is what a group of commands alone stands for.
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())  # type: ignore[attr-defined]  # noqa: T201
        return 0
    code = exit_code_of(error)
    if code is not None:
        text = message_of(error)
        # What a run could not tear down is noted at the error that ended it.
        return _say("\n".join([f"error: {text}", *getattr(error, "__notes__", ())]), code)
    traceback.print_exc()
    return _say("error: this is a bug in ttgctl; the lines above say where", 1)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)  # noqa: T201 (the boundary works without any view)
    return int(code)
