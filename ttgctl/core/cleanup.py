"""Removes what was made, and nothing else: lists first, then deletes what it listed, by uid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ttg_worker.errors import BrokerError
from ttgctl.core.ports import OwnedResource, SubstrateError


class ResourceOwner(Protocol):
    """Whatever has what ttgctl made: a substrate, or a broker that was there before."""

    def delete(self, resource: OwnedResource) -> bool:
        """By uid; False when it was gone already."""


@dataclass
class Removal:
    """What came of each resource; ``failed`` has the reason with it."""

    deleted: list[OwnedResource] = field(default_factory=list)
    gone: list[OwnedResource] = field(default_factory=list)
    failed: list[tuple[OwnedResource, str]] = field(default_factory=list)


# Workers first, so that nothing works on what goes next; then what holds data; the namespace last.
_ORDER: Final = {"Deployment": 0, "Job": 0, "process": 1, "Namespace": 9}


def remove(
    keeper: ResourceOwner,
    resources: Iterable[OwnedResource],
    *,
    said: Callable[[str], None] = lambda line: None,
) -> Removal:
    """Deletes the resources that are not foreign; goes on past what fails, and reports it."""
    removal = Removal()
    for resource in sorted(resources, key=lambda r: _ORDER.get(r.kind, 5)):
        if resource.foreign:
            continue
        try:
            deleted = keeper.delete(resource)
        except (SubstrateError, BrokerError, OSError) as error:
            removal.failed.append((resource, str(error)))
            said(f"failed: {resource.kind} {resource.name}: {error}")
            continue
        (removal.deleted if deleted else removal.gone).append(resource)
        said(f"{'deleted' if deleted else 'already gone'}: {resource.kind} {resource.name}")
    return removal
