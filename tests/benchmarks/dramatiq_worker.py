"""What ``dramatiq`` loads in a worker process."""

from __future__ import annotations

import os

from benchmarks.dramatiq_tasks import BROKER_VARIABLE, RESULTS_VARIABLE, open_actor

broker = open_actor(os.environ[BROKER_VARIABLE], os.environ[RESULTS_VARIABLE]).broker
