"""Goes on with a run that an earlier command left, to a new verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ttgctl.cli.conduct import conduct
from ttgctl.cli.known_run import KnownRun
from ttgctl.cli.run_options import VerdictOptions
from ttgctl.core.earlier import Earlier, faults_of
from ttgctl.core.event_log import read_events
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.domain.verdict import ExitCode


def carry_on(known: KnownRun, spec: RunSpec, *, common: VerdictOptions, out: Path | None) -> ExitCode:
    """``spec`` is the run's own, or what this command changes of it.

    Faults that were injected are not injected again; dead letters that the ledger wants back are
    put back; chunks that have a result are not computed again.
    """
    if not spec.has_queue:
        raise SpecError(f"fixed shares can't go on; repeat the run with: ttgctl replay {spec.run_id}")
    earlier = Earlier(faults=faults_of(read_events(known.folder.events)))
    return conduct(
        replace(spec, timeout_seconds=common.timeout),
        substrate=known.substrate(broker_url=common.broker_url),
        source=known.source(),
        common=common,
        out=out,
        earlier=earlier,
    )
