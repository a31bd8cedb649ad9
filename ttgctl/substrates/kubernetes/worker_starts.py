"""Whether a run's worker pods can start at all, judged from what their status says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.kubernetes import pods

# A failed pull, or a file that is not there yet, may be a hiccup; this long it is not.
HOPELESS_SECONDS: Final = 20.0
# So long a cluster may take to place its pods, and its nodes to pull the image.
START_SECONDS: Final = 120.0
# A container that ends by itself this often will not do better again.
FAILED_STARTS_MOST: Final = 3
# What a worker ends with whose settings or function can't work (``python -m ttg_worker``).
CANNOT_WORK: Final = 2


class WorkerStarts:
    """To be asked often, with the pods of the moment. Patience begins when none of them runs."""

    def __init__(self) -> None:
        self._none_since: float | None = None

    def judge(self, found: Sequence[dict[str, Any]]) -> None:
        """Raises :class:`SubstrateError` with the reason when no waiting will make a worker of these."""
        for pod in found:
            end = pods.last_end(pod)
            if end is not None and end["exitCode"] == CANNOT_WORK:
                raise SubstrateError(f"worker {pod['metadata']['name']} can't start: {pods.last_words(end)}")
        if any(pods.is_ready(pod) or (pods.is_running(pod) and not pods.restarts(pod)) for pod in found):
            self._none_since = None
            return
        for pod in found:
            end = pods.last_end(pod)
            if end is not None and pods.restarts(pod) >= FAILED_STARTS_MOST and not pods.is_running(pod):
                raise SubstrateError(f"workers end as soon as they start: {pods.last_words(end)}")
        troubles = [trouble for pod in found if (trouble := pods.trouble(pod))]
        if not troubles or self._none_since is None:
            self._none_since = time.monotonic() if troubles else None
            return
        seconds = time.monotonic() - self._none_since
        hopeless = [pods.trouble(pod) for pod in found if pods.is_hopeless(pod)]
        if hopeless and seconds > HOPELESS_SECONDS:
            raise SubstrateError(f"no worker can start: {hopeless[0]}")
        if seconds > START_SECONDS:
            raise SubstrateError(f"no worker started in {START_SECONDS:g} s: {troubles[0]}")
