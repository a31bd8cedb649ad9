"""The loop that drains chunks: take, compute, complete; retry or give up what fails."""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from types import FrameType
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Broker, Consumer, Delivery
from ttg_worker.errors import BrokerUnavailable
from ttg_worker.heartbeat import HeartbeatSender
from ttg_worker.settings import WorkerSettings
from ttg_worker.simulated_faults import SimulatedFaults
from ttg_worker.workload import Workload

log = logging.getLogger(__name__)

# How much work a worker keeps at hand: enough that a round trip to the broker costs nothing,
# little enough that a kill takes few chunks down with it.
PREFETCH_SECONDS: Final = 0.25
PREFETCH_MOST: Final = 500
# Of the 10 s that a SIGTERM leaves, what the chunk in hand may use before it is given back.
FINISH_SECONDS: Final = 6.0
FLUSH_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 0.1


class GiveBack(BaseException):
    """Raised in the middle of a chunk whose worker must leave; no workload may catch it as its own."""


class Worker:
    """Drains one run until it is told to stop, or is left alone and has been idle for too long.

    It is left alone once the process that started it is gone: nobody would tell it to stop.
    """

    def __init__(self, settings: WorkerSettings, *, broker: Broker, workload: Workload) -> None:
        self._settings = settings
        self._broker = broker
        self._workload = workload
        self._faults = SimulatedFaults(poison=settings.poison, corrupt=settings.corrupt, seed=settings.seed)
        self._stopping = False
        self._parent = os.getppid()
        self._seconds_per_chunk: float | None = None
        self._prefetch = 1

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT: finish the chunk in hand, or give it back when it takes too long."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_deadline)

    def stop(self) -> None:
        """Asks it to end after the chunk in hand; may be called from anywhere."""
        self._stopping = True

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()
        signal.setitimer(signal.ITIMER_REAL, FINISH_SECONDS)

    def _on_deadline(self, number: int, frame: FrameType | None) -> None:
        raise GiveBack

    def run(self) -> None:
        """Returns when stopped or idle too long; what is held then goes back to the broker."""
        settings = self._settings
        if not self._wait_for_run():
            return
        log.info("draining run %s", settings.run_id)
        consumer = self._broker.consumer(
            settings.run_id,
            settings.worker_id,
            prefetch=self._prefetch,
            unsafe_ack_early=settings.unsafe_ack_early,
            on_reconnect=log.warning,
        )
        heartbeat_sender = HeartbeatSender(settings.run_id, settings.worker_id, consumer)
        heartbeat_sender.start()
        try:
            self._drain(consumer, heartbeat_sender)
        except GiveBack:
            log.warning("giving the chunk in hand back: it would take too long to finish")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            heartbeat_sender.stop()
            if not consumer.flush(timeout_seconds=FLUSH_SECONDS):
                log.warning(
                    "not all results were confirmed in %.0f s; they will be computed again", FLUSH_SECONDS
                )
            consumer.close()
            self._broker.close()

    def _wait_for_run(self) -> bool:
        """Waits until broker and queues are there: on a cluster all start at once. False: stopped."""
        said = ""
        since = time.monotonic()
        while not self._stopping:
            try:
                if self._broker.exists(self._settings.run_id):
                    return True
                state = f"waiting for the queues of run {self._settings.run_id}"
            except BrokerUnavailable as error:
                state = f"waiting for the broker: {error}"
            if state != said:
                log.info("%s", state)
                said = state
            if self._left_alone_for(time.monotonic() - since):
                return False
            time.sleep(WAIT_SECONDS)
        return False

    def _drain(self, consumer: Consumer, heartbeat_sender: HeartbeatSender) -> None:
        idle_since = time.monotonic()
        for delivery in consumer:
            if self._stopping:
                log.info("told to stop")
                return
            if delivery is not None:
                self._work(delivery, consumer, heartbeat_sender)
                idle_since = time.monotonic()
                continue
            heartbeat_sender.idle()
            if self._left_alone_for(time.monotonic() - idle_since):
                return

    def _left_alone_for(self, idle_seconds: float) -> bool:
        """Whether it is time to leave."""
        # In a container the parent is process 1 from the start, and the cluster ends the worker.
        if os.getppid() == self._parent != 1:
            return False
        if not 0 < self._settings.idle_exit_seconds <= idle_seconds:
            return False
        log.info("no chunk for %.0f s, and nobody who started this worker: leaving", idle_seconds)
        return True

    def _work(self, delivery: Delivery, consumer: Consumer, heartbeat_sender: HeartbeatSender) -> None:
        chunk = delivery.chunk
        heartbeat_sender.busy(chunk.chunk_id)
        started_at = time.time()
        started = time.perf_counter()
        try:
            self._faults.before_compute(chunk)
            values = self._workload.compute(chunk, delivery.attempt)
        # Whatever a workload raises is the chunk's failure and not the worker's, sys.exit() too.
        except (Exception, SystemExit) as error:
            self._failed(delivery, consumer, error)
            heartbeat_sender.failed()
        else:
            result = wire.ChunkResult(
                run_id=chunk.run_id,
                chunk_id=chunk.chunk_id,
                worker_id=self._settings.worker_id,
                attempt=delivery.attempt,
                redelivered=delivery.redelivered,
                started_at=started_at,
                finished_at=time.time(),
                digest=wire.digest(values),
                values=msgspec.Raw(self._faults.as_sent(chunk, values)),
            )
            consumer.complete(delivery, result)
            heartbeat_sender.done()
            # Not after a failure, which may come at once and would make every chunk look short.
            self._adapt_prefetch(consumer, time.perf_counter() - started)

    def _failed(self, delivery: Delivery, consumer: Consumer, error: BaseException) -> None:
        chunk, most = delivery.chunk, self._settings.delivery.max_attempts
        what = f"{type(error).__name__}: {error}"
        if chunk.retries + 1 < most:
            log.warning(
                "chunk %d failed, retry %d of %d: %s", chunk.chunk_id, chunk.retries + 1, most - 1, what
            )
            consumer.retry(delivery, reason=what)
        else:
            log.error("chunk %d failed for the last time: %s", chunk.chunk_id, what)
            consumer.dead_letter(delivery, reason=_traceback(error))

    def _adapt_prefetch(self, consumer: Consumer, seconds: float) -> None:
        mean = self._seconds_per_chunk
        mean = seconds if mean is None else mean + (seconds - mean) / 8
        self._seconds_per_chunk = mean
        wanted = max(1, min(PREFETCH_MOST, int(PREFETCH_SECONDS / max(mean, 1e-9))))
        # Only steps that matter: each resize is a word with the broker.
        if (
            wanted > 2 * self._prefetch
            or 2 * wanted < self._prefetch
            or (wanted == 1) != (self._prefetch == 1)
        ):
            self._prefetch = wanted
            consumer.resize(wanted)


def _traceback(error: BaseException) -> str:
    """The traceback from the workload's own frames on; ours say nothing to its author."""
    frames = error.__traceback__
    while (
        frames is not None
        and frames.tb_next is not None
        and "ttg_worker" in frames.tb_frame.f_code.co_filename
    ):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).strip()
