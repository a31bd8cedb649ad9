"""The Celery application that both ends share."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import celery

BROKER_VARIABLE: Final = "TTG_BENCH_BROKER_URL"
RESULTS_VARIABLE: Final = "TTG_BENCH_RESULTS_URL"


def open_app(broker_url: str, results_url: str) -> Any:
    """As Celery's guide has it for many short tasks (a large prefetch, no events), with what this
    project promises too: a task is acked when its result is kept."""
    app = celery.Celery("bench", broker=broker_url, backend=results_url)
    app.conf.update(
        task_acks_late=True,
        task_default_queue="celery-bench",
        task_ignore_result=False,
        worker_prefetch_multiplier=500,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    app.task(nothing, name="nothing")
    app.finalize()
    return app


def nothing() -> tuple[str, float]:
    return str(os.getpid()), time.time()
