"""The Dramatiq broker and actor that both ends share."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

BROKER_VARIABLE: Final = "TTG_BENCH_BROKER_URL"
RESULTS_VARIABLE: Final = "TTG_BENCH_RESULTS_URL"


def open_actor(broker_url: str, results_url: str) -> Any:
    """The actor, on a broker whose middleware are the default ones and that for results."""
    broker = RabbitmqBroker(url=broker_url)
    broker.add_middleware(Results(backend=RedisBackend(url=results_url)))
    return dramatiq.actor(
        nothing, broker=broker, actor_name="nothing", queue_name="dramatiq-bench", store_results=True
    )


def nothing() -> tuple[str, float]:
    return str(os.getpid()), time.time()
