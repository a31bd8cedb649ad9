"""What a soak survived so far: faults by kind, and what they cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ttgctl.domain.verdict import Verdict


@dataclass
class SoakTally:
    """``injected`` and ``survived`` count faults by kind; only a survived one had an effect.

    ``redelivery_seconds`` is the longest wait of a chunk that a fault took from a worker.
    """

    runs: int = 0
    chunks: int = 0
    recovered: int = 0
    duplicated: int = 0
    retried: int = 0
    redelivery_seconds: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """A lossless run's verdict."""
        account = verdict.chunks
        self.runs += 1
        self.chunks += account.ok
        self.recovered += account.recovered
        self.duplicated += account.duplicated
        self.retried += account.retried
        if verdict.recovery is not None:
            self.redelivery_seconds = max(self.redelivery_seconds, verdict.recovery.max_seconds)
        for fault in verdict.faults:
            self.injected[fault.kind] += 1
            self.survived[fault.kind] += fault.effect is not None
