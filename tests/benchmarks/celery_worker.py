"""What ``celery --app`` loads in a worker process."""

from __future__ import annotations

import os

from benchmarks.celery_tasks import BROKER_VARIABLE, RESULTS_VARIABLE, open_app

app = open_app(os.environ[BROKER_VARIABLE], os.environ[RESULTS_VARIABLE])
