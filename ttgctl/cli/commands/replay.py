"""Repeat a run: the same seed, plan, parameters and function, under a new name."""

from __future__ import annotations

from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import VerdictOptions


@with_option_groups
def replay(
    run: flags.Run = None,
    name: flags.Name = None,
    out: flags.ResultsOut = None,
    overwrite: flags.Overwrite = False,
    *,
    common: VerdictOptions,
) -> int:
    import shutil
    import time
    from dataclasses import replace

    from ttgctl.cli.pipeline.conduct import conduct
    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.pipeline.start import made_up_name, prepare
    from ttgctl.cli.status import say
    from ttgctl.core.account.results_file import check_out_path
    from ttgctl.core.records.run_record import read_record
    from ttgctl.ui.views.rerun import difference

    if out is not None:
        check_out_path(out, overwrite=overwrite)
    first = KnownRun.find(run)
    url = common.broker_url or first.folder.read_broker_url()
    spec = replace(
        first.spec,
        run_id=name or made_up_name("again"),
        placement=replace(first.spec.placement, external_broker=url is not None),
        timeout_seconds=common.timeout or first.spec.timeout_seconds,
        out=None if out is None else str(out.absolute()),
        created_at=time.time(),
    )
    folder, substrate = prepare(spec, broker_url=url)
    if first.folder.input.is_dir():
        shutil.copytree(first.folder.input, folder.input, dirs_exist_ok=True)
    say(f"repeating {first.spec.run_id} as {spec.run_id}")
    source = KnownRun(folder, spec).source()
    code = conduct(spec, substrate=substrate, source=source, common=common)
    verdict = read_record(folder).verdict
    if verdict is not None:
        say(difference(read_record(first.folder).verdict, verdict))
    return code
