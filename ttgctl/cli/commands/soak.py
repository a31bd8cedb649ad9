"""Run many quick sweeps under random faults, by seed, until one is not lossless."""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import RunOptions


def _soak(
    runs: Annotated[int, typer.Option(min=1, help="How many.", rich_help_panel=flags.WORK)] = 100,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Kinds of faults, by commas; by default all that can be here.",
            rich_help_panel=flags.FAULTS,
        ),
    ] = None,
    parameters_total: flags.ParametersTotal = 60,
    chunk_size: flags.ChunkSize = 1,
    work_ms: flags.WorkMs = 150,
    *,
    common: RunOptions,
) -> int:
    import sys
    import time

    from ttg_worker.errors import BrokerError
    from ttgctl.cli.pipeline.run_series import run_series
    from ttgctl.cli.pipeline.soak_plan import Soak, how_to_repeat, survived
    from ttgctl.cli.pipeline.start import synthetic_work
    from ttgctl.cli.status import say
    from ttgctl.core.ports import SubstrateError
    from ttgctl.core.records.soak_tally import SoakTally
    from ttgctl.domain.run import RunSpec
    from ttgctl.domain.verdict import ExitCode
    from ttgctl.ui.text.console import data_console
    from ttgctl.ui.views.soak_view import run_line, soak_json, soak_page

    def told(spec: RunSpec) -> dict[str, str | int | None]:
        needed = how_to_repeat(spec)
        for name, value in needed.items():
            say(f"  {name}: {value}")
        return needed

    work = synthetic_work(
        "soak", "small", parameters_total=parameters_total, chunk_size=chunk_size, work_ms=work_ms
    )
    soak = Soak(common, work, kinds=kinds)
    say(f"soak: {runs} runs of {soak.where}, faults: {', '.join(soak.kinds)}")
    tally, started = SoakTally(), time.monotonic()
    failed, code = None, ExitCode.LOSSLESS
    with run_series(common) as following:
        for number, spec in enumerate(soak.specs(runs), 1):
            try:
                verdict = following.run(spec, expected=survived).verdict
            except (SubstrateError, BrokerError):
                say(f"run {number} of {runs} could not go on:")
                told(spec)
                raise
            assert verdict is not None
            say(f"run {number} of {runs}, seed {spec.seed}: {run_line(verdict)}")
            if not survived(verdict):
                failed, code = told(spec), verdict.exit_code
                break
            tally.add(verdict)
    seconds = time.monotonic() - started
    if common.output is flags.Output.json:
        page = soak_json(tally, seed=common.seed, asked=runs, seconds=seconds, failed=failed)
        sys.stdout.buffer.write(page)
    elif common.output is flags.Output.text:
        data_console().print(soak_page(tally, where=soak.where, seconds=seconds))
    return code


# A failed attempt must not become a dead letter by bad luck, and a lease must fit runs of seconds.
soak = with_option_groups(
    _soak,
    max_attempts=10,
    retry_delay_ms=200,
    lease_ms=1500,
    timeout=300.0,
    monitor=flags.Monitor.none,
)
