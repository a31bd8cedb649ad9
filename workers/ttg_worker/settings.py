"""A worker's settings, read from its environment and checked before it takes a chunk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ttg_worker.brokers import BACKEND_OF_SCHEME, backend_of
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.compute.synthetic import REFERENCE as SYNTHETIC
from ttg_worker.errors import BrokerError, SettingsError
from ttg_worker.limits import parse_timeout
from ttg_worker.simulated_faults import Picks

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """``seed`` belongs to the run: with the chunk and attempt it decides simulated faults.

    ``poison`` and ``corrupt`` pick chunks (see :mod:`ttg_worker.simulated_faults`).
    ``chunk_function`` says that the workload takes a whole chunk and returns a list; ``compute_python`` is
    the interpreter that it is called in, empty for the worker's own.
    ``parameter_timeout`` and ``parameter_memory_bytes`` are as :class:`~ttg_worker.limits.Limits` has them.
    ``idle_exit_seconds`` ends a worker that nobody gives work; 0 means never.
    """

    broker_url: str
    run_id: str
    worker_id: str
    workload: str = SYNTHETIC
    chunk_function: bool = False
    compute_python: str = ""
    work_seconds: float = 0.0
    parameter_timeout: str = ""
    parameter_memory_bytes: int = 0
    fault_rate: float = 0.0
    seed: int = 0
    poison: str = ""
    corrupt: str = ""
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)
    idle_exit_seconds: float = 0.0
    unsafe_ack_early: bool = False
    log_level: str = "INFO"
    log_format: str = "text"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WorkerSettings:
        """Raises :class:`SettingsError` for a value that is missing or makes no sense."""
        read = _Reader(environment)
        url = read.text("BROKER_URL")
        try:
            backend = backend_of(url)
        except BrokerError as error:
            raise SettingsError(f"BROKER_URL: {error}") from None
        wanted = read.choice("QUEUE_BACKEND", tuple(sorted(set(BACKEND_OF_SCHEME.values()))), default=backend)
        if wanted != backend:
            raise SettingsError(f"QUEUE_BACKEND={wanted}, but BROKER_URL is of {backend}; make them agree")
        return cls(
            broker_url=url,
            run_id=read.text("RUN_ID"),
            worker_id=read.text("WORKER_ID"),
            workload=read.text("WORKLOAD", default=SYNTHETIC),
            chunk_function=read.choice("CHUNK_FUNCTION", ("0", "1"), default="0") == "1",
            compute_python=read.text("COMPUTE_PYTHON", default=""),
            work_seconds=read.number("SIMULATE_WORK_MS", default=0, least=0) / 1000,
            parameter_timeout=read.timeout("PARAMETER_TIMEOUT"),
            parameter_memory_bytes=read.integer("PARAMETER_MEMORY_BYTES", default=0, least=0),
            fault_rate=read.number("SIMULATE_FAULT_RATE", default=0, least=0, most=1),
            seed=read.integer("SEED", default=0, least=0),
            poison=read.picks("SIMULATE_POISON"),
            corrupt=read.picks("SIMULATE_CORRUPT"),
            delivery=DeliveryOptions(
                max_attempts=read.integer("MAX_ATTEMPTS", default=3, least=1),
                retry_delay_seconds=read.number("RETRY_DELAY_MS", default=1000, least=1) / 1000,
                lease_seconds=read.number("LEASE_MS", default=5000, least=500) / 1000,
                delivery_limit=read.integer("DELIVERY_LIMIT", default=20, least=1),
            ),
            idle_exit_seconds=read.number("IDLE_EXIT_SECONDS", default=0, least=0),
            unsafe_ack_early=read.choice("UNSAFE_ACK_EARLY", ("0", "1"), default="0") == "1",
            log_level=read.choice("LOG_LEVEL", tuple(logging.getLevelNamesMapping()), default="INFO"),
            log_format=read.choice("LOG_FORMAT", ("text", "json"), default="text"),
        )

    def to_environment(self) -> dict[str, str]:
        """The environment that :meth:`from_environment` reads back; holds the broker's password."""
        return {
            "QUEUE_BACKEND": backend_of(self.broker_url),
            "BROKER_URL": self.broker_url,
            "RUN_ID": self.run_id,
            "WORKER_ID": self.worker_id,
            "WORKLOAD": self.workload,
            "CHUNK_FUNCTION": "1" if self.chunk_function else "0",
            "COMPUTE_PYTHON": self.compute_python,
            "SIMULATE_WORK_MS": f"{self.work_seconds * 1000:g}",
            "PARAMETER_TIMEOUT": self.parameter_timeout,
            "PARAMETER_MEMORY_BYTES": str(self.parameter_memory_bytes),
            "SIMULATE_FAULT_RATE": f"{self.fault_rate:g}",
            "SEED": str(self.seed),
            "SIMULATE_POISON": self.poison,
            "SIMULATE_CORRUPT": self.corrupt,
            "MAX_ATTEMPTS": str(self.delivery.max_attempts),
            "RETRY_DELAY_MS": f"{self.delivery.retry_delay_seconds * 1000:g}",
            "LEASE_MS": f"{self.delivery.lease_seconds * 1000:g}",
            "DELIVERY_LIMIT": str(self.delivery.delivery_limit),
            "IDLE_EXIT_SECONDS": f"{self.idle_exit_seconds:g}",
            "UNSAFE_ACK_EARLY": "1" if self.unsafe_ack_early else "0",
            "LOG_LEVEL": self.log_level,
            "LOG_FORMAT": self.log_format,
        }


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._environment.get(name, "").strip() or default
        if value is None:
            raise SettingsError(f"{name} is not set; the worker can't start without it")
        return value

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        value = self.text(name, default=default)
        if value not in choices:
            raise SettingsError(f"{name}={value!r}: expected one of {', '.join(choices)}")
        return value

    def picks(self, name: str) -> str:
        text = self.text(name, default="")
        try:
            Picks(text, seed=0, purpose=name)
        except ValueError:
            raise SettingsError(f"{name}={text[:60]!r}: expected chunk ids or a share: 3,17 or 5%") from None
        return text

    def timeout(self, name: str) -> str:
        text = self._environment.get(name, "").strip()
        try:
            if text:
                parse_timeout(text)
        except ValueError as error:
            raise SettingsError(f"{name}={error}") from None
        return text

    def integer(self, name: str, *, default: int, least: int) -> int:
        return self._parsed(name, int, "a whole number", default=default, least=least, most=None)

    def number(self, name: str, *, default: float, least: float, most: float | None = None) -> float:
        return self._parsed(name, float, "a number", default=default, least=least, most=most)

    def _parsed(
        self, name: str, parse: Callable[[str], T], kind: str, *, default: T, least: float, most: float | None
    ) -> T:
        text = self.text(name, default=str(default))
        bounds = f"of {least:g} or more" if most is None else f"from {least:g} to {most:g}"
        try:
            value = parse(text)
            # A NaN is in no range, so the test must be for being inside.
            inside = least <= float(value) and (most is None or float(value) <= most)  # type: ignore[arg-type]
            if not inside or float(value) == float("inf"):  # type: ignore[arg-type]
                raise ValueError
        except ValueError:
            raise SettingsError(f"{name}={text!r}: expected {kind} {bounds}") from None
        return value
