"""Where cleanup has to look: the substrates that the runs used, or the one that was named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial

from ttg_worker.errors import BrokerError
from ttgctl.cli.status import say
from ttgctl.core.account.external_queues import ExternalQueues
from ttgctl.core.cleanup import ResourceOwner
from ttgctl.core.ports import OwnedResource
from ttgctl.core.records.run_folder import RunFolder, find_run, readable_runs
from ttgctl.domain.run import Placement
from ttgctl.substrates import open_substrate


@dataclass(frozen=True)
class Target:
    """One substrate, or the brokers that were there before, with what is ttgctl's there."""

    keeper: ResourceOwner
    owned: Callable[[], list[OwnedResource]]


@contextmanager
def scope(run_id: str | None, *, all_runs: bool, only: str, wanted: Placement) -> Iterator[list[Target]]:
    """Opens one target a substrate; :class:`UnknownRun` when a run is named and there is none.

    Without a run, and not for all, the newest run is meant. For all, a place that was ``wanted``
    by its name is the only one, whether a run of this machine was there or not.
    """
    if all_runs:
        found = readable_runs(said=say)
    else:
        folder = find_run(run_id)
        found = [(folder, folder.read_spec())]
    places = {_place(spec.substrate, spec.placement): spec.placement for _, spec in found}
    # What runs left on this machine is found without their folders.
    if all_runs:
        places.setdefault(_place("local", wanted), wanted)
    if all_runs and wanted != Placement():
        only = only if only != "auto" else "context" if wanted.context else "kind"
        places = {_place(only, wanted): wanted}
    elif only != "auto":
        used = {place: placement for place, placement in places.items() if place[0] == only}
        places = used or {_place(only, wanted): wanted}
    wanted_run = None if all_runs else found[0][0].run_id
    with ExitStack() as stack:
        targets = []
        for (name, *_), placement in places.items():
            substrate = stack.enter_context(closing(open_substrate(name, placement)))
            targets.append(Target(substrate, partial(substrate.owned, wanted_run)))
        there = [folder for folder, spec in found if _place(spec.substrate, spec.placement) in places]
        targets += [_queues_target(folder, required=not all_runs) for folder in there]
        yield targets


def _queues_target(folder: RunFolder, *, required: bool) -> Target:
    """A run's queues on a broker that was there before; unless ``required``, one that does not
    answer is told of and passed over."""
    queues = ExternalQueues(folder)

    def owned() -> list[OwnedResource]:
        try:
            return queues.owned()
        except BrokerError as error:
            if required:
                raise
            say(f"could not look for the queues of run {folder.run_id}: {error}")
            return []

    return Target(queues, owned)


def _place(substrate: str, placement: Placement) -> tuple[str, str | None, str | None, str | None]:
    if substrate == "local":
        return ("local", None, None, None)
    if substrate == "kind":
        return ("kind", None, placement.cluster, placement.namespace)
    return (substrate, placement.context, None, placement.namespace)
