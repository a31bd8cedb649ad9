"""The options that several commands have in common, as values; ``flags.py`` has their texts."""

from __future__ import annotations

from dataclasses import dataclass

from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.cli.options import flags
from ttgctl.domain.run import Placement


@dataclass(frozen=True, kw_only=True)
class VerdictOptions:
    """Of every command that takes a run to a verdict, be it new or known."""

    broker_url: flags.BrokerUrl = None
    timeout: flags.Timeout = None
    monitor: flags.MonitorOption = flags.Monitor.cli
    output: flags.OutputOption = flags.Output.text
    keep: flags.Keep = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(VerdictOptions):
    """Of every command that starts a new run by its flags."""

    backend: flags.Backend = None
    substrate: flags.Substrate = flags.SubstrateName.auto
    context: flags.Context = None
    namespace: flags.Namespace = "ttg"
    cluster: flags.Cluster = "ttg-sandbox"
    nodes: flags.Nodes = 3
    node_image: flags.NodeImage = None
    image: flags.Image = None
    name: flags.Name = None
    workers: flags.Workers = 3
    seed: flags.Seed = 1
    fault_demo: flags.FaultDemo = False
    fault: flags.Fault = None
    faults: flags.Faults = None
    fault_rate: flags.FaultRate = 0.0
    require_effect: flags.RequireEffect = False
    unsafe_ack_early: flags.UnsafeAckEarly = False
    parameter_timeout: flags.ParameterTimeout = ""
    parameter_memory: flags.ParameterMemory = 0
    max_attempts: flags.MaxAttempts = 3
    retry_delay_ms: flags.RetryDelayMs = 1000
    lease_ms: flags.LeaseMs = 5000
    idle_exit_seconds: flags.IdleExit = 60.0

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
