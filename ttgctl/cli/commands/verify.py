"""Judge a run again, from what broker and ledger hold."""

from __future__ import annotations

from ttgctl.cli.options import flags


def verify(
    run: flags.Run = None,
    broker_url: flags.BrokerUrl = None,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    from contextlib import closing

    from ttgctl.cli.pipeline.conduct import show_verdict
    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.status import say
    from ttgctl.core.account.verification import verify_run

    known = KnownRun.find(run)
    with closing(known.substrate(broker_url=broker_url)) as substrate:
        verdict = verify_run(known.spec, known.folder, substrate=substrate, said=say)
    show_verdict(verdict, flags.Output(output.value))
    return verdict.exit_code
