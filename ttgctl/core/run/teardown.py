"""Steps that end what runs: each is tried, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Teardown:
    """``steps`` are pairs of what a step does, in words that follow "could not", and the step itself.

    A step may be tried again by a second :meth:`carry_out`; it must bear that.
    """

    steps: tuple[tuple[str, Callable[[], object]], ...]

    def carry_out(self) -> list[str]:
        """Tries every step in order; returns a line for each that failed."""
        failures = []
        # A Ctrl-C in the middle of one step must not keep the next from being tried.
        interrupt: BaseException | None = None
        for what, step in self.steps:
            try:
                step()
            except Exception as error:
                failures.append(f"could not {what}: {error}")
            except BaseException as error:
                failures.append(f"could not {what}: interrupted")
                interrupt = error
        if interrupt is not None:
            raise interrupt
        return failures
