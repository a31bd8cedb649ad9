"""The options that every command that starts a run has, as one value."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields

from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.cli import options
from ttgctl.domain.run import Placement


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Each field is an option of the command line; see :mod:`ttgctl.cli.options` for the texts."""

    backend: options.Backend = None
    workers: options.Workers = 3
    seed: options.Seed = 1
    name: options.Name = None
    timeout: options.Timeout = None
    fault_demo: options.FaultDemo = False
    fault: options.Fault = None
    faults: options.Faults = None
    fault_rate: options.FaultRate = 0.0
    require_effect: options.RequireEffect = False
    unsafe_ack_early: options.UnsafeAckEarly = False
    max_attempts: options.MaxAttempts = 3
    retry_delay_ms: options.RetryDelayMs = 1000
    lease_ms: options.LeaseMs = 5000
    idle_exit_seconds: options.IdleExit = 60.0
    substrate: options.Substrate = options.SubstrateName.auto
    broker_url: options.BrokerUrl = None
    context: options.Context = None
    namespace: options.Namespace = "ttg"
    cluster: options.Cluster = "ttg-sandbox"
    nodes: options.Nodes = 3
    node_image: options.NodeImage = None
    image: options.Image = None
    monitor: options.MonitorOption = options.Monitor.cli
    output: options.OutputOption = options.Output.text
    keep: options.Keep = False

    @property
    def placement(self) -> Placement:
        return Placement(
            context=self.context,
            namespace=self.namespace,
            cluster=self.cluster,
            nodes=self.nodes,
            node_image=self.node_image,
            image=self.image,
            external_broker=self.broker_url is not None,
        )

    @property
    def delivery(self) -> DeliveryOptions:
        return DeliveryOptions(
            max_attempts=self.max_attempts,
            retry_delay_seconds=self.retry_delay_ms / 1000,
            lease_seconds=self.lease_ms / 1000,
        )


def with_run_options(command: Callable[..., int], **defaults: object) -> Callable[..., int]:
    """Gives a command all fields of :class:`RunOptions` as options, after its own; ``defaults``
    are the command's in place of the usual ones.

    The command takes them as its parameter ``common``; Typer sees a plain signature.
    """
    own = inspect.signature(command)
    hints = typing.get_type_hints(command, include_extras=True)
    common_hints = typing.get_type_hints(RunOptions, include_extras=True)
    common = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(field.name, field.default),
            annotation=common_hints[field.name],
        )
        for field in fields(RunOptions)
    ]
    kept = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own.parameters.values()
        if parameter.name != "common"
    ]

    @functools.wraps(command)
    def run(**given: object) -> int:
        shared = {field.name: given.pop(field.name) for field in fields(RunOptions)}
        return command(**given, common=RunOptions(**shared))  # type: ignore[arg-type]

    signature = inspect.Signature([*kept, *common], return_annotation=int)
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    # Typer would follow it back to the command's own signature.
    del run.__wrapped__
    return run
