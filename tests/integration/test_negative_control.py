"""The check can fail: workers that ack before they compute lose what they held when they are killed."""

from __future__ import annotations


def test_acking_early_loses_a_killed_workers_chunk_and_names_it(ttgctl, server, run_id):
    arguments = ttgctl.demo(
        "--unsafe-ack-early", "--fault-demo", broker_url=server.url, name=run_id,
        parameters_total=20, chunk_size=1, work_ms=300, lease_ms=500,
    )  # fmt: skip
    done = ttgctl(*arguments)
    assert done.code == 7, done.err
    verdict = done.verdict
    (fault,) = verdict["faults"]
    assert (verdict["lossless"], verdict["complete"]) == (False, False)
    assert verdict["chunks"]["lost"] == len(verdict["lost_chunks"]) >= 1
    assert fault["effect"] == "process gone"
    assert verdict["chunks"]["ok"] == 20 - len(verdict["lost_chunks"])
    assert verdict["checksum"] is None

    # The same from the ledger and the broker, once more.
    again = ttgctl("verify", run_id, "--output", "json")
    assert again.code == 7, again.err
    assert again.verdict["lost_chunks"] == verdict["lost_chunks"]


def test_the_same_run_without_it_loses_nothing(ttgctl, server, run_id):
    arguments = ttgctl.demo(
        "--fault-demo", broker_url=server.url, name=run_id,
        parameters_total=20, chunk_size=1, work_ms=300, lease_ms=500,
    )  # fmt: skip
    done = ttgctl(*arguments)
    assert done.code == 0, done.err
    assert done.verdict["lossless"] is True
