"""Drain rates as a table and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import RenderableType

from ttgctl.domain.drain_rate import DrainRate
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text


def drain_rates_table(rates: Sequence[DrainRate]) -> RenderableType:
    columns = (
        Column(title="BACKEND"),
        Column(title="WORKERS", right=True),
        Column(title="CHUNKS/S", right=True),
        Column(title="SPREAD", right=True, drop=1),
    )
    return FittedTable(
        columns,
        [
            [
                rate.backend,
                str(rate.workers),
                f"{rate.chunks_per_second:,.0f}",
                f"{min(rate.rates):,.0f}-{max(rate.rates):,.0f}",
            ]
            for rate in rates
        ],
    )


def drain_rates_json(rates: Sequence[DrainRate]) -> bytes:
    """One JSON object and a newline."""
    return json_text(
        {
            "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
            "rates": [{**asdict(rate), "chunks_per_second": rate.chunks_per_second} for rate in rates],
        }
    )
