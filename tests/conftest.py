"""The installed ``ttgctl`` command with a state directory of its own, and brokers to run it on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.core.ports import SubstrateError
from ttgctl.core.records.event_log import read_events
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.domain.events import Progress
from ttgctl.substrates import docker_engine
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.processes import OwnedProcess
from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer
from ttgctl.substrates.local.redis_server import RedisServer
from ttgctl.substrates.local.substrate import BROKER

SERVERS: dict[str, type[RedisServer] | type[RabbitMQServer]] = {
    "redis": RedisServer,
    "rabbitmq": RabbitMQServer,
}
COMMAND = Path(sys.executable).with_name("ttgctl")
# The longest that anything may take on a busy machine; nothing waits for it when all is well.
SOON_SECONDS = 60.0


def pytest_configure() -> None:
    # Whoever starts the tests in the background of a script has Ctrl-C ignored, also by what they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(condition: Callable[[], Any], *, within_seconds: float = SOON_SECONDS, what: str = "") -> Any:
    """The first true answer."""
    deadline = time.monotonic() + within_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s: {what or condition}"
        time.sleep(0.02)
    return answer


def kill_and_wait(owned: Sequence[OwnedProcess]) -> None:
    for process in owned:
        processes.send(process, signal.SIGKILL)
    wait_until(lambda: not any(processes.alive(process) for process in owned))


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    return wait_until


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> dict[str, Any]:
        """Of ``--output json``, where the verdict is all there is on stdout."""
        verdict: dict[str, Any] = msgspec.json.decode(self.out)
        return verdict


class Running:
    """A command in the background; its output goes to files, so that it never waits for a reader."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(COMMAND), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, *, within_seconds: float = SOON_SECONDS) -> Done:
        try:
            code = self.process.wait(timeout=within_seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {within_seconds} s; it said:\n{self.err[-3000:]}")
        return Done(code, self.out, self.err)


class CommandLine:
    """``ttgctl`` as a user has it. Called, it runs to its end; ``start`` leaves it in the background."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = str(COMMAND)
        self.state = home / "state" / "ttgctl"
        self._started: list[Running] = []

    def __call__(self, *arguments: str, within_seconds: float = SOON_SECONDS) -> Done:
        return self.start(*arguments).wait(within_seconds=within_seconds)

    def start(self, *arguments: str) -> Running:
        running = Running(arguments, self.home / "output" / uuid.uuid4().hex)
        self._started.append(running)
        return running

    def demo(self, *arguments: str, backend: str | None = None, **changes: Any) -> list[str]:
        """Arguments of a demo on this machine."""
        options = {"substrate": "local", "output": "json", **changes}
        if backend is not None:
            options["backend"] = backend
        words = [
            word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        return ["demo", *words, *arguments]

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.state / "runs" / run_id)

    def events(self, run_id: str) -> list[Any]:
        """All of the run's events so far."""
        path = self.folder(run_id).events
        return list(read_events(path)) if path.exists() else []

    def accounted(self, run_id: str) -> int:
        """Distinct chunks that the run has shown to be done."""
        seen = [e.snapshot.accounted for e in self.events(run_id) if isinstance(e, Progress)]
        return max(seen, default=0)

    def published(self, run_id: str) -> bool:
        """Whether all chunks are confirmed."""
        return any(getattr(e, "name", "") == "publish" and e.seconds is not None for e in self.events(run_id))

    def notices(self, run_id: str) -> list[str]:
        return [event.message for event in self.events(run_id) if hasattr(event, "message")]

    def processes(self, run_id: str | None = None) -> list[OwnedProcess]:
        """Of one run or all runs of this state directory, by the mark in their environment."""
        runs = self.state / "runs"
        names = [run_id] if run_id is not None else [p.name for p in runs.glob("*")]
        return [process for name in names for process in processes.find(runs / name)]

    def workers(self, run_id: str) -> list[OwnedProcess]:
        return [p for p in self.processes(run_id) if p.name != BROKER and p.compute_of is None]

    def close(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
        kill_and_wait(self.processes())


@pytest.fixture(scope="session")
def command_line() -> type[CommandLine]:
    """For tests that share a state directory."""
    return CommandLine


@pytest.fixture
def ttgctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """The command, in an empty working folder; whatever it leaves running is ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("TTGCTL_BROKER_URL", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    command = CommandLine(tmp_path)
    yield command
    command.close()


def require(problem: str | None) -> None:
    """Goes on without a problem; with one the test fails in CI, where nothing skips, else skips."""
    if problem is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)


@pytest.fixture(scope="session", name="require")
def require_fixture():
    """:func:`require`, for tests: they can't import this file."""
    return require


@pytest.fixture(scope="session")
def kind_possible() -> None:
    """For tests that need a Kind cluster."""
    require(_kind_problem())


def _kind_problem() -> str | None:
    for program in ("kind", "kubectl"):
        if shutil.which(program) is None:
            return f"no Kind cluster can be made: {program} is not on PATH"
    try:
        docker_engine.connect().close()
    except SubstrateError as error:
        return f"no Kind cluster can be made: {error}"
    return None


def require_server(backend: str) -> None:
    require(SERVERS[backend].problem())


class Server:
    """A broker that is not the run's own. Its data is kept over stop, kill and start."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self._folder = folder
        require_server(backend)
        self._server = SERVERS[backend](folder)
        self.url = self._server.start().url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        kill_and_wait(processes.find(self._folder))

    def holds(self, run_id: str) -> bool:
        with closing(open_broker(self.url, options=DeliveryOptions())) as broker:
            return broker.exists(run_id)

    def put_raw(self, run_id: str, body: bytes) -> None:
        """A message of any content on the run's tasks, as a foreign program could put it there."""
        if self.backend == "rabbitmq":
            import pika

            with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                channel.basic_publish("", f"ttg.tasks.{run_id}", body)
        else:
            import redis

            with redis.Redis.from_url(self.url) as client:
                client.xadd(f"ttg:{{{run_id}}}:tasks", {"body": body})


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[Callable[[str], Server]]:
    """One server a backend for all tests that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="ttgctl-tests-"))
    started: dict[str, Server] = {}

    def server_of(backend: str) -> Server:
        if backend not in started:
            started[backend] = Server(backend, folder / backend)
        return started[backend]

    yield server_of
    for server in started.values():
        server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.server) for name in SERVERS])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn; where it can't run the test is skipped, in CI it fails."""
    require_server(request.param)
    return str(request.param)


@pytest.fixture
def server(backend: str, shared_servers: Callable[[str], Server]) -> Server:
    """A broker that was there before the run, of each backend in turn."""
    return shared_servers(backend)


@pytest.fixture
def own_server(backend: str, tmp_path: Path) -> Iterator[Server]:
    """The same for this test alone, which may kill it."""
    server = Server(backend, tmp_path / "server")
    yield server
    server.kill()


@pytest.fixture
def run_id() -> str:
    return f"t-{uuid.uuid4().hex[:10]}"
