"""What a run left on a broker that was there before it: its queues, and nothing else."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit

from ttg_worker.brokers import open_broker
from ttgctl.core.ports import OwnedResource
from ttgctl.core.records.run_folder import RunFolder


class ExternalQueues:
    """The queues of one run, if it went to a broker of ``--broker-url``.

    The folder's copy of that URL goes with the queues: it has the password in it, and nobody
    needs it any more.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def owned(self) -> list[OwnedResource]:
        """The queues as one resource, if they are there; ``BrokerError`` where nobody can tell."""
        folder = self._folder
        url = folder.read_broker_url()
        if url is None:
            return []
        spec = folder.read_spec()
        with closing(open_broker(url, options=spec.delivery)) as broker:
            if not broker.exists(spec.run_id):
                return []
        # Host and port, never the password.
        place = urlsplit(url).netloc.rpartition("@")[2]
        queues = OwnedResource(
            kind="queues",
            name=f"ttg.* of {spec.run_id} on {place}",
            uid=f"{spec.run_id}@{place}",
            run_id=spec.run_id,
            created_at=spec.created_at,
        )
        return [queues]

    def delete(self, resource: OwnedResource) -> bool:
        """Drops the queues; False when they were gone."""
        there = resource in self.owned()
        url, spec = self._folder.read_broker_url(), self._folder.read_spec()
        if url is None or not there:
            return False
        with closing(open_broker(url, options=spec.delivery)) as broker:
            broker.drop(spec.run_id)
        self._folder.broker_url.unlink()
        return True
