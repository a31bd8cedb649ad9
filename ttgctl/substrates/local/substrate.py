"""The ``local`` substrate: workers and broker are processes of this machine, on 127.0.0.1."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ttg_worker.settings import WorkerSettings
from ttgctl.core.ports import (
    BrokerEndpoint,
    Check,
    Evidence,
    MissingRequirement,
    OwnedResource,
    Say,
    SubstrateError,
    WorkerStatus,
)
from ttgctl.core.records.run_folder import RunFolder, run_folder
from ttgctl.domain.fault_kinds import FAULT_KINDS, FaultKindName
from ttgctl.domain.faults import parse_fault
from ttgctl.domain.run import RunSpec
from ttgctl.substrates import static_shares
from ttgctl.substrates.broker_server import LocalServer, broker_folder
from ttgctl.substrates.local import faults, processes
from ttgctl.substrates.local.processes import OwnedProcess
from ttgctl.substrates.local.tcp_relay import TcpRelay, relay_problem
from ttgctl.substrates.run_storage import delete_stored, stored
from ttgctl.substrates.worker_settings import worker_settings

BROKER: Final = "broker"
STOP_GRACE_SECONDS: Final = 10.0
# Nobody needs the chunk in hand of a worker whose run is removed.
DELETE_GRACE_SECONDS: Final = 1.0
# A worker that ends by itself this often, with an error and at once, will not do better again.
FAILED_STARTS_MOST: Final = 3


def server_for(backend: str, folder: Path) -> LocalServer:
    """The server of a backend for the run in ``folder``; starts nothing."""
    if backend == "rabbitmq":
        from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer

        return RabbitMQServer(folder)
    from ttgctl.substrates.local.redis_server import RedisServer

    return RedisServer(folder)


class LocalSubstrate:
    """``broker_url`` names a broker that is already there: none is started, and none stopped."""

    name = "local"
    remote = False
    away = None

    def __init__(self, *, backend: str | None = None, broker_url: str | None = None) -> None:
        self._backend = backend
        self._broker_url = broker_url
        self._workers: dict[str, list[OwnedProcess]] = {}
        self._started = 0
        self._failed_starts = 0
        self._relay: TcpRelay | None = None

    def preflight(self) -> list[Check]:
        """One check a backend: whether its server can run here."""
        from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer
        from ttgctl.substrates.local.redis_server import RedisServer

        checks = []
        for backend, server in (("rabbitmq", RabbitMQServer), ("redis", RedisServer)):
            if self._backend not in (None, backend) or self._broker_url is not None:
                continue
            problem = server.problem()
            check = f"{backend} server"
            if problem is None:
                checks.append(Check(check=check, status="ok", detail="found"))
            else:
                needed = self._backend == backend
                checks.append(
                    Check(check=check, status="fail" if needed else "warn", detail="not found", fix=problem)
                )
        return checks

    def ensure(self, say: Say) -> None:
        """There is nothing to create: the machine is the substrate."""

    def start_broker(self, spec: RunSpec, say: Say) -> BrokerEndpoint:
        if self._broker_url is not None:
            return BrokerEndpoint(host_url=self._broker_url, worker_url=self._broker_url)
        server = self._server(spec)
        problem = server.problem()
        if problem is not None:
            raise MissingRequirement(problem)
        if spec.has_queue:
            say(f"starting {spec.backend} on 127.0.0.1")
        address = server.start()
        return BrokerEndpoint(
            host_url=address.url, worker_url=address.url, management_url=address.management_url
        )

    def stop_broker(self, spec: RunSpec) -> None:
        if self._broker_url is None:
            self._server(spec).stop()

    @staticmethod
    def _server(spec: RunSpec) -> LocalServer:
        folder = run_folder(spec.run_id).path
        if spec.has_queue:
            return server_for(spec.backend, folder)
        return static_shares.StaticShares(folder, spec.workers)

    def start_workers(self, spec: RunSpec, endpoint: BrokerEndpoint) -> None:
        folder = run_folder(spec.run_id)
        if spec.run_id not in self._workers:
            # Those of a command that died go on: they drain the same run.
            self._workers[spec.run_id] = self._adopt(spec, folder)
            self._started = self._last_number(folder)
        workers = self._workers[spec.run_id]
        gone = [worker for worker in workers if not processes.alive(worker)]
        for worker in gone:
            workers.remove(worker)
        if gone:
            # What its function had started is nobody's now.
            _end_compute(folder, but_of=workers)
        for worker in gone:
            self._look_at_end(worker, folder)
        # A fixed share is one worker's: nobody takes the place of one that died.
        while len(workers) < spec.workers and (spec.has_queue or self._started < spec.workers):
            self._started += 1
            workers.append(self._spawn(spec, endpoint, folder, f"worker-{self._started}"))

    @staticmethod
    def _adopt(spec: RunSpec, folder: RunFolder) -> list[OwnedProcess]:
        found = _workers_of(folder)
        for process in found:
            processes.send(process, signal.SIGCONT)
        _end_compute(folder, but_of=found)
        if not _partitioned(spec):
            return found
        # Their way to the broker was in the command that died.
        processes.end(found, grace_seconds=STOP_GRACE_SECONDS)
        return []

    def _spawn(
        self, spec: RunSpec, endpoint: BrokerEndpoint, folder: RunFolder, worker_id: str
    ) -> OwnedProcess:
        settings: WorkerSettings = worker_settings(
            spec,
            broker_url=self._url_for(worker_id, spec, endpoint),
            worker_id=worker_id,
            input_folder=str(folder.input),
            idle_exit_seconds=spec.idle_exit_seconds,
        )
        return processes.spawn(
            # Neither what lies in the working folder nor what is buffered is the worker's.
            [sys.executable, "-P", "-u", "-m", "ttg_worker"],
            name=worker_id,
            run_folder=folder.path,
            environment=settings.to_environment(),
            log=self._log(folder, worker_id),
        )

    def _url_for(self, worker_id: str, spec: RunSpec, endpoint: BrokerEndpoint) -> str:
        if not _partitioned(spec):
            return endpoint.worker_url
        if self._relay is None:
            self._relay = TcpRelay(endpoint.worker_url)
        return self._relay.open(worker_id)

    @staticmethod
    def _log(folder: RunFolder, name: str) -> Path:
        return folder.logs / f"{name}.log"

    def _last_number(self, folder: RunFolder) -> int:
        logs = folder.logs
        names = [p.stem.removeprefix("worker-") for p in logs.glob("worker-*.log")] if logs.is_dir() else []
        return max((int(n) for n in names if n.isdigit()), default=0)

    def _look_at_end(self, worker: OwnedProcess, folder: RunFolder) -> None:
        code = processes.exit_code(worker)
        soon = time.time() - worker.created_at < 5.0
        if code is None or code <= 0 or not soon:
            self._failed_starts = 0
            return
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS_MOST:
            log = self._log(folder, worker.name)
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
            raise SubstrateError(
                f"workers end as soon as they start (exit code {code}): {last[0]} (see {log})"
            )

    def workers(self, run_id: str) -> list[WorkerStatus]:
        return [
            WorkerStatus(worker_id=p.name, uid=p.uid, running=processes.alive(p), detail=f"pid {p.pid}")
            for p in self._workers.get(run_id, [])
        ]

    def stop_workers(self, run_id: str) -> None:
        mine = self._workers.pop(run_id, [])
        folder = run_folder(run_id)
        rest = [p for p in _workers_of(folder) if p not in mine]
        # A stopped process can't act on SIGTERM.
        for process in [*mine, *rest]:
            processes.send(process, signal.SIGCONT)
        processes.end([*mine, *rest], grace_seconds=STOP_GRACE_SECONDS)
        _end_compute(folder, but_of=())

    def kill(self, worker: WorkerStatus) -> Evidence:
        return faults.signalled(self._process(worker), signal.SIGKILL)

    def _process(self, worker: WorkerStatus) -> OwnedProcess:
        for process in [p for owned in self._workers.values() for p in owned]:
            if process.uid == worker.uid:
                return process
        raise SubstrateError(f"{worker.worker_id} ({worker.uid}) is gone already")

    def why_not(self, kind: FaultKindName) -> str | None:
        if FAULT_KINDS[kind].target == "node":
            return "stop-node: the local substrate has one node, this machine"
        if self._backend == "static" and FAULT_KINDS[kind].between_workers:
            return f"{kind}: {static_shares.NO_BROKER}"
        if self._broker_url is None:
            return None
        if FAULT_KINDS[kind].target == "broker":
            return f"{kind}: the broker of --broker-url is not ttgctl's to stop"
        problem = relay_problem(self._broker_url) if kind == "partition" else None
        return None if problem is None else f"partition: {problem}"

    def pause(self, worker: WorkerStatus) -> Evidence:
        return faults.signalled(self._process(worker), signal.SIGSTOP)

    def resume(self, worker: WorkerStatus) -> None:
        for process in [p for owned in self._workers.values() for p in owned if p.uid == worker.uid]:
            processes.send(process, signal.SIGCONT)

    def isolate(self, worker: WorkerStatus) -> Evidence:
        process = self._process(worker)
        if self._relay is None:
            raise SubstrateError("partition: the run's workers were started without it in the plan")
        cut = self._relay.cut(process.name)
        return Evidence(
            victim=process.name,
            uid=process.uid,
            at=time.time(),
            method="relay",
            effect=_cut_words(cut),
        )

    def rejoin(self, worker: WorkerStatus) -> str | None:
        # One that had no connection at first may have asked for one in vain since.
        return None if self._relay is None else _cut_words(self._relay.restore(worker.worker_id))

    def broker_uid(self, spec: RunSpec) -> str | None:
        process = faults.broker_process(run_folder(spec.run_id).path, BROKER)
        return process.uid if process is not None else None

    def kill_broker(self, spec: RunSpec) -> Evidence:
        return faults.kill_broker(run_folder(spec.run_id).path, BROKER)

    def logs(self, run_id: str, *, worker_id: str | None = None) -> dict[str, str]:
        folder = run_folder(run_id)
        logs = folder.logs
        if not logs.is_dir():
            return {}
        return {
            path.stem: path.read_text(errors="replace")
            for path in sorted(logs.glob("*.log"))
            if worker_id in (None, path.stem)
        }

    def password_command(self, run_id: str) -> str:
        return f"cat '{broker_folder(run_folder(run_id).path) / 'identity.json'}'"

    def diagnostics(self, spec: RunSpec) -> dict[str, str]:
        """The broker's own logs and the processes: there are no objects here."""
        folder = run_folder(spec.run_id)
        texts = {
            f"broker/{path.name}": path.read_text(errors="replace")
            for path in sorted((folder.local / "broker").glob("*.log"))
        }
        lines = [f"{p.name} pid {p.pid}" for p in processes.find(folder.path)]
        return texts | {"processes.txt": "\n".join(lines) + "\n"}

    def owned(self, run_id: str | None = None) -> list[OwnedResource]:
        """Processes of runs, and the folders that runs keep their broker's storage and logs in."""
        path = run_folder(run_id).path if run_id is not None else None
        found = [
            OwnedResource(
                kind="process",
                name=f"{p.name or 'process'} (pid {p.pid})",
                uid=p.uid,
                run_id=p.run_folder.name,
                created_at=p.created_at,
            )
            # Workers first: without their broker they end slowly, and what computes for them goes with them.
            for p in sorted(processes.find(path), key=lambda p: (p.name == BROKER, p.compute_of is not None))
        ]
        found += stored(run_id, belongs=lambda spec: spec.substrate == self.name)
        return found

    def delete(self, resource: OwnedResource) -> bool:
        if resource.kind == "folder":
            return delete_stored(resource)
        # By uid again: between listing and deleting the pid may have become another's.
        same = [p for p in processes.find() if p.uid == resource.uid]
        for process in same:
            processes.send(process, signal.SIGCONT)
        # A broker closes its files in good order for seconds, and they go next.
        brokers = [p for p in same if p.name == BROKER]
        processes.end(brokers, grace_seconds=0.0)
        processes.end([p for p in same if p not in brokers], grace_seconds=DELETE_GRACE_SECONDS)
        return bool(same)

    def close(self) -> None:
        """Ends the relay, if there is one."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None


def _workers_of(folder: RunFolder) -> list[OwnedProcess]:
    return [p for p in processes.find(folder.path) if p.name != BROKER and p.compute_of is None]


def _end_compute(folder: RunFolder, *, but_of: Sequence[OwnedProcess]) -> None:
    """Ends compute processes, and what they started, whose workers are not among these."""
    names = {worker.name for worker in but_of}
    found = processes.find(folder.path)
    processes.end(
        [p for p in found if p.compute_of is not None and p.compute_of not in names], grace_seconds=0.0
    )


def _cut_words(connections: int) -> str | None:
    return f"{connections} connection{'' if connections == 1 else 's'} cut" if connections else None


def _partitioned(spec: RunSpec) -> bool:
    return spec.has_queue and any(parse_fault(text).kind == "partition" for text in spec.faults)
