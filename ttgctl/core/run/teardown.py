"""Steps that end what runs: each is tried, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Teardown:
    """``steps`` are pairs of what a step does, in words that follow "could not", and the step itself.

    ``failures`` has one line for each step that failed. A step may be tried again by a second
    :meth:`carry_out`; it must bear that.
    """

    steps: tuple[tuple[str, Callable[[], object]], ...]
    failures: list[str] = field(default_factory=list)

    def carry_out(self) -> list[str]:
        """Tries every step in order; returns ``failures``, those of this time alone."""
        self.failures = []
        # A Ctrl-C in the middle of one step must not keep the next from being tried.
        interrupt: BaseException | None = None
        for what, step in self.steps:
            try:
                step()
            except Exception as error:
                self.failures.append(f"could not {what}: {error}")
            except BaseException as error:
                self.failures.append(f"could not {what}: interrupted")
                interrupt = error
        if interrupt is not None:
            raise interrupt
        return self.failures
