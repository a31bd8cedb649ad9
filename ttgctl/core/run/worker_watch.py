"""Looks after the workers from a thread, so that a substrate that takes its time holds up nobody else."""

from __future__ import annotations

import threading
from typing import Final

from ttgctl.core.ports import BrokerEndpoint, Clock, Substrate, WorkerStatus
from ttgctl.domain.run import RunSpec

# Of this machine's processes a death is seen at once; a control plane is not asked more than it needs.
EVERY_SECONDS: Final = 0.1
REMOTE_EVERY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0


class WorkerWatch:
    """Replaces workers that died and lists those that are there, again and again.

    ``workers`` are the newest list, which is ``age_seconds`` old; ``failure`` is what ended it for good.
    """

    def __init__(
        self, spec: RunSpec, substrate: Substrate, endpoint: BrokerEndpoint, *, clock: Clock
    ) -> None:
        self._spec = spec
        self._substrate = substrate
        self._endpoint = endpoint
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-watch", daemon=True)
        self._seen_at = clock.monotonic()
        self.workers: list[WorkerStatus] = []
        self.failure: Exception | None = None

    @property
    def age_seconds(self) -> float:
        return self._clock.monotonic() - self._seen_at

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No worker is started any more when this returns. Idempotent.

        A control plane that is away is not waited for: what is asked of it starts no worker."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=STOP_SECONDS if self._substrate.away is None else 0.0)

    def _run(self) -> None:
        every = REMOTE_EVERY_SECONDS if self._substrate.remote else EVERY_SECONDS
        try:
            while not self._stop.is_set():
                self._look()
                self._stop.wait(every)
        # The thread's owner must hear of it, whatever it is: it is raised there.
        except Exception as error:
            self.failure = error

    def _look(self) -> None:
        self._substrate.start_workers(self._spec, self._endpoint)
        workers = self._substrate.workers(self._spec.run_id)
        self._seen_at = self._clock.monotonic()
        self.workers = workers
