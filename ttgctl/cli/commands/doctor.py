"""Check this machine for what runs need; each line that is not ok says what to do."""

from __future__ import annotations

from ttgctl.cli.options import flags


def doctor(
    substrate: flags.Substrate = flags.SubstrateName.auto,
    context: flags.Context = None,
    cluster: flags.Cluster = "ttg-sandbox",
    node_image: flags.NodeImage = None,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    import sys
    from contextlib import closing

    from ttgctl.cli.status import say
    from ttgctl.domain.run import Placement
    from ttgctl.domain.verdict import ExitCode
    from ttgctl.substrates import choose, open_substrate
    from ttgctl.ui.text.console import data_console
    from ttgctl.ui.views.tables import problems_json, problems_table

    name, why = choose(substrate.value, context=context)
    if substrate is flags.SubstrateName.auto:
        say(f"substrate: {name} ({why})")
    with closing(
        open_substrate(name, Placement(context=context, cluster=cluster, node_image=node_image))
    ) as opened:
        problems = opened.preflight()
    if output is flags.TableOutput.json:
        sys.stdout.buffer.write(problems_json(problems))
    else:
        data_console().print(problems_table(problems))
    return ExitCode.MISSING if any(problem.status == "fail" for problem in problems) else ExitCode.LOSSLESS
