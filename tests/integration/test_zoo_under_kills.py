"""Functions drawn from a zoo of misbehaviour, beside good ones, while workers are killed.

Every good parameter has its value, every bad one failed with its own reason. ``TTG_ZOO_SEEDS=200`` runs that
many seeds a broker; one seed again: ``TTG_ZOO_SEEDS=137-137``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from support import zoo
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.wire import Chunk
from ttgctl.core.account.failures import failures
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.account.result_rows import rows
from ttgctl.core.inputs.parameters import open_parameters
from ttgctl.core.run.publishing import chunk_of
from ttgctl.domain.run import RunSpec

GOOD = ("fine", "nan", "aliasing", "fork", "leak", "slow")
# Long for whatever answers, on a busy machine too: a giant value takes its time.
PARAMETER_TIMEOUT = "3s"
BAD = {**zoo.EXPECTED, "hang": "no answer in 3 s"}
OPTIONS = DeliveryOptions(lease_seconds=0.5, max_attempts=2, retry_delay_seconds=0.02)
WITHIN_SECONDS = 90.0
# Most of a sweep is waiting.
AT_ONCE = 4


def seeds() -> range:
    first, _, last = os.environ.get("TTG_ZOO_SEEDS", "60" if os.environ.get("CI") else "12").partition("-")
    return range(int(first), int(last) + 1) if last else range(int(first))


@dataclass(frozen=True)
class Draw:
    """What a seed decides."""

    kinds: list[str]
    chunk_size: int
    workers: int
    kill_at: list[float]

    @classmethod
    def of(cls, seed: int) -> Draw:
        draw = random.Random(seed)
        kinds = draw.choices(GOOD, k=draw.randint(10, 40))
        for bad in draw.sample(sorted(BAD), k=draw.randint(1, 5)):
            kinds[draw.randrange(len(kinds))] = bad
        return cls(
            kinds,
            chunk_size=draw.choice((1, 1, 2, 3, 7, 40)),
            workers=draw.choice((1, 2, 3)),
            kill_at=sorted(draw.uniform(0.2, 2.0) for _ in range(draw.randint(0, 3))),
        )

    def value(self, index: int) -> object:
        return {"nan": [index, "NaN"], "aliasing": {"y": index}}.get(self.kinds[index], index)


class Crew:
    """Workers as processes; a killed one is replaced at once."""

    def __init__(self, url: str, run_id: str, workload: str) -> None:
        self._environment = {
            **os.environ,
            "BROKER_URL": url,
            "RUN_ID": run_id,
            "WORKLOAD": workload,
            "PARAMETER_TIMEOUT": PARAMETER_TIMEOUT,
            "MAX_ATTEMPTS": str(OPTIONS.max_attempts),
            "RETRY_DELAY_MS": f"{OPTIONS.retry_delay_seconds * 1000:g}",
            "LEASE_MS": f"{OPTIONS.lease_seconds * 1000:g}",
        }
        self._number = 0
        self.workers: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        self._number += 1
        worker = subprocess.Popen(
            [sys.executable, "-m", "ttg_worker"],
            env={**self._environment, "WORKER_ID": f"w{self._number}"},
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(worker)

    def kill(self, which: int) -> None:
        victim = self.workers.pop(which % len(self.workers))
        victim.kill()
        victim.wait()
        self.add()

    def end(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(timeout=WITHIN_SECONDS)


@pytest.mark.timeout(3600)
def test_each_parameter_has_its_own_end(server, run_id, tmp_path):
    def one(seed: int) -> None:
        try:
            sweep(server.url, f"{run_id}-{seed}", Draw.of(seed), tmp_path / str(seed))
        except BaseException as error:
            error.add_note(f"seed {seed} on {server.backend}; again with: TTG_ZOO_SEEDS={seed}-{seed}")
            raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for sweeping in [pool.submit(one, seed) for seed in seeds()]:
            sweeping.result()


def sweep(url: str, run_id: str, draw: Draw, folder: Path) -> None:
    folder.mkdir()
    path = folder / "p.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode({"x": x, "kind": k}) for x, k in enumerate(draw.kinds)))
    source = open_parameters(path)
    spec = RunSpec(
        run_id=run_id,
        backend="redis",
        substrate="local",
        parameters_total=source.total,
        chunk_size=draw.chunk_size,
        parameter_source=path.name,
        workload="zoo.py:drawn",
    )
    crew = Crew(url, run_id, f"{zoo.__file__}:drawn")
    with (
        closing(open_broker(url, options=OPTIONS)) as broker,
        closing(Ledger(":memory:", spec)) as ledger,
    ):
        broker.declare(run_id)
        publisher = broker.publisher(run_id)
        chunks: list[Chunk] = [chunk_of(spec, source, c) for c in range(spec.chunks_total)]
        assert list(publisher.publish(chunks))[-1] == len(chunks)
        publisher.close()
        for _ in range(draw.workers):
            crew.add()
        try:
            follow(broker, run_id, ledger, spec, crew, draw)
        finally:
            crew.end()
            broker.drop(run_id)
        judge(ledger, spec, source, draw)


def follow(broker, run_id: str, ledger: Ledger, spec: RunSpec, crew: Crew, draw: Draw) -> None:
    """Until each chunk is accounted for, with workers killed when it is their time."""
    began, kill_at = time.monotonic(), list(draw.kill_at)
    with closing(broker.observer(run_id)) as observer:
        results, letters = observer.results(), observer.dead_letters()
        while ledger.accounted < spec.chunks_total:
            now = time.monotonic() - began
            assert now < WITHIN_SECONDS, f"missing: {ledger.missing(spec.chunks_total)}, {draw}"
            if kill_at and now >= kill_at[0]:
                kill_at.pop(0)
                crew.kill(len(kill_at))
            while (result := next(results)) is not None:
                ledger.record_result(result)
            while (letter := next(letters)) is not None:
                ledger.record_dead_letter(letter)


def judge(ledger: Ledger, spec: RunSpec, source, draw: Draw) -> None:
    found = {row.parameter_index: row for row in rows(spec, ledger, source)}
    for index, kind in enumerate(draw.kinds):
        row = found[index]
        if kind in BAD:
            assert BAD[kind] in (row.error or ""), (index, kind, row, draw)
        else:
            assert row.error is None, (index, kind, row, draw)
            assert msgspec.json.decode(msgspec.json.encode(told(row.value))) == draw.value(index), (kind, row)
    attempts = {index: each.attempts for each in failures(ledger, spec) for index in each.indices}
    assert set(attempts) == {index for index, kind in enumerate(draw.kinds) if kind in BAD}
    assert (ledger.totals.conflicting, ledger.totals.unexpected) == (0, 0)


def told(value: object) -> object:
    """NaN is not equal to itself."""
    return [value[0], "NaN"] if isinstance(value, list) and value[1] != value[1] else value
