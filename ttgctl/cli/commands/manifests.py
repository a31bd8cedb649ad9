"""Print the Kubernetes objects of a run as YAML, fit for: kubectl apply --dry-run=server -f -"""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def manifests(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Those of a run; else of an example.")
    ] = None,
    backend: Annotated[
        flags.RunBackendName,
        typer.Option(help="The broker of the example; static: fixed shares, no broker."),
    ] = flags.RunBackendName.rabbitmq,
    workers: flags.Workers = 3,
    namespace: flags.Namespace = "ttg",
    image: flags.Image = None,
) -> int:
    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.core.records.run_folder import run_folder
    from ttgctl.domain.presets import SCALES
    from ttgctl.domain.run import Placement, RunSpec
    from ttgctl.substrates.kubernetes.manifests import run_yaml

    if run is not None:
        known = KnownRun.find(run)
        spec, folder = known.spec, known.folder
    else:
        small = SCALES["small"]
        spec = RunSpec(
            run_id="example",
            backend=backend.value,
            substrate="kind",
            placement=Placement(namespace=namespace, image=image),
            parameters_total=small.parameters_total,
            chunk_size=small.chunk_size,
            work_ms=small.work_ms,
            workers=workers,
        )
        folder = run_folder(spec.run_id)
    typer.echo(run_yaml(spec, input_folder=folder.input), nl=False)
    return 0
