"""The loop that drains chunks: take, have them computed, settle; hand back what would only wait here."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from ttg_worker.brokers.attempts import given_up, retried
from ttg_worker.brokers.base import Broker, Consumer, Delivery, Outcome
from ttg_worker.compute_supervisor import ComputeSupervisor
from ttg_worker.errors import BrokerUnavailable
from ttg_worker.heartbeat import HeartbeatSender
from ttg_worker.job import Job
from ttg_worker.settings import WorkerSettings
from ttg_worker.simulated_faults import SimulatedFaults
from ttg_worker.wire import ParameterError

log = logging.getLogger(__name__)

# How much work a worker keeps at hand: enough that a round trip to the broker costs nothing,
# little enough that a kill takes few chunks down with it.
PREFETCH_SECONDS: Final = 0.25
PREFETCH_MOST: Final = 500
MANY: Final = 8
# A parameter that takes longer must keep nobody waiting: what is behind it goes to whoever is idle.
SLOW_SECONDS: Final = 0.3
# Of the 10 s that a SIGTERM leaves, what the chunk in hand may use before it is given back.
FINISH_SECONDS: Final = 6.0
FLUSH_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 0.1
# With work in hand, how long one waits for its outcome, and how often the broker is asked for more in vain.
OUTCOME_SECONDS: Final = 0.05
ASK_AGAIN_SECONDS: Final = 0.02


class Worker:
    """Drains one run until it is told to stop, or is left alone and has been idle for too long.

    It is left alone once the process that started it is gone: nobody would tell it to stop.
    """

    def __init__(self, settings: WorkerSettings, *, broker: Broker, compute: ComputeSupervisor) -> None:
        self._settings = settings
        self._worker_id = settings.worker_id
        self._broker = broker
        self._compute = compute
        self._faults = SimulatedFaults(
            poison=settings.poison,
            corrupt=settings.corrupt,
            fault_rate=settings.fault_rate,
            seed=settings.seed,
        )
        self._stopping = False
        self._parent = os.getppid()
        self._seconds_per_chunk: float | None = None
        self._prefetch = 1
        self._ask_at = 0.0
        self._is_slow = False
        self._has_suspect = False

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT: finish the chunk in hand, or give it back when it takes too long."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)

    def stop(self) -> None:
        """Asks it to end after the chunk in hand; may be called from anywhere."""
        self._stopping = True

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def run(self) -> None:
        """Returns when stopped or idle too long; what is held then goes back to the broker."""
        settings = self._settings
        try:
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
                self._leave(consumer, heartbeat_sender)
            finally:
                self._compute.close()
                heartbeat_sender.stop()
                if not consumer.flush(timeout_seconds=FLUSH_SECONDS):
                    log.warning(
                        "not all results were confirmed in %.0f s; they will be computed again", FLUSH_SECONDS
                    )
                consumer.close()
                self._broker.close()
        finally:
            self._compute.close()

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
            # A function that can't be loaded ends the worker here already.
            self._compute.finished(WAIT_SECONDS)
        return False

    def _drain(self, consumer: Consumer, heartbeat_sender: HeartbeatSender) -> None:
        idle_since = time.monotonic()
        while not self._stopping:
            done = self._finished()
            # Before these are settled: the compute process is at work meanwhile.
            took = self._take(consumer, may_wait=not done)
            self._settle(done, consumer, heartbeat_sender)
            if done or took or self._compute.in_flight:
                idle_since = time.monotonic()
            elif self._left_alone_for(time.monotonic() - idle_since):
                return
        log.info("told to stop")

    def _finished(self) -> list[Job]:
        """What was computed; waits for it where something is in hand."""
        return self._compute.finished(OUTCOME_SECONDS if self._compute.in_flight else 0.0)

    def _take(self, consumer: Consumer, *, may_wait: bool) -> bool:
        """Whether there was anything to begin; waits for it only where nothing is in hand."""
        in_flight = self._compute.in_flight
        if self._is_slow:
            # Also what came from the broker since.
            consumer.hand_back(())
            return False
        if self._has_suspect and in_flight:
            return False
        self._has_suspect = False
        # Half of many: the others arrive while these are computed.
        most = self._prefetch // 2 if self._prefetch >= MANY else self._prefetch
        room = (1 if self._settings.unsafe_ack_early else most) - in_flight
        if room <= 0 or (in_flight and (2 * in_flight > most or time.monotonic() < self._ask_at)):
            return False
        idle = may_wait and not in_flight
        deliveries = consumer.take(most=room, wait_seconds=WAIT_SECONDS if idle else 0.0)
        if not deliveries and idle and (suspect := consumer.take_suspect()) is not None:
            deliveries, self._has_suspect = [suspect], True
        if not deliveries:
            self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS
        self._begin(deliveries, consumer)
        return bool(deliveries)

    def _begin(self, deliveries: Sequence[Delivery], consumer: Consumer) -> None:
        jobs = []
        for delivery in deliveries:
            job = Job(delivery)
            fault = self._faults.before_compute(delivery.chunk, delivery.attempt)
            if fault is None:
                jobs.append(job)
            else:
                job.fail_all("simulated", fault)
                self._settle_one(job, consumer)
        self._compute.put(jobs)

    def _settle(self, done: Sequence[Job], consumer: Consumer, heartbeat_sender: HeartbeatSender) -> None:
        """Settles what was computed, and sees to what takes long."""
        compute = self._compute
        seconds, count = 0.0, 0
        for job in done:
            if self._settle_one(job, consumer):
                heartbeat_sender.done()
                # Not after a failure, which may come at once and would make every chunk look short.
                seconds += job.seconds
                count += 1
            else:
                heartbeat_sender.failed()
        if count:
            self._adapt_prefetch(consumer, seconds / count, count)
        in_hand = compute.in_hand
        if in_hand is None:
            if not compute.in_flight:
                heartbeat_sender.idle()
        else:
            job, position = in_hand
            heartbeat_sender.busy(job.delivery.chunk.chunk_id, job.index_at(position))
        self._look_at_slowness(consumer)

    def _look_at_slowness(self, consumer: Consumer) -> None:
        slow = self._compute.seconds_in_hand > SLOW_SECONDS
        if slow and not self._is_slow and not self._settings.unsafe_ack_early:
            self._is_slow = True
            consumer.resize(0)
            consumer.hand_back(self._compute.give_back())
        elif self._is_slow and not slow and not self._compute.in_flight:
            self._is_slow = False
            self._prefetch = 1
            consumer.resize(self._prefetch)

    def _settle_one(self, job: Job, consumer: Consumer) -> bool:
        """Whether all of its parameters have values."""
        errors = job.errors
        delivery, worker_id = job.delivery, self._worker_id
        results = job.results(worker_id)
        if results:
            results[0] = self._faults.as_sent(results[0])
        if not errors:
            consumer.settle(delivery, Outcome(results))
            return True
        most = self._settings.delivery.max_attempts
        chunk = delivery.chunk
        if chunk.retries + 1 < most:
            log.warning("%s, retry %d of %d", _told(job, errors), chunk.retries + 1, most - 1)
            again = retried(delivery, errors, worker_id=worker_id)
            consumer.settle(delivery, Outcome(results, retry=again))
        else:
            log.error("%s for the last time", _told(job, errors))
            letter = given_up(delivery, errors, worker_id=worker_id)
            consumer.settle(delivery, Outcome(results, letter=letter))
        return False

    def _leave(self, consumer: Consumer, heartbeat_sender: HeartbeatSender) -> None:
        """Gives back what is not begun, and what was in hand too if it takes too long to finish."""
        consumer.resize(0)
        if not self._settings.unsafe_ack_early:
            consumer.hand_back(self._compute.give_back())
        deadline = time.monotonic() + FINISH_SECONDS
        while self._compute.in_flight and time.monotonic() < deadline:
            self._settle(self._finished(), consumer, heartbeat_sender)
        if self._compute.in_flight:
            log.warning("giving the chunk in hand back: it would take too long to finish")
            consumer.hand_back(self._compute.abandon())

    def _left_alone_for(self, idle_seconds: float) -> bool:
        """Whether it is time to leave."""
        # In a container the parent is process 1 from the start, and the cluster ends the worker.
        if os.getppid() == self._parent != 1:
            return False
        if not 0 < self._settings.idle_exit_seconds <= idle_seconds:
            return False
        log.info("no chunk for %.0f s, and nobody who started this worker: leaving", idle_seconds)
        return True

    def _adapt_prefetch(self, consumer: Consumer, seconds: float, count: int) -> None:
        """So many chunks took ``seconds`` each."""
        mean = self._seconds_per_chunk
        mean = seconds if mean is None else mean + (seconds - mean) * min(1.0, count / 8)
        self._seconds_per_chunk = mean
        wanted = max(1, min(PREFETCH_MOST, int(PREFETCH_SECONDS / max(mean, 1e-9))))
        # Only steps that matter: each resize is a word with the broker.
        if not self._is_slow and (
            wanted > 2 * self._prefetch
            or 2 * wanted < self._prefetch
            or (wanted == 1) != (self._prefetch == 1)
        ):
            self._prefetch = wanted
            consumer.resize(wanted)


def _told(job: Job, errors: Sequence[ParameterError]) -> str:
    chunk = job.delivery.chunk
    first = errors[0]
    failed = sum(len(error.offsets) for error in errors)
    others = f" and {failed - 1:,} more" if failed > 1 else ""
    index = chunk.start + first.offsets[0]
    return f"chunk {chunk.chunk_id}: parameter {index}{others} failed: {first.summary[:500]}"
