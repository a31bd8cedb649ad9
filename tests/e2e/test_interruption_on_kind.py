"""Commands that are killed or stopped in the middle of a run, and the runs that go on all the same."""

from __future__ import annotations

import signal

import pytest

RUN_SECONDS = 150.0
BACKENDS = {signal.SIGKILL: "rabbitmq", signal.SIGINT: "redis"}


@pytest.fixture(scope="module")
def stopped(on_kind, demo, new_name, until):
    """Two runs at once; ``(run, command, chunks done)`` by the signal that ended the command."""
    names = {how: new_name("stop") for how in BACKENDS}
    running = {
        how: on_kind.start(*demo(backend=backend, name=names[how], work_ms=500))
        for how, backend in BACKENDS.items()
    }
    waiting = set(BACKENDS)

    def all_sent():
        for how in [h for h in waiting if on_kind.accounted(names[h]) >= 5]:
            running[how].send(how)
            waiting.remove(how)
        return not waiting

    until(all_sent, within_seconds=RUN_SECONDS)
    ended = {how: running[how].wait(within_seconds=RUN_SECONDS) for how in BACKENDS}
    return {how: (names[how], ended[how], on_kind.accounted(names[how])) for how in BACKENDS}


def test_runs_whose_command_ended_are_resumed_to_the_end(stopped, on_kind, cluster, namespace):
    claims = {}
    for how, (run_id, done, accounted) in stopped.items():
        assert 5 <= accounted < 40
        workers = cluster.objects("pods", namespace, run_id=run_id, component="worker")
        if how is signal.SIGINT:
            assert done.code == 130
            assert f"ttgctl resume {run_id}" in done.err
            assert workers == []
        else:
            # Nobody told the cluster, so its workers went on.
            assert done.code == -signal.SIGKILL
            assert len(workers) == 3
        claims[how] = [item["metadata"]["uid"] for item in cluster.objects("pvc", namespace, run_id=run_id)]
        assert len(claims[how]) == 1

    names = {how: run_id for how, (run_id, _, _) in stopped.items()}
    resumed = {
        how: on_kind.start("resume", run_id, "--output", "json", "--keep") for how, run_id in names.items()
    }
    for how, run_id in names.items():
        done = resumed[how].wait(within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
        account = done.verdict["chunks"]
        assert done.verdict["lossless"] is True
        assert (account["ok"], account["lost"], account["conflicting"]) == (40, 0, 0)
        # On the storage that the first command left.
        kept = [item["metadata"]["uid"] for item in cluster.objects("pvc", namespace, run_id=run_id)]
        assert kept == claims[how]
        again = on_kind("resume", run_id)
        assert again.code == 2
        assert f"ttgctl verify {run_id}" in again.err


@pytest.mark.case("C46")
def test_the_newest_run_is_not_cleaned_up_under_its_command(
    on_kind, demo, new_name, cluster, namespace, until
):
    run_id = new_name("busy")
    running = on_kind.start(*demo(backend="redis", name=run_id, parameters_total=400, work_ms=500))
    until(lambda: on_kind.accounted(run_id) > 0, within_seconds=RUN_SECONDS)
    refused = on_kind("cleanup", "--force")
    assert refused.code == 2
    assert f"ttgctl monitor {run_id}" in refused.err
    accounted = on_kind.accounted(run_id)
    until(lambda: on_kind.accounted(run_id) > accounted)
    running.send(signal.SIGINT)
    assert running.wait(within_seconds=RUN_SECONDS).code == 130
    assert on_kind("cleanup", "--force", within_seconds=RUN_SECONDS).code == 0
    assert cluster.uids(namespace, run_id) == set()
