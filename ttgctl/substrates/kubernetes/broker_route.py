"""How this machine reaches a broker in the cluster: by mapped node ports, or else by a port-forward."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from ttgctl.substrates.kubernetes.manifests import NodePorts


class HostPath(Protocol):
    """What a kind of cluster knows about its node ports."""

    def choices(self, *, own: NodePorts | None, taken: Collection[int]) -> Iterator[NodePorts]:
        """Pairs of node ports to try, in this order: first those that the broker has already.

        ``taken`` are all node ports that any service of the cluster has.
        """

    def networks(self) -> list[str]:
        """The networks (CIDR) from which connections through a node port seem to come."""

    def host_port(self, node_port: int) -> int | None:
        """The port of 127.0.0.1 behind which a node port answers now; None if there is none."""


class NoMapping:
    """Nothing of the cluster is mapped to this machine: a port-forward is the only way."""

    def choices(self, *, own: NodePorts | None, taken: Collection[int]) -> Iterator[NodePorts]:
        return iter(())

    def networks(self) -> list[str]:
        return []

    def host_port(self, node_port: int) -> int | None:
        return None
