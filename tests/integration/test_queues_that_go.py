"""Queues that somebody trims, deletes or clears under a run: lost is said in seconds, or the run heals."""

from __future__ import annotations

from contextlib import closing

import pytest

CHUNKS = 60
# From the act to the end of the command.
SOON_SECONDS = 45.0


@pytest.fixture
def running(ttgctl, server, run_id, until):
    """A run that has had a few results, on a broker of others."""
    running = ttgctl.start(
        *ttgctl.demo(
            broker_url=server.url, name=run_id, parameters_total=CHUNKS, chunk_size=1, work_ms=200,
            lease_ms=1000,
        )
    )  # fmt: skip
    until(lambda: ttgctl.published(run_id) and ttgctl.accounted(run_id) > 3)
    return running


def forget_tasks(server, run_id: str) -> None:
    """All that waits is gone, but the queue itself is not."""
    if server.backend == "redis":
        import redis

        with redis.Redis.from_url(server.url) as client:
            client.xtrim(f"ttg:{{{run_id}}}:tasks", maxlen=0, approximate=False)
    else:
        import pika

        with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
            connection.channel().queue_purge(f"ttg.tasks.{run_id}")


def delete(server, run_id: str, role: str) -> None:
    if server.backend == "redis":
        import redis

        with redis.Redis.from_url(server.url) as client:
            client.delete(f"ttg:{{{run_id}}}:{role}")
    else:
        import pika

        with closing(pika.BlockingConnection(pika.URLParameters(server.url))) as connection:
            connection.channel().queue_delete(f"ttg.{role}.{run_id}")


def resumed_to_the_end(ttgctl, run_id: str) -> dict:
    healed = ttgctl("resume", run_id, "-o", "json")
    assert healed.code == 0, healed.err
    assert healed.verdict["parameters"] == {"total": CHUNKS, "ok": CHUNKS, "failed": 0, "lost": 0}
    assert ttgctl.processes() == []
    return healed.verdict


@pytest.mark.case("C29")
def test_what_was_on_them_is_lost_and_can_be_had_again(ttgctl, server, run_id, running):
    forget_tasks(server, run_id)
    done = running.wait(within_seconds=SOON_SECONDS)
    assert done.code == 7, done.err
    verdict = done.verdict
    lost = verdict["lost_chunks"]
    assert len(lost) == verdict["chunks"]["lost"] > 0
    assert verdict["chunks"]["ok"] + len(lost) == CHUNKS
    assert verdict["parameters"]["lost"] == len(lost)
    healed = resumed_to_the_end(ttgctl, run_id)
    assert any(f"{len(lost):,} chunks without an outcome" in note for note in healed["notes"])


@pytest.mark.case("C31")
@pytest.mark.parametrize("role", ["tasks", "results"])
def test_a_deleted_queue_ends_the_run_in_seconds_and_a_resume_makes_it_again(
    ttgctl, server, run_id, running, role
):
    """Redis makes the key again itself: what was in it is lost then, or was read before."""
    delete(server, run_id, role)
    done = running.wait(within_seconds=SOON_SECONDS)
    if server.backend == "rabbitmq":
        assert done.code == 5
        assert f"ttgctl resume {run_id}" in done.err
        assert "somebody deleted them" in done.err
    else:
        assert done.code in (0, 7)
    if done.code:
        resumed_to_the_end(ttgctl, run_id)
    assert ttgctl.processes() == []
