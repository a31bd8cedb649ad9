"""Watch a run that another terminal started; any number of terminals can."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ttgctl.cli.options import flags


class Shown(StrEnum):
    text = "text"
    ndjson = "ndjson"


def monitor(
    run: flags.Run = None,
    output: Annotated[
        Shown, typer.Option("--output", "-o", help="A view, or the events as JSON lines.")
    ] = Shown.text,
) -> int:
    import sys

    from ttgctl.cli.pipeline.conduct import is_terminal, show_verdict
    from ttgctl.cli.status import say
    from ttgctl.core.records.event_log import follow
    from ttgctl.core.records.run_folder import find_run
    from ttgctl.core.records.run_lock import is_taken
    from ttgctl.domain.events import Finished, Interrupted
    from ttgctl.domain.verdict import ExitCode
    from ttgctl.ui.live.view import choose_mode, open_view

    folder = find_run(run)
    mode = choose_mode(output.value, stream_is_terminal=is_terminal())
    last: Finished | Interrupted | None = None
    caught_up = False
    with open_view(mode) as view:
        for event in follow(folder.events, stop=lambda: False):
            if event is None:
                # Asked first, so that what it still wrote before it ended is read after this.
                taken = is_taken(folder.lock)
                if not taken and caught_up:
                    break
                caught_up = not taken
                continue
            caught_up = False
            view.show(event)
            last = event if isinstance(event, Finished | Interrupted) else None
    sys.stdout.flush()
    if isinstance(last, Finished):
        show_verdict(last.verdict, flags.Output(output.value))
        return last.verdict.exit_code
    say(f"no command works on run {folder.run_id} any more; go on with: ttgctl resume {folder.run_id}")
    return ExitCode.INTERRUPTED
