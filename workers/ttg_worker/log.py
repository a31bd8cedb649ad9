"""Log lines of a worker: text for people, JSON for collectors, to stderr."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from ttg_worker.settings import WorkerSettings


class _Lines(logging.Formatter):
    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__()
        self._settings = settings

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        if self._settings.log_format == "text":
            return f"{at} {record.levelname:<7} {self._settings.worker_id} {message}"
        fields = {
            "at": at,
            "level": record.levelname.lower(),
            "run_id": self._settings.run_id,
            "worker_id": self._settings.worker_id,
            "logger": record.name,
            "message": message,
        }
        return msgspec.json.encode(fields).decode()


def configure_logging(settings: WorkerSettings) -> None:
    """All loggers write to stderr in the settings' format and level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # pika tells of every lost connection at ERROR with a stack; the broker says it in one line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
