"""Print what a run's workers wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def logs(
    run: flags.Run = None,
    worker: Annotated[str | None, typer.Option(help="Only this worker.")] = None,
) -> int:
    from contextlib import closing

    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.status import say
    from ttgctl.domain.run import SpecError
    from ttgctl.domain.verdict import ExitCode

    known = KnownRun.find(run)
    with closing(known.substrate()) as substrate:
        written = substrate.logs(known.spec.run_id)
    if worker is not None:
        if worker not in written:
            there = ", ".join(written) or "none"
            raise SpecError(f"no log of {worker!r} in run {known.spec.run_id}; there are: {there}")
        written = {worker: written[worker]}
    if not written:
        why = (
            "no worker of it began"
            if known.spec.substrate == "local"
            else "its pods are gone, and their logs"
        )
        say(f"run {known.spec.run_id} left no logs: {why}")
        return ExitCode.LOSSLESS
    for name, text in written.items():
        if len(written) > 1:
            typer.echo(f"==> {name} <==")
        typer.echo(text.rstrip("\n"))
    return ExitCode.LOSSLESS
