"""Several runs one after another, each to its verdict, without a live view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.pipeline.conduct import follow, remove_run, stop_on_signals
from ttgctl.cli.pipeline.start import prepare
from ttgctl.core.inputs.parameters import IndexParameters
from ttgctl.core.records.run_lock import run_lock
from ttgctl.core.records.run_record import RunRecord, read_record
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.live.view import Mode


class RunSeries:
    """Made by :func:`sequence`."""

    def __init__(self, common: RunOptions, stop: threading.Event) -> None:
        self._common = common
        self._stop = stop
        self._mode: Mode = "plain"
        if common.output.value == "ndjson":
            self._mode = "ndjson"
        elif common.monitor.value == "none":
            self._mode = "none"

    def run(self, spec: RunSpec, *, expected: Callable[[Verdict], bool]) -> RunRecord:
        """A run of simulated work from its start to its verdict, which the record has.

        What it made is removed if the verdict is as ``expected``, and kept to be looked at if it is
        not. Raises :class:`KeyboardInterrupt` when it was interrupted.
        """
        folder, substrate = prepare(spec, broker_url=self._common.broker_url)
        source = IndexParameters(spec.parameters_total)
        with run_lock(folder.lock), closing(substrate):
            verdict, _ = follow(spec, substrate=substrate, source=source, stop=self._stop, mode=self._mode)
            if verdict is None:
                raise KeyboardInterrupt(
                    f"run {spec.run_id} was interrupted; remove it with: ttgctl cleanup {spec.run_id}"
                )
            if expected(verdict) and not self._common.keep:
                remove_run(spec, substrate)
        return read_record(folder)


@contextmanager
def run_series(common: RunOptions) -> Iterator[RunSeries]:
    """The first Ctrl-C ends the run that goes on, and with it the sequence; the second leaves at once."""
    with stop_on_signals() as stop:
        yield RunSeries(common, stop)
