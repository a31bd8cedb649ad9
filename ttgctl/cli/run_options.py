"""The options that several commands have in common, as values; ``options.py`` has their texts."""

from __future__ import annotations

from dataclasses import dataclass

from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.cli import options
from ttgctl.domain.run import Placement


@dataclass(frozen=True, kw_only=True)
class VerdictOptions:
    """Of every command that takes a run to a verdict, be it new or known."""

    broker_url: options.BrokerUrl = None
    timeout: options.Timeout = None
    monitor: options.MonitorOption = options.Monitor.cli
    output: options.OutputOption = options.Output.text
    keep: options.Keep = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(VerdictOptions):
    """Of every command that starts a new run by its options."""

    backend: options.Backend = None
    substrate: options.Substrate = options.SubstrateName.auto
    context: options.Context = None
    namespace: options.Namespace = "ttg"
    cluster: options.Cluster = "ttg-sandbox"
    nodes: options.Nodes = 3
    node_image: options.NodeImage = None
    image: options.Image = None
    name: options.Name = None
    workers: options.Workers = 3
    seed: options.Seed = 1
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
