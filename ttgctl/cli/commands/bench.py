"""Measure how fast workers of this machine drain a broker: yours, or one that is started for it."""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def bench(
    chunks: Annotated[int, typer.Option(min=1000, help="Chunks of no work to drain, each time.")] = 50_000,
    backend: Annotated[
        flags.BackendName | None, typer.Option(help="The broker to start; left out: each that is installed.")
    ] = None,
    broker_url: flags.BrokerUrl = None,
    workers: Annotated[str, typer.Option(help="Numbers of workers to measure with.")] = "1,2",
    repeat: Annotated[int, typer.Option(min=1, help="Measurements of each, taken in turn.")] = 3,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    import signal
    import sys

    from ttgctl.cli.status import say
    from ttgctl.drain_rate.session import Plan, measure
    from ttgctl.ui.views.drain_rates import drain_rates_json, drain_rates_table

    plan = Plan(
        backend=None if backend is None else backend.value,
        broker_url=broker_url,
        workers=worker_numbers(workers),
        chunks=chunks,
        repeat=repeat,
    )
    # Asked to leave by whichever signal, the brokers and workers go first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rates = measure(plan, say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; its brokers, workers and files are removed") from None
    if output is flags.TableOutput.json:
        sys.stdout.buffer.write(drain_rates_json(rates))
        return 0
    from ttgctl.ui.text.console import data_console

    data_console().print(drain_rates_table(rates))
    return 0


def worker_numbers(text: str) -> list[int]:
    """The numbers of ``1,2,4``; ``BadParameter`` for anything else."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"--workers {text}: expected numbers of 1 or more, as in 1,2,4")
    return numbers
