"""Run a sweep of simulated work, with faults if you like, and judge it."""

from __future__ import annotations

from ttgctl.cli import options
from ttgctl.cli.option_group import with_option_groups
from ttgctl.cli.run_options import RunOptions


@with_option_groups
def demo(
    scale: options.Scale = options.ScaleName.small,
    parameters_total: options.ParametersTotal = None,
    chunk_size: options.ChunkSize = None,
    work_ms: options.WorkMs = None,
    dry_run: options.DryRun = False,
    *,
    common: RunOptions,
) -> int:
    from ttgctl.cli.conduct import conduct
    from ttgctl.cli.start import prepare, specify, synthetic_work
    from ttgctl.core.parameters import IndexParameters

    work = synthetic_work(
        "demo", scale.value, parameters_total=parameters_total, chunk_size=chunk_size, work_ms=work_ms
    )
    spec = specify(common, work)
    if dry_run:
        from ttgctl.cli.rehearsal import rehearse

        return rehearse(spec, common)
    _, substrate = prepare(spec, broker_url=common.broker_url)
    return conduct(spec, substrate=substrate, source=IndexParameters(spec.parameters_total), common=common)
