"""What ``--dry-run`` answers: the parameters that there would be, how some of them fare, and the fault plan,
when and whom it would hit, and whether it could."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from ttgctl.cli.options import flags
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.pipeline.trial import try_out
from ttgctl.core.faults.forecast import forecast
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode
from ttgctl.substrates import open_substrate
from ttgctl.ui.text.console import data_console
from ttgctl.ui.views.fault_forecast import forecast_json, forecast_table
from ttgctl.ui.views.parameters_preview import parameters_preview
from ttgctl.ui.views.trial_view import trial_view


@dataclass(frozen=True)
class Sweep:
    """A function's parameters and files; so many of the parameters are tried."""

    source: ParameterSource
    files: Mapping[str, bytes]
    tries: int


def rehearse(spec: RunSpec, common: RunOptions, *, sweep: Sweep | None = None) -> int:
    """Prints it and makes nothing; exit code 4 when one of the faults could not be injected, 8 when a
    parameter that was tried has no value."""
    opened = open_substrate(
        spec.substrate, spec.placement, backend=spec.backend, broker_url=common.broker_url
    )
    with closing(opened) as substrate:
        rows = forecast(spec, substrate)
    if common.output is not flags.Output.text:
        sys.stdout.buffer.write(forecast_json(rows))
    else:
        if sweep is not None:
            data_console().print(parameters_preview(spec, sweep.source))
        data_console().print(forecast_table(rows))
    if any(row.problem is not None for row in rows):
        return ExitCode.SUBSTRATE
    # Last, since it may take its time.
    if sweep is not None and sweep.tries and common.output is flags.Output.text:
        tried = try_out(spec, sweep.source, sweep.files, count=sweep.tries)
        data_console().print(trial_view(tried, total=spec.parameters_total, workers=spec.workers))
        if any(each.size is None for each in tried):
            return ExitCode.DEAD_LETTERS
    return ExitCode.LOSSLESS
