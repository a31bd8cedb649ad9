"""Notices that a run's broker is away, starts it again, and gives up on one that stays away; tells of one
that is there and takes nothing in, which is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttgctl.core.ports import Clock, MissingRequirement, Substrate, SubstrateError
from ttgctl.domain.events import Level, Notice
from ttgctl.domain.run import RunSpec

# A broker that is away for so long is started again, if it is ours.
PATIENCE_SECONDS: Final = 3.0
# And the run is let go of, to be resumed, when it does not come back for so long.
GIVE_UP_SECONDS: Final = 300.0
# What has no end but somebody's cure is told of so often.
REMIND_SECONDS: Final = 60.0


class BrokerSupervisor:
    """To be told often, by one thread, how the broker is."""

    def __init__(self, spec: RunSpec, substrate: Substrate, *, clock: Clock) -> None:
        self._spec = spec
        self._substrate = substrate
        self._clock = clock
        self._away_since: float | None = None
        self._full_since: float | None = None
        self._reminded_at = 0.0
        self._restart: threading.Thread | None = None
        self._restart_problem: str | None = None

    def look(self, problem: str | None, *, trouble: str | None, wanted_away: bool) -> Iterator[Notice]:
        """``problem`` is why the broker does not answer, None while it does; ``trouble`` why it takes
        nothing in.

        While a fault has it ``wanted_away`` it is not started again. Raises
        :class:`BrokerUnavailable` when it has been away for :data:`GIVE_UP_SECONDS`.
        """
        now = self._clock.monotonic()
        yield from self._tell_of_trouble(trouble if problem is None else None, now)
        if problem is None:
            if self._away_since is not None:
                away = now - self._away_since
                self._away_since = None
                yield self._notice("info", f"the broker is back after {away:.1f} s")
            return
        if self._away_since is None:
            self._away_since = now
            yield self._notice("warning", f"the broker does not answer: {problem}")
        elif now - self._away_since > GIVE_UP_SECONDS:
            raise BrokerUnavailable(f"no broker for {GIVE_UP_SECONDS:.0f} s: {problem}")
        elif now - self._away_since > PATIENCE_SECONDS and not wanted_away:
            self._start_restart()
        if self._restart_problem is not None:
            yield self._notice("warning", f"the broker could not be started again: {self._restart_problem}")
            self._restart_problem = None

    def _tell_of_trouble(self, trouble: str | None, now: float) -> Iterator[Notice]:
        if trouble is None:
            if self._full_since is not None:
                seconds, self._full_since = now - self._full_since, None
                yield self._notice("info", f"the broker takes messages again after {seconds:.1f} s")
        elif self._full_since is None:
            self._full_since = self._reminded_at = now
            yield self._notice("warning", f"{trouble}. The run waits for that")
        elif now - self._reminded_at >= REMIND_SECONDS:
            self._reminded_at = now
            minutes = (now - self._full_since) / 60
            yield self._notice("warning", f"the run has waited for {minutes:.0f} min: {trouble}")

    def _start_restart(self) -> None:
        if self._restart is None or not self._restart.is_alive():
            self._restart = threading.Thread(target=self._start_broker, name="broker-restart", daemon=True)
            self._restart.start()

    def _start_broker(self) -> None:
        try:
            self._substrate.start_broker(self._spec, lambda line: None)
        except (SubstrateError, MissingRequirement, BrokerError) as error:
            self._restart_problem = str(error)
            # It may work later; meanwhile not every moment.
            self._clock.sleep(PATIENCE_SECONDS)

    def _notice(self, level: Level, message: str) -> Notice:
        return Notice(at=self._clock.time(), level=level, message=message)
