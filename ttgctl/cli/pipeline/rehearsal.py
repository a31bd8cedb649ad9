"""What ``--dry-run`` answers: the parameters that there would be, and the fault plan, when and whom it would
hit, and whether it could."""

from __future__ import annotations

import sys
from contextlib import closing

from ttgctl.cli.options import flags
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.core.faults.forecast import forecast
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode
from ttgctl.substrates import open_substrate
from ttgctl.ui.text.console import data_console
from ttgctl.ui.views.fault_forecast import forecast_json, forecast_table
from ttgctl.ui.views.parameters_preview import parameters_preview


def rehearse(spec: RunSpec, common: RunOptions, *, source: ParameterSource | None = None) -> int:
    """Prints it, below what ``source`` gives, and makes nothing; exit code 4 when one of the faults could not
    be injected."""
    opened = open_substrate(
        spec.substrate, spec.placement, backend=spec.backend, broker_url=common.broker_url
    )
    with closing(opened) as substrate:
        rows = forecast(spec, substrate)
    if common.output is flags.Output.text:
        if source is not None:
            data_console().print(parameters_preview(spec, source))
        data_console().print(forecast_table(rows))
    else:
        sys.stdout.buffer.write(forecast_json(rows))
    return ExitCode.LOSSLESS if all(row.problem is None for row in rows) else ExitCode.SUBSTRATE
