"""Remove what ttgctl made: lists first, asks, deletes by uid."""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def cleanup(
    run: flags.Run = None,
    all_runs: Annotated[bool, typer.Option("--all", help="All runs, not just one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, and delete nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    substrate: Annotated[
        flags.SubstrateName, typer.Option(help="Only there. auto: the substrates that the runs used.")
    ] = flags.SubstrateName.auto,
    context: flags.Context = None,
    namespace: flags.Namespace = "ttg",
    cluster: flags.Cluster = "ttg-sandbox",
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    import sys
    import time

    from ttgctl.cli.pipeline.cleanup_scope import scope
    from ttgctl.cli.status import say
    from ttgctl.core.cleanup import remove
    from ttgctl.domain.run import Placement
    from ttgctl.domain.verdict import ExitCode
    from ttgctl.ui.text.console import data_console
    from ttgctl.ui.views.tables import owned_json, owned_table

    wanted = Placement(context=context, namespace=namespace, cluster=cluster)
    # Looking costs nothing, so without a run a dry run shows all there is.
    everything = all_runs or (dry_run and run is None)
    with scope(run, all_runs=everything, only=substrate.value, wanted=wanted) as targets:
        found = [(target.keeper, target.owned()) for target in targets]
        resources = [resource for _, owned in found for resource in owned]
        if output is flags.TableOutput.json:
            sys.stdout.buffer.write(owned_json(resources))
        else:
            data_console().print(owned_table(resources, now=time.time()))
        mine = [resource for resource in resources if not resource.foreign]
        if dry_run or not mine:
            return 0
        if not force and not typer.confirm(f"Delete these {len(mine)}?", default=False, err=True):
            say("nothing was deleted")
            return 0
        removals = [remove(keeper, owned, said=say) for keeper, owned in found]
        failed = sum(len(removal.failed) for removal in removals)
        left = [r for target in targets for r in target.owned() if not r.foreign]
        say(
            f"{sum(len(removal.deleted) for removal in removals)} deleted, {failed} failed, "
            f"{sum(len(removal.gone) for removal in removals)} already gone, {len(left)} still there"
        )
        return ExitCode.SUBSTRATE if failed or left else 0
