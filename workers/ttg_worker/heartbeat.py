"""Tells observers how the worker is, from a thread, so that a long chunk does not look dead."""

from __future__ import annotations

import threading
import time
from typing import Final, Literal

from ttg_worker.brokers.base import Consumer
from ttg_worker.wire import Heartbeat

EVERY_SECONDS: Final = 1.0
APART_SECONDS: Final = 0.2


class HeartbeatSender:
    """Sends a heartbeat at every change, ``APART_SECONDS`` apart at the least, and every second."""

    def __init__(self, run_id: str, worker_id: str, consumer: Consumer) -> None:
        self._run_id = run_id
        self._worker_id = worker_id
        self._consumer = consumer
        self._state: Literal["starting", "idle", "busy", "stopping"] = "starting"
        self._chunk_id: int | None = None
        self._index: int | None = None
        self._done = 0
        self._failed = 0
        self._started_at = time.time()
        self._changed = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def start(self) -> None:
        self._changed.set()
        self._thread.start()

    def idle(self) -> None:
        if self._state != "idle":
            self._state, self._chunk_id, self._index = "idle", None, None
            self._changed.set()

    def busy(self, chunk_id: int, index: int) -> None:
        """``index`` is that of the parameter in hand, in the whole sweep."""
        changed = (self._chunk_id, self._index) != (chunk_id, index)
        self._state, self._chunk_id, self._index = "busy", chunk_id, index
        # Setting it costs a lock, which chunks of no work would notice.
        if changed and not self._changed.is_set():
            self._changed.set()

    def done(self) -> None:
        self._done += 1

    def failed(self) -> None:
        self._failed += 1

    def stop(self) -> None:
        """Sends a last heartbeat and ends the thread."""
        self._state, self._chunk_id, self._index, self._stop = "stopping", None, None, True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._changed.wait(EVERY_SECONDS)
            self._changed.clear()
            stop = self._stop
            self._consumer.heartbeat(
                Heartbeat(
                    run_id=self._run_id,
                    worker_id=self._worker_id,
                    state=self._state,
                    chunk_id=self._chunk_id,
                    held=self._consumer.held(),
                    done=self._done,
                    failed=self._failed,
                    started_at=self._started_at,
                    at=time.time(),
                    index=self._index,
                )
            )
            if stop:
                return
            time.sleep(APART_SECONDS)
