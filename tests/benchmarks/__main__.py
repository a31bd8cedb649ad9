"""``make bench``: throughput and commands, side by side with the raw clients, Celery and Dramatiq."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.contenders import CEILING, CELERY, DRAMATIQ, OWN
from benchmarks.session import Plan, carry_out
from benchmarks.table import report_json, report_table
from ttgctl.cli.commands.bench import worker_numbers
from ttgctl.cli.errors import exit_code_of
from ttgctl.cli.options import flags
from ttgctl.cli.status import say
from ttgctl.drain_rate.session import BACKENDS
from ttgctl.ui.text.console import data_console


class What(StrEnum):
    ttgctl = "ttgctl"
    ceiling = "ceiling"
    celery = "celery"
    dramatiq = "dramatiq"
    commands = "commands"


def bench(
    chunks: Annotated[
        int,
        typer.Option(min=1000, help="Chunks on RabbitMQ; Redis gets 4 times, Celery and Dramatiq a tenth."),
    ] = 50_000,
    backend: Annotated[
        list[flags.BackendName] | None, typer.Option(help="Only this backend; repeatable.")
    ] = None,
    workers: Annotated[str, typer.Option(help="Numbers of workers to measure with.")] = "1,2,4",
    only: Annotated[list[What] | None, typer.Option(help="Only this; repeatable.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Measurements of each, taken in turn.")] = 3,
    runs: Annotated[
        bool,
        typer.Option("--runs", help="Whole runs as well: with and without a kill, and the memory; minutes."),
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A checkout whose workers are measured beside these.", exists=True),
    ] = None,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    titles = {What.ttgctl: OWN, What.ceiling: CEILING, What.celery: CELERY, What.dramatiq: DRAMATIQ}
    wanted = set(only or What)
    plan = Plan(
        whats=[title for what, title in titles.items() if what in wanted],
        backends=[name for name in BACKENDS if backend is None or name in backend],
        workers=worker_numbers(workers),
        chunks=chunks,
        repeat=repeat,
        commands=What.commands in wanted,
        runs=runs,
        insisted=bool(only or backend),
        baseline=baseline,
    )
    # Asked to leave by whichever signal, the brokers and workers go first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = carry_out(plan, say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; its brokers, workers and files are removed") from None
    if output is flags.TableOutput.json:
        sys.stdout.buffer.write(report_json(report))
        return 0
    data_console().print(report_table(report))
    return 0


def main() -> int:
    """What goes wrong ends in one line and the exit code that ttgctl has for it."""
    try:
        typer.run(bench)
    except KeyboardInterrupt as interrupt:
        say(str(interrupt) or "interrupted")
        return 130
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        say(f"error: {error}")
        return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
