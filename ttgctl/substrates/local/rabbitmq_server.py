"""A RabbitMQ node of its own for a local run, from the ``rabbitmq-server`` of this machine.

Nothing is shared with a node of the system: data, ports, Erlang cookie and even epmd (the Erlang
port registry) are the run's own, so that none is left behind or taken from another.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.brokers.rabbitmq.queues import CONSUMER_TIMEOUT_MS
from ttg_worker.errors import BrokerUnavailable
from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.broker_server import ServerAddress, broker_folder, free_ports
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.processes import OwnedProcess

_NAME: Final = "broker"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BOOT_SECONDS: Final = 60.0
# The management plugin holds a shutdown up for five seconds after all data is safely closed.
_STOP_SECONDS: Final = 2.5

# Debian's, and those of Homebrew and the generic archive when they are not on PATH.
_SCRIPT_FOLDERS: Final = (
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
    "/usr/local/sbin",
)


class _Identity(msgspec.Struct, frozen=True):
    """What must be the same after a restart, or clients would not find their broker again."""

    user: str
    password: str
    amqp_port: int
    management_port: int
    distribution_port: int
    epmd_port: int


class RabbitMQServer:
    """Implements :class:`~ttgctl.substrates.broker_server.LocalServer`."""

    def __init__(self, run_folder: Path) -> None:
        self._run_folder = run_folder
        self._folder = run_folder / "local" / "broker"
        self._log = self._folder / "broker.log"

    @staticmethod
    def problem() -> str | None:
        if _server_script() is not None:
            return None
        install = "brew install rabbitmq" if platform.system() == "Darwin" else "apt install rabbitmq-server"
        return f"rabbitmq-server is not installed: {install}, or use --backend redis, which runs now"

    def start(self) -> ServerAddress:
        broker_folder(self._run_folder)
        identity = self._identity()
        url = f"amqp://{identity.user}:{identity.password}@127.0.0.1:{identity.amqp_port}/%2F"
        running = self._node()
        # One that was killed a moment ago still counts as running, and ends before it is ready.
        ready = running is not None and self._is_ready(running, url)
        if not ready and not self._is_ready(self._spawn(identity), url):
            raise self._failed("ended while it started")
        return ServerAddress(url, management_url=f"http://127.0.0.1:{identity.management_port}")

    def stop(self) -> None:
        # The Erlang VM dies of the loss of its helpers, so they go after it.
        node = self._node()
        if node is not None:
            processes.end([node], grace_seconds=_STOP_SECONDS)
        processes.end(self._processes(), grace_seconds=_STOP_SECONDS)

    def _identity(self) -> _Identity:
        file = self._folder / "identity.json"
        if file.is_file():
            return msgspec.json.decode(file.read_bytes(), type=_Identity)
        amqp, management, distribution, epmd = free_ports(4)
        identity = _Identity("ttg", secrets.token_urlsafe(24), amqp, management, distribution, epmd)
        _write_private(file, msgspec.json.encode(identity).decode())
        return identity

    def _spawn(self, identity: _Identity) -> OwnedProcess:
        script = _server_script()
        if script is None:
            raise SubstrateError(self.problem() or "")
        folder = self._folder
        _write_private(folder / "rabbitmq.conf", _configuration(identity))
        # Given explicitly, or the system's files of these names would be read.
        _write_private(folder / "rabbitmq-env.conf", "")
        _write_private(folder / "advanced.config", "[].\n")
        _write_private(folder / "enabled_plugins", "[rabbitmq_management].\n")
        (folder / "conf.d").mkdir(exist_ok=True)
        environment = {
            "HOME": str(folder),  # the Erlang cookie is made in here
            "XDG_CONFIG_HOME": str(folder),
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(identity.epmd_port),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
            "RABBITMQ_DIST_PORT": str(identity.distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": "ttg@localhost",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Makes the script become the Erlang VM; else a shell stays to turn signals into others.
            "detached": "true",
        }
        return processes.spawn(
            [str(script)], name=_NAME, run_folder=self._run_folder, environment=environment, log=self._log
        )

    def _is_ready(self, node: OwnedProcess, url: str) -> bool:
        """Waits until it takes logins; False if it ends before."""
        from ttg_worker.brokers.rabbitmq.broker import RabbitMQBroker

        broker = RabbitMQBroker(url, options=DeliveryOptions())
        deadline = time.monotonic() + _BOOT_SECONDS
        try:
            while processes.alive(node):
                try:
                    broker.exists("ready")
                    return processes.alive(node)
                except BrokerUnavailable as error:
                    if time.monotonic() > deadline:
                        raise self._failed(
                            f"takes no connections after {_BOOT_SECONDS:g} s ({error})"
                        ) from None
                time.sleep(0.05)
            return False
        finally:
            broker.close()

    def _failed(self, what: str) -> SubstrateError:
        text = self._log.read_text(errors="replace") if self._log.is_file() else ""
        lines = _COLOUR.sub("", text).splitlines()[-15:]
        return SubstrateError("\n".join([f"rabbitmq-server {what}; the end of {self._log}:", *lines]))

    def _processes(self) -> list[OwnedProcess]:
        return [process for process in processes.find(self._run_folder) if process.name == _NAME]

    def _node(self) -> OwnedProcess | None:
        for process in self._processes():
            try:
                if psutil.Process(process.pid).name().startswith("beam"):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None


def _configuration(identity: _Identity) -> str:
    return f"""\
listeners.tcp.1 = 127.0.0.1:{identity.amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {identity.management_port}
default_user = {identity.user}
default_pass = {identity.password}
log.console = true
log.console.level = info
log.file = false
# A chunk may take a day; half an hour, the default, would take it from a worker that computes.
consumer_timeout = {CONSUMER_TIMEOUT_MS}
"""


def _write_private(file: Path, text: str) -> None:
    """Never readable by others, not even for the moment before a chmod."""
    part = file.with_name(file.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
    part.rename(file)


def _server_script() -> Path | None:
    """The unwrapped script: the one that PATH of Debian leads to switches to the user rabbitmq."""
    found = shutil.which("rabbitmq-server")
    if found is not None and Path(found).resolve().name == "rabbitmq-server":
        return Path(found)
    for folder in _SCRIPT_FOLDERS:
        script = Path(folder) / "rabbitmq-server"
        if os.access(script, os.X_OK):
            return script
    return None
