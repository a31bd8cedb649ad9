"""Pack a run for a bug report: events, logs, manifests, diagnostics; no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttgctl.cli.options import flags


def export(
    run: flags.Run = None,
    out: Annotated[Path | None, typer.Option(help="The file; by default RUN.tar.gz here.")] = None,
) -> int:
    from contextlib import closing

    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.status import say
    from ttgctl.core.account.out_file import check_writable
    from ttgctl.core.ports import SubstrateError
    from ttgctl.core.records.bundle import write_bundle
    from ttgctl.domain.run import RunSpec

    known = KnownRun.find(run)
    target = out or Path(f"{known.spec.run_id}.tar.gz")
    check_writable(target)
    texts: dict[str, str] = {}
    with closing(known.substrate()) as substrate:

        def logs(spec: RunSpec) -> dict[str, str]:
            return {f"logs/{name}.log": text for name, text in substrate.logs(spec.run_id).items()}

        # A bundle of a run in trouble must not fail for that very trouble.
        for what, collect in (("logs", logs), ("diagnostics", substrate.diagnostics)):
            try:
                texts |= collect(known.spec)
            except SubstrateError as error:
                texts[f"missing-{what}.txt"] = f"{error}\n"
                say(f"left out the {what}: {error}")
    names = write_bundle(target, known.folder, texts)
    typer.echo(str(target))
    say(f"{len(names)} files, without secrets and without your parameters and results")
    return 0
