"""Reading holds nobody up, however slowly or fast results come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from ttg_worker.brokers.base import Recorded
from ttg_worker.wire import ChunkResult, Heartbeat, digest
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.run.ledger_reader import READ_SECONDS, LedgerReader
from ttgctl.domain.run import RunSpec

CHUNKS = 1000
SPEC = RunSpec(
    run_id="r", backend="redis", substrate="local", parameters_total=CHUNKS, chunk_size=1, workload="m:f"
)


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Steady:
    """An observer whose next result takes its time and always comes; its workers' clock is behind."""

    def __init__(self, clock: FakeClock, *, every_seconds: float, skew_seconds: float = 0.0) -> None:
        self._clock = clock
        self._every_seconds = every_seconds
        self._skew_seconds = skew_seconds

    def results(self, *, after: int) -> Iterator[Recorded[ChunkResult] | None]:
        for n in range(CHUNKS):
            self._clock.now += self._every_seconds
            at = self._clock.now + self._skew_seconds
            yield Recorded(
                n, ChunkResult("r", n, "w", 1, 0, at - 0.5, at, digest(b"[1]"), msgspec.Raw(b"[1]"))
            )
        while True:
            yield None

    def dead_letters(self, *, after: int) -> Iterator[None]:
        while True:
            yield None

    def heartbeats(self) -> list[Heartbeat]:
        at = self._clock.now + self._skew_seconds
        return [Heartbeat("r", "w", "busy", 3, (3,), 0, 0, at, at)]


class Deaf:
    """Hears of results and dead letters."""

    def saw_result(self, result) -> None: ...

    def saw_dead_letter(self, letter) -> None: ...


@pytest.fixture
def ledger():
    with closing(Ledger(":memory:", SPEC)) as ledger:
        yield ledger


@pytest.mark.case("C33")
@pytest.mark.parametrize("every_seconds", [0.04, 0.01, 0.003, 0.00005])
def test_results_that_come_steadily_hold_nothing_up(ledger, every_seconds):
    clock = FakeClock()
    reader = LedgerReader(
        Steady(clock, every_seconds=every_seconds), ledger=ledger, injector=Deaf(), clock=clock
    )
    while ledger.totals.ok < CHUNKS:
        before = clock.now
        reader.read()
        assert clock.now - before <= READ_SECONDS + 2 * every_seconds


@pytest.mark.parametrize("skew_seconds", [-3600.0, -4.0, 0.0, 3600.0])
def test_the_account_of_time_is_by_this_machines_clock(ledger, skew_seconds):
    clock = FakeClock()
    began = clock.now
    observer = Steady(clock, every_seconds=0.01, skew_seconds=skew_seconds)
    reader = LedgerReader(observer, ledger=ledger, injector=Deaf(), clock=clock)
    while not reader.read():
        pass
    assert began - 1 < ledger.first_delivery_at < began + 0.1
    assert ledger.last_result_at() == pytest.approx(began + CHUNKS * 0.01, abs=0.1)
    assert reader.heartbeats["w"].at == pytest.approx(clock.now, abs=0.1)
