"""Go on with a run whose command was interrupted or killed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttgctl.cli import options


def resume(
    run: options.Run = None,
    out: Annotated[Path | None, typer.Option(help="Results: .csv, .jsonl or .parquet.")] = None,
    broker_url: options.BrokerUrl = None,
    timeout: options.Timeout = None,
    monitor: options.MonitorOption = options.Monitor.cli,
    output: options.OutputOption = options.Output.text,
    keep: options.Keep = False,
) -> int:
    from contextlib import closing

    from ttgctl.cli.carry_on import carry_on
    from ttgctl.cli.known_run import KnownRun
    from ttgctl.cli.run_options import RunOptions
    from ttgctl.core.event_log import last_events
    from ttgctl.core.ledger import Ledger
    from ttgctl.core.results_file import check_out_path
    from ttgctl.domain.events import Finished
    from ttgctl.domain.run import SpecError

    if out is not None:
        check_out_path(out)
    known = KnownRun.find(run)
    run_id = known.spec.run_id
    # By the ledger and not by an earlier verdict alone: dead letters may have been put back since.
    judged = any(isinstance(event, Finished) for event in last_events(known.folder.events)[-1:])
    with closing(Ledger(known.folder.ledger, known.spec)) as ledger:
        if judged and ledger.accounted == known.spec.chunks_total:
            again = f"ttgctl dlq replay {run_id}" if ledger.dead else f"ttgctl verify {run_id}"
            what = "put its dead letters back" if ledger.dead else "judge it again"
            raise SpecError(f"run {run_id} is complete; {what} with: {again}")
    common = RunOptions(monitor=monitor, output=output, keep=keep, timeout=timeout)
    return carry_on(known, known.spec, common=common, out=out, broker_url=broker_url)
