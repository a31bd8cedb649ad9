"""Go on with a run whose command was interrupted or killed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ttg_worker.brokers import open_broker
from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import VerdictOptions
from ttgctl.cli.pipeline.conduct import conduct
from ttgctl.cli.pipeline.known_run import KnownRun
from ttgctl.cli.pipeline.start import broker_url_backend
from ttgctl.core.records.event_log import read_events
from ttgctl.core.records.run_record import Earlier, faults_of
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.domain.verdict import ExitCode


@with_option_groups
def resume(
    run: flags.Run = None,
    out: flags.ResultsOut = None,
    overwrite: flags.Overwrite = False,
    *,
    common: VerdictOptions,
) -> int:
    from ttgctl.core.account.ledger import Ledger
    from ttgctl.core.account.results_file import check_out_path
    from ttgctl.core.records.event_log import last_events
    from ttgctl.domain.events import Finished

    known = KnownRun.find(run)
    if out is not None:
        check_out_path(out, overwrite=overwrite or known.writes_to(out))
    run_id = known.spec.run_id
    # By the ledger and not by an earlier verdict alone: dead letters may have been put back since.
    judged = any(isinstance(event, Finished) for event in last_events(known.folder.events)[-1:])
    with closing(Ledger(known.folder.ledger, known.spec)) as ledger:
        if judged and ledger.accounted == known.spec.chunks_total:
            again = f"ttgctl dlq replay {run_id}" if ledger.dead else f"ttgctl verify {run_id}"
            what = "put its dead letters back" if ledger.dead else "judge it again"
            raise SpecError(f"run {run_id} is complete; {what} with: {again}")
        last = last_events(known.folder.events)[-1:]
        if any(isinstance(event, Finished) and event.verdict.chunks.lost for event in last):
            ledger.publish_again()
    return carry_on(known, known.spec, common=common, out=out)


def carry_on(known: KnownRun, spec: RunSpec, *, common: VerdictOptions, out: Path | None) -> ExitCode:
    """``spec`` is the run's own, or what this command changes of it.

    Faults that were injected are not injected again; dead letters that the ledger wants back are
    put back; chunks that have a result are not computed again. Results go where the run was to write them,
    or to ``out`` from now on.
    """
    if not spec.has_queue:
        raise SpecError(f"fixed shares can't go on; repeat the run with: ttgctl replay {spec.run_id}")
    if common.broker_url is not None:
        spec = _moved_to(common.broker_url, known, spec)
    if out is not None:
        spec = replace(spec, out=str(out.absolute()))
        known.folder.write_spec(spec)
    earlier = Earlier(faults=faults_of(read_events(known.folder.events)))
    return conduct(
        replace(spec, timeout_seconds=common.timeout),
        substrate=known.substrate(broker_url=common.broker_url),
        source=known.source(),
        common=common,
        earlier=earlier,
    )


def _moved_to(url: str, known: KnownRun, spec: RunSpec) -> RunSpec:
    """The run on this broker from now on, where later commands find its queues; nothing changes where it
    can't be used."""
    if (backend := broker_url_backend(url)) != spec.backend:
        raise SpecError(f"--broker-url is one of {backend}, but run {spec.run_id} is on {spec.backend}")
    with closing(open_broker(url, options=spec.delivery)) as broker:
        broker.exists(spec.run_id)
    known.folder.write_broker_url(url)
    moved = replace(known.spec, placement=replace(spec.placement, external_broker=True))
    known.folder.write_spec(moved)
    return replace(spec, placement=moved.placement)
