"""Judge a run again, from what broker and ledger hold."""

from __future__ import annotations

from ttgctl.cli import options


def verify(
    run: options.Run = None,
    broker_url: options.BrokerUrl = None,
    output: options.TableOutputOption = options.TableOutput.text,
) -> int:
    from contextlib import closing

    from ttgctl.cli.conduct import show_verdict
    from ttgctl.cli.known_run import KnownRun
    from ttgctl.cli.status import say
    from ttgctl.core.verification import verify_run

    known = KnownRun.find(run)
    with closing(known.substrate(broker_url=broker_url)) as substrate:
        verdict = verify_run(known.spec, known.folder, substrate=substrate, said=say)
    show_verdict(verdict, options.Output(output.value))
    return verdict.exit_code
