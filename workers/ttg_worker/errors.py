"""What can go wrong between a worker and its broker, in this project's own words."""

from __future__ import annotations

from typing import Literal


class BrokerError(Exception):
    """The broker refused what was asked of it; trying again will not help."""


class BrokerUnavailable(BrokerError):
    """The broker does not answer; it may come back."""


class BrokerFull(BrokerUnavailable):
    """The broker is there and takes nothing in, for want of memory or disk; it will when it has some."""


class QueuesGone(BrokerError):
    """The run's queues, or some of them, are not on the broker."""


class SettingsError(ValueError):
    """A worker setting makes no sense; names the variable, its value and what is accepted."""


class WorkloadError(Exception):
    """The workload can't be loaded, or does not return what a workload returns."""


class Undeliverable(Exception):
    """A message that is no chunk of this run and goes to the DLQ."""

    def __init__(self, cause: Literal["malformed", "foreign-run"], detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
