"""One backoff for whatever may be away: a broker, a server, an API. Patience begins with the outage."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 0.05
MOST_SECONDS: Final = 2.0


class Outage:
    """Whether the other side is away, how long to wait before the next try, and who hears of it.

    Safe to use from several threads. ``patience_seconds`` is how long an outage may last (None: for ever);
    it is counted anew for each. ``on_change`` hears of the beginning and of the end.
    """

    def __init__(
        self, on_change: Callable[[str], None] | None = None, *, patience_seconds: float | None = None
    ) -> None:
        self._on_change = on_change
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._failures = 0

    def begin(self) -> None:
        """It is away, though no try has failed yet: the first one is under way."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()

    def failed(self, error: Exception) -> float:
        """A try failed. Returns the seconds to wait, growing to about 2, with jitter."""
        with self._lock:
            self._failures += 1
            begins = self._failures == 1
            if self._since is None:
                self._since = time.monotonic()
            doubled = FIRST_SECONDS * 2.0 ** min(self._failures - 1, 10)
            pause = min(MOST_SECONDS, doubled) * random.uniform(0.5, 1.0)
        if begins and self._on_change is not None:
            self._on_change(f"{error}; reconnecting")
        return pause

    def pause_after(self, error: Exception) -> float:
        """The same for who has nothing left to do but wait; raises ``error`` once patience is over."""
        pause = self.failed(error)
        if self.beyond_patience:
            raise error
        return pause

    def over(self) -> None:
        """A try went well."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
            failures, self._failures = self._failures, 0
        if since is not None and failures and self._on_change is not None:
            self._on_change(f"the broker is back after {time.monotonic() - since:.1f} s")

    @property
    def failures(self) -> int:
        """How many tries failed in it so far."""
        return self._failures

    @property
    def seconds(self) -> float:
        """How long it has lasted so far; 0 when there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def beyond_patience(self) -> bool:
        """Whether it has lasted longer than anybody waits for."""
        patience = self._patience_seconds
        return patience is not None and self._since is not None and self.seconds >= patience
