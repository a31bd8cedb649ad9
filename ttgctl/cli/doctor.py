"""Check this machine for what runs need; each line that is not ok says what to do."""

from __future__ import annotations

from ttgctl.cli import options


def doctor(
    substrate: options.Substrate = options.SubstrateName.auto,
    context: options.Context = None,
    cluster: options.Cluster = "ttg-sandbox",
    node_image: options.NodeImage = None,
    output: options.TableOutputOption = options.TableOutput.text,
) -> int:
    import sys
    from contextlib import closing

    from ttgctl.cli.status import say
    from ttgctl.domain.run import Placement
    from ttgctl.domain.verdict import ExitCode
    from ttgctl.substrates import choose, open_substrate
    from ttgctl.ui.console import data_console
    from ttgctl.ui.tables import problems_json, problems_table

    name, why = choose(substrate.value, context=context)
    if substrate is options.SubstrateName.auto:
        say(f"substrate: {name} ({why})")
    with closing(
        open_substrate(name, Placement(context=context, cluster=cluster, node_image=node_image))
    ) as opened:
        problems = opened.preflight()
    if output is options.TableOutput.json:
        sys.stdout.buffer.write(problems_json(problems))
    else:
        data_console().print(problems_table(problems))
    return ExitCode.MISSING if any(problem.status == "fail" for problem in problems) else ExitCode.LOSSLESS
