"""Go on with a run whose command was interrupted or killed."""

from __future__ import annotations

from ttgctl.cli import options
from ttgctl.cli.option_group import with_option_groups
from ttgctl.cli.run_options import VerdictOptions


@with_option_groups
def resume(
    run: options.Run = None,
    out: options.ResultsOut = None,
    *,
    common: VerdictOptions,
) -> int:
    from contextlib import closing

    from ttgctl.cli.carry_on import carry_on
    from ttgctl.cli.known_run import KnownRun
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
    return carry_on(known, known.spec, common=common, out=out)
