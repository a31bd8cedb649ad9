"""List what ran here, newest first."""

from __future__ import annotations

from ttgctl.cli.options import flags


def runs(output: flags.TableOutputOption = flags.TableOutput.text) -> int:
    import sys
    import time

    from ttgctl.cli.status import say
    from ttgctl.core.records.run_folder import readable_runs
    from ttgctl.core.records.run_history import summary
    from ttgctl.ui.views.tables import RunRow, runs_json, runs_table

    rows = []
    for folder, spec in readable_runs(said=say):
        seen = summary(folder, spec)
        rows.append(
            RunRow(
                run_id=seen.spec.run_id,
                backend=seen.spec.backend,
                substrate=seen.spec.substrate,
                started_at=seen.spec.created_at,
                state=seen.state,
                chunks_done=seen.accounted,
                chunks_total=seen.spec.chunks_total,
                verdict=seen.verdict,
                seconds=seen.seconds,
            )
        )
    if output is flags.TableOutput.json:
        sys.stdout.buffer.write(runs_json(rows))
        return 0
    from ttgctl.ui.text.console import data_console

    data_console().print(runs_table(rows, now=time.time()))
    return 0
