"""``python -m ttg_worker``: a worker, with all its settings from the environment."""

from __future__ import annotations

import logging
import os
import sys

from ttg_worker import process_tree
from ttg_worker.brokers import open_broker
from ttg_worker.compute_settings import supervisor
from ttg_worker.errors import BrokerError, SettingsError, WorkloadError
from ttg_worker.log import configure_logging
from ttg_worker.settings import WorkerSettings
from ttg_worker.worker import Worker

log = logging.getLogger("ttg_worker")


def main() -> int:
    """The exit code: 0 after a proper end, 2 for settings or a workload that can't work, 5 for
    a broker that refuses."""
    try:
        settings = WorkerSettings.from_environment(os.environ)
    except SettingsError as error:
        print(f"ttg_worker: {error}", file=sys.stderr)  # noqa: T201 (logging is not set up yet)
        return 2
    configure_logging(settings)
    # So that what a function leaves behind can be found and ended.
    process_tree.adopt_orphans()
    try:
        broker = open_broker(settings.broker_url, options=settings.delivery)
        worker = Worker(settings, broker=broker, compute=supervisor(settings))
        worker.stop_on_signals()
        worker.run()
    except WorkloadError as error:
        log.error("%s", error)
        return 2
    except BrokerError as error:
        log.error("%s", error)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
