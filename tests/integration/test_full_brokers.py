"""Brokers that are there and take nothing in, for want of memory or disk: told of soon, and waited for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ttgctl.domain.events import Progress
from ttgctl.substrates.local.rabbitmq_server import _server_script

CHUNKS = 60
# From the act to the line that tells of it.
TOLD_SECONDS = 10.0


def rabbitmqctl(folder: Path, *words: str) -> None:
    """As the administrator of the server in this folder; the program looks for its cookie in HOME."""
    broker = folder / "local" / "broker"
    script = _server_script()
    assert script is not None
    identity = json.loads((broker / "identity.json").read_text())
    environment = {
        **os.environ,
        "HOME": str(broker),
        "ERL_EPMD_PORT": str(identity["epmd_port"]),
        "RABBITMQ_CONF_ENV_FILE": str(broker / "rabbitmq-env.conf"),
        "RABBITMQ_NODENAME": "ttg@localhost",
    }
    argv = [str(script.with_name("rabbitmqctl")), *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def redis_config(server, name: str, value: str) -> None:
    import redis

    with redis.Redis.from_url(server.url) as client:
        client.config_set(name, value)


FULL = [
    pytest.param(backend, what, marks=pytest.mark.server)
    for backend, what in (("redis", "memory"), ("rabbitmq", "memory"), ("rabbitmq", "disk"))
]
MARKS = {
    "memory": (("set_vm_memory_high_watermark", "0.0001"), ("set_vm_memory_high_watermark", "0.6")),
    "disk": (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
}


class FullServer:
    """Fills a server, and makes room in it again."""

    def __init__(self, server, folder: Path, what: str) -> None:
        self.url = server.url
        self._server, self._folder = server, folder
        self._fill, self._free = MARKS[what]
        self.word = "maxmemory" if server.backend == "redis" else f"low on {what}"

    def fill(self) -> None:
        if self._server.backend == "redis":
            redis_config(self._server, "maxmemory", "1")
        else:
            rabbitmqctl(self._folder, *self._fill)

    def free(self) -> None:
        if self._server.backend == "redis":
            redis_config(self._server, "maxmemory", "0")
        else:
            rabbitmqctl(self._folder, *self._free)


@pytest.fixture
def full(own_server, tmp_path, what) -> FullServer:
    return FullServer(own_server, tmp_path / "server", what)


def told(ttgctl, run_id: str, words: str) -> bool:
    return any(words in notice for notice in ttgctl.notices(run_id))


def states(ttgctl, run_id: str) -> list[str]:
    return [event.snapshot.broker_state for event in ttgctl.events(run_id) if isinstance(event, Progress)]


def lossless(ttgctl, running, run_id: str) -> None:
    done = running.wait()
    assert done.code == 0, done.err
    assert done.verdict["parameters"]["ok"] == CHUNKS
    assert ttgctl.processes() == []
    shown = [event.at for event in ttgctl.events(run_id) if isinstance(event, Progress)]
    assert max(later - earlier for earlier, later in pairwise(shown)) < 2.0


@pytest.mark.case("C32")
@pytest.mark.parametrize(("backend", "what"), FULL, indirect=["backend"])
def test_one_that_is_full_in_the_middle_is_told_of_and_waited_for(ttgctl, run_id, until, full):
    running = ttgctl.start(
        *ttgctl.demo(broker_url=full.url, name=run_id, parameters_total=CHUNKS, chunk_size=1, work_ms=150)
    )
    until(lambda: ttgctl.published(run_id) and ttgctl.accounted(run_id) > 3)
    full.fill()
    until(lambda: told(ttgctl, run_id, full.word), within_seconds=TOLD_SECONDS)
    until(lambda: "full" in states(ttgctl, run_id))
    full.free()
    until(lambda: told(ttgctl, run_id, "takes messages again"))
    lossless(ttgctl, running, run_id)


@pytest.mark.case("C32")
@pytest.mark.parametrize(("backend", "what"), FULL, indirect=["backend"])
def test_one_that_is_full_before_the_start_is_told_of_and_waited_for(ttgctl, run_id, until, full):
    full.fill()
    running = ttgctl.start(
        *ttgctl.demo(broker_url=full.url, name=run_id, parameters_total=CHUNKS, chunk_size=1, work_ms=20)
    )
    until(lambda: told(ttgctl, run_id, full.word), within_seconds=TOLD_SECONDS)
    assert ttgctl.accounted(run_id) == 0
    full.free()
    lossless(ttgctl, running, run_id)


@pytest.mark.case("C30")
@pytest.mark.server
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a file system is mounted")
def test_what_a_redis_on_a_full_disk_has_confirmed_is_there_when_there_is_room_again(ttgctl):
    ttgctl.state.parent.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(ttgctl.state.parent)]
    subprocess.run(mount, check=True)
    try:
        done = ttgctl(
            *ttgctl.demo(
                backend="redis", name="r", parameters_total=300_000, chunk_size=10, work_ms=0, timeout=30
            )
        )
        # Whoever meets the end of the disk first says so, in a line.
        assert done.code in (3, 4, 5, 6), done.err
        assert "bug" not in done.err
        assert any(word in done.err for word in ("full", "No space left", "does not answer")), done.err
        subprocess.run(["mount", "-o", "remount,size=300m", str(ttgctl.state.parent)], check=True)
        healed = ttgctl("resume", "r", "--output", "json")
        assert healed.code == 0, healed.err
        assert healed.verdict["parameters"] == {"total": 300_000, "ok": 300_000, "failed": 0, "lost": 0}
    finally:
        ttgctl.close()
        subprocess.run(["umount", str(ttgctl.state.parent)], check=True)
