"""Open the broker's management UI, and keep the way to it open until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def ui(
    run: flags.Run = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser, too.")] = True,
) -> int:
    import threading
    from contextlib import closing, suppress

    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.pipeline.web_monitor import open_in_browser
    from ttgctl.cli.status import say
    from ttgctl.core.ports import MissingRequirement
    from ttgctl.domain.verdict import ExitCode

    known = KnownRun.find(run)
    with closing(known.substrate()) as substrate:
        # Starting a broker that was removed would show an empty one.
        if not known.spec.placement.external_broker and not substrate.owned(known.spec.run_id):
            raise MissingRequirement(
                f"the broker of run {known.spec.run_id} is gone: a lossless run is removed at its end; "
                "keep the next one with: ttgctl demo --keep"
            )
        endpoint = substrate.start_broker(known.spec, say)
        if endpoint.management_url is None:
            raise MissingRequirement(
                f"run {known.spec.run_id} has no management UI: its broker is {known.spec.backend}; "
                "watch it with: ttgctl monitor"
            )
        typer.echo(endpoint.management_url)
        say(f"user and password: {substrate.password_command(known.spec.run_id)}")
        if browser and not open_in_browser(endpoint.management_url):
            say("no browser was opened: this machine has none")
        say("press Ctrl-C to close the way to it")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return ExitCode.LOSSLESS
