"""Options that several commands share, each spelled once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ttgctl.cli.options.quantities import memory_bytes, parameter_timeout


class BackendName(StrEnum):
    rabbitmq = "rabbitmq"
    redis = "redis"


class RunBackendName(StrEnum):
    rabbitmq = "rabbitmq"
    redis = "redis"
    static = "static"


class SubstrateName(StrEnum):
    auto = "auto"
    kind = "kind"
    context = "context"
    local = "local"


class Output(StrEnum):
    text = "text"
    json = "json"
    ndjson = "ndjson"


class TableOutput(StrEnum):
    text = "text"
    json = "json"


class Monitor(StrEnum):
    cli = "cli"
    web = "web"
    both = "both"
    none = "none"


class ScaleName(StrEnum):
    small = "small"
    medium = "medium"
    large = "large"


WHERE, WORK, DELIVERY, FAULTS, SHOW = "Where", "Work", "Delivery", "Faults", "Output"

Backend = Annotated[
    RunBackendName | None,
    typer.Option(
        help="The broker; by default RabbitMQ where it can run, else Redis. "
        "static: fixed shares and no queue, the baseline that loses.",
        rich_help_panel=WHERE,
    ),
]
Substrate = Annotated[
    SubstrateName,
    typer.Option(
        help="Where workers and broker live. auto: kind if it can run, else local.", rich_help_panel=WHERE
    ),
]
BrokerUrl = Annotated[
    str | None,
    typer.Option(
        envvar="TTGCTL_BROKER_URL",
        help="A broker that is already there (amqp://… or redis://…); none is deployed.",
        rich_help_panel=WHERE,
    ),
]
Context = Annotated[
    str | None, typer.Option(help="A kubeconfig context: run on that cluster.", rich_help_panel=WHERE)
]
Namespace = Annotated[str, typer.Option(help="Namespace on a cluster.", rich_help_panel=WHERE)]
Cluster = Annotated[str, typer.Option(help="Name of the Kind cluster.", rich_help_panel=WHERE)]
Nodes = Annotated[int, typer.Option(min=1, help="Worker nodes of a new Kind cluster.", rich_help_panel=WHERE)]
NodeImage = Annotated[
    str | None, typer.Option(help="Node image of a new Kind cluster.", rich_help_panel=WHERE)
]
Image = Annotated[
    str | None,
    typer.Option(help="Worker image from a registry, instead of building one.", rich_help_panel=WHERE),
]
Scale = Annotated[ScaleName, typer.Option(help="Preset size of the sweep.", rich_help_panel=WORK)]
ParametersTotal = Annotated[
    int | None, typer.Option(min=1, help="How many parameters.", rich_help_panel=WORK)
]
ChunkSize = Annotated[int | None, typer.Option(min=1, help="Parameters a chunk.", rich_help_panel=WORK)]
WorkMs = Annotated[
    float | None, typer.Option(min=0, help="Simulated work a parameter.", rich_help_panel=WORK)
]
Workers = Annotated[int, typer.Option(min=1, help="How many workers.", rich_help_panel=WORK)]
Seed = Annotated[int, typer.Option(min=0, help="Decides all that is random.", rich_help_panel=WORK)]
ParameterTimeout = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="The longest that a parameter may take: 30s, 5m, or 10x the median so far.",
        parser=parameter_timeout,
        show_default=False,
        rich_help_panel=WORK,
    ),
]
ParameterMemory = Annotated[
    int,
    typer.Option(
        metavar="SIZE",
        help="The most memory that a parameter may take: 500Mi, 2Gi. In a pod by default 90 % of its limit.",
        parser=memory_bytes,
        show_default=False,
        rich_help_panel=WORK,
    ),
]
FaultRate = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of attempts that fail on purpose.", rich_help_panel=FAULTS),
]
Fault = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", help='A fault, e.g. "kill-worker at=30% count=1"; repeatable.', rich_help_panel=FAULTS
    ),
]
Faults = Annotated[
    Path | None, typer.Option("--faults", help="A fault plan as YAML.", rich_help_panel=FAULTS)
]
FaultDemo = Annotated[
    bool,
    typer.Option(
        "--fault-demo", help="Kill one worker at about 30 % while it holds a chunk.", rich_help_panel=FAULTS
    ),
]
RequireEffect = Annotated[
    bool, typer.Option("--require-effect", help="Fail if a fault hit nothing.", rich_help_panel=FAULTS)
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Tell when and whom the faults would hit, and whether they can; start nothing.",
        rich_help_panel=FAULTS,
    ),
]
UnsafeAckEarly = Annotated[
    bool,
    typer.Option(
        "--unsafe-ack-early",
        help="Negative control: workers ack before they compute. Loses chunks when one is killed.",
        rich_help_panel=FAULTS,
    ),
]
MaxAttempts = Annotated[
    int, typer.Option(min=1, help="Attempts before a chunk is given up.", rich_help_panel=DELIVERY)
]
RetryDelayMs = Annotated[
    float, typer.Option(min=1, help="Delay before a failed chunk's next attempt.", rich_help_panel=DELIVERY)
]
LeaseMs = Annotated[
    float,
    typer.Option(min=500, help="How long a silent worker keeps its chunks.", rich_help_panel=DELIVERY),
]
Timeout = Annotated[
    float | None, typer.Option(help="Give up after so many seconds (exit 6).", rich_help_panel=WORK)
]
IdleExit = Annotated[
    float,
    typer.Option(
        "--idle-exit-seconds",
        envvar="TTGCTL_IDLE_EXIT_SECONDS",
        min=0.1,
        help="How long a local worker whose command was killed stays without work.",
        rich_help_panel=DELIVERY,
    ),
]
ResultsOut = Annotated[
    Path | None, typer.Option(help="Results: .csv, .jsonl or .parquet.", rich_help_panel=SHOW)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what --out names, if it is there.", rich_help_panel=SHOW)
]
Name = Annotated[str | None, typer.Option(help="Name of the run; by default made up.", rich_help_panel=WORK)]
Keep = Annotated[
    bool,
    typer.Option("--keep", help="Leave broker and queues after a lossless run.", rich_help_panel=SHOW),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="What goes to stdout.", rich_help_panel=SHOW)
]
TableOutputOption = Annotated[TableOutput, typer.Option("--output", "-o", help="What goes to stdout.")]
MonitorOption = Annotated[
    Monitor,
    typer.Option(help="Live view: here, as the broker's web UI, both, or none.", rich_help_panel=SHOW),
]
Run = Annotated[str | None, typer.Argument(metavar="[RUN]", help="The run; by default the newest.")]
