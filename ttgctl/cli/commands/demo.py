"""Run a sweep of simulated work, with faults if you like, and judge it."""

from __future__ import annotations

from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import RunOptions


@with_option_groups
def demo(
    scale: flags.Scale = flags.ScaleName.small,
    parameters_total: flags.ParametersTotal = None,
    chunk_size: flags.ChunkSize = None,
    work_ms: flags.WorkMs = None,
    dry_run: flags.DryRun = False,
    *,
    common: RunOptions,
) -> int:
    from ttgctl.cli.pipeline.conduct import conduct
    from ttgctl.cli.pipeline.start import prepare, specify, synthetic_work
    from ttgctl.core.inputs.parameters import IndexParameters

    work = synthetic_work(
        "demo", scale.value, parameters_total=parameters_total, chunk_size=chunk_size, work_ms=work_ms
    )
    spec = specify(common, work)
    if dry_run:
        from ttgctl.cli.pipeline.rehearsal import rehearse

        return rehearse(spec, common)
    _, substrate = prepare(spec, broker_url=common.broker_url)
    return conduct(spec, substrate=substrate, source=IndexParameters(spec.parameters_total), common=common)
