"""Substrates by name; each is imported when it is chosen."""

from __future__ import annotations

import shutil
from typing import Final

from ttgctl.core.ports import MissingRequirement, Substrate, SubstrateError
from ttgctl.domain.run import Placement

NAMES: Final = ("auto", "kind", "context", "local")


def choose(name: str, *, context: str | None) -> tuple[str, str]:
    """``(substrate, why)``: the one asked for, or with ``auto`` the best that this machine has."""
    if context is not None:
        return "context", f"--context {context} was given"
    if name != "auto":
        return name, "asked for"
    if shutil.which("kind") is None:
        return "local", "kind is not installed"
    from ttgctl.substrates.docker_engine import connect

    try:
        connect().close()
    except SubstrateError as error:
        return "local", str(error)
    return "kind", "kind is installed and a Docker engine answers"


def open_substrate(
    name: str, placement: Placement, *, backend: str | None = None, broker_url: str | None = None
) -> Substrate:
    """The substrate; changes nothing yet. ``backend`` narrows what its preflight asks for."""
    if name == "local":
        from ttgctl.substrates.local.substrate import LocalSubstrate

        return LocalSubstrate(backend=backend, broker_url=broker_url)
    if name == "kind":
        from ttgctl.substrates.kind.substrate import KindSubstrate

        return KindSubstrate(
            cluster=placement.cluster,
            nodes=placement.nodes,
            node_image=placement.node_image,
            image=placement.image,
            namespace=placement.namespace,
            broker_url=broker_url,
            backend=backend,
        )
    if name == "context":
        from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate

        return KubernetesSubstrate(
            context=placement.context,
            namespace=placement.namespace,
            broker_url=broker_url,
            image=placement.image,
            backend=backend,
        )
    raise MissingRequirement(f"no substrate {name!r}; there are {', '.join(NAMES)}")
