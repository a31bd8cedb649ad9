"""Remove what ttgctl made: lists first, asks, deletes by uid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from ttgctl.cli.options import flags
from ttgctl.core.ports import OwnedResource
from ttgctl.core.records.run_folder import RunFolder, run_folder


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
    from ttgctl.core.records.run_lock import RunIsTaken, locked_runs
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
        with locked_runs(_folders(mine)) as taken:
            if taken and not all_runs:
                raise RunIsTaken(min(taken))
            for run_id in sorted(taken):
                say(f"left alone: run {run_id}, which a command works on")
            # What belongs to no run alone, a namespace say, is also in use then.
            spared = {*taken, None} if taken else set()
            removals = [
                remove(keeper, [r for r in owned if r.run_id not in spared], said=say)
                for keeper, owned in found
            ]
            failed = sum(len(removal.failed) for removal in removals)
            left = [r for target in targets for r in target.owned() if not (r.foreign or r.run_id in spared)]
            say(
                f"{sum(len(removal.deleted) for removal in removals)} deleted, {failed} failed, "
                f"{sum(len(removal.gone) for removal in removals)} already gone, {len(left)} still there"
            )
            return ExitCode.SUBSTRATE if failed or left else 0


def _folders(resources: Iterable[OwnedResource]) -> list[RunFolder]:
    """Of the runs that these are of, as far as they are of this machine."""
    folders = [run_folder(run_id) for run_id in sorted({r.run_id for r in resources if r.run_id})]
    return [folder for folder in folders if folder.run_json.is_file()]
