"""Which ports of a Kind cluster's nodes a run's broker takes: a pool of pairs, mapped to the host."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ttgctl.substrates.kind.cluster import POOL, KindCluster
from ttgctl.substrates.kubernetes.manifests import NodePorts


class MappedPorts:
    """Implements :class:`~ttgctl.substrates.kubernetes.broker_route.HostPath` for a Kind cluster."""

    def __init__(self, cluster: KindCluster) -> None:
        self._cluster = cluster

    def choices(self, *, own: NodePorts | None, taken: Collection[int]) -> Iterator[NodePorts]:
        mapped = self._cluster.host_ports()
        if own is not None:
            yield own
        yield from free_pairs(mapped=mapped, taken=taken)

    def networks(self) -> list[str]:
        return [f"{address}/{128 if ':' in address else 32}" for address in self._cluster.addresses()]

    def host_port(self, node_port: int) -> int | None:
        return self._cluster.host_ports().get(node_port)


def free_pairs(*, mapped: Collection[int], taken: Collection[int]) -> Iterator[NodePorts]:
    """The pairs of the pool that reach the host (``mapped``) and that no service has, lowest first."""
    for broker in POOL[::2]:
        pair = (broker, broker + 1)
        if all(port in mapped and port not in taken for port in pair):
            yield NodePorts(broker=broker, management=broker + 1)
