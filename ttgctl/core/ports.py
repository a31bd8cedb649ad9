"""The seams between the core and the machines it works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ttgctl.domain.fault_kinds import FaultKindName
from ttgctl.domain.run import RunSpec


class SubstrateError(Exception):
    """The substrate failed at what was asked of it; says what and, if known, what to do."""


class SubstrateAway(SubstrateError):
    """What the substrate is managed through does not answer, or asks to come later; later it may answer."""


class MissingRequirement(Exception):
    """Something is missing on this machine; says what, and how to get it or do without."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of :meth:`Substrate.preflight`; ``fix`` is what to do about a warn or fail."""

    check: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class BrokerEndpoint:
    """Where a run's broker is; the URLs hold the password and never reach a log, file or argv.

    ``host_url`` is for this process, ``worker_url`` for the workers. ``management_url`` has no
    password in it.
    """

    host_url: str
    worker_url: str
    management_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker as the substrate sees it. ``uid`` changes when the thing behind a name is replaced.

    ``worker_id`` is what the worker calls itself in its heartbeats and results. ``awaited``: nothing is
    heard of it, and that says nothing yet, since it is only starting or out of reach for a moment.
    ``trouble`` is what keeps it from running, in a line; empty when nothing does.
    """

    worker_id: str
    uid: str
    running: bool
    awaited: bool = False
    node: str | None = None
    detail: str = ""
    trouble: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was hit and how; ``at`` in Unix seconds, right after the kill (or other fault).

    ``effect`` is what the substrate itself saw come of it, None where the run has to show it;
    ``without_effect`` is what it means if the run shows none either.
    """

    victim: str
    uid: str
    at: float
    method: str
    node: str | None = None
    effect: str | None = None
    without_effect: str | None = None


@dataclass(frozen=True, kw_only=True)
class OwnedResource:
    """Something ttgctl made (or, ``foreign``, that only looks so and is left alone).

    ``kind`` is ``process``, ``folder``, or a Kubernetes kind; ``namespace`` is None off a cluster.
    ``created_at`` in Unix seconds.
    """

    kind: str
    name: str
    uid: str
    run_id: str | None
    created_at: float | None
    namespace: str | None = None
    foreign: bool = False


class Clock(Protocol):
    """Time, so that tests can own it. ``time`` is Unix seconds, ``monotonic`` never goes back."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


Say = Callable[[str], None]


class Substrate(Protocol):
    """Where workers and broker live: what every substrate can.

    Raises :class:`SubstrateError` or :class:`MissingRequirement`.

    ``say`` takes one line of progress for a person. ``remote``: what is asked of it may take seconds, or
    minutes while its control plane is away, so that nobody asks who has other things to do meanwhile;
    ``away`` is why it does not answer just now, None while it does.
    """

    name: str
    remote: bool

    @property
    def away(self) -> str | None: ...

    def preflight(self) -> list[Check]:
        """Checks what this substrate needs, changes nothing, takes at most seconds."""

    def ensure(self, say: Say) -> None:
        """Creates or reuses what the substrate itself stands on (a cluster; nothing on local)."""

    def start_broker(self, spec: RunSpec, say: Say) -> BrokerEndpoint:
        """Starts the run's broker, or finds it running (then the same endpoint), ready for use."""

    def stop_broker(self, spec: RunSpec) -> None:
        """Stops the broker, which has ended when this returns, and keeps its storage, so that
        :meth:`start_broker` finds all again."""

    def start_workers(self, spec: RunSpec, endpoint: BrokerEndpoint) -> None:
        """Makes ``spec.workers`` run, replacing those that died; cheap when nothing is missing.

        At its first call ends what faults of a command that was killed left in effect on them.
        """

    def workers(self, run_id: str) -> list[WorkerStatus]:
        """The run's workers that are there now."""

    def stop_workers(self, run_id: str) -> None:
        """Asks the workers to finish (SIGTERM), waits, then kills; none is left when it returns. A call of
        :meth:`start_workers` that is under way meanwhile starts none."""

    def why_not(self, kind: FaultKindName) -> str | None:
        """Why faults of this kind can't be injected here, None where they can; takes moments.

        Where they can, the substrate has the power for them (``ttgctl/core/faults/powers.py``).
        """

    def broker_uid(self, spec: RunSpec) -> str | None:
        """What changes when the run's broker is replaced; None while there is none."""

    def logs(self, run_id: str, *, worker_id: str | None = None) -> dict[str, str]:
        """What each worker (and the broker) wrote, by name."""

    def password_command(self, run_id: str) -> str:
        """The shell command that prints the broker's user and password; never these themselves."""

    def diagnostics(self, spec: RunSpec) -> dict[str, str]:
        """What the run stands on, by file name, for a bug report: objects, broker; no secrets."""

    def owned(self, run_id: str | None = None) -> list[OwnedResource]:
        """All that ttgctl made here and that is still there, by label or record; read-only."""

    def delete(self, resource: OwnedResource) -> bool:
        """Deletes what :meth:`owned` returned, by uid; False when it was gone already."""

    def close(self) -> None:
        """Lets go of connections and tunnels; deletes nothing."""
