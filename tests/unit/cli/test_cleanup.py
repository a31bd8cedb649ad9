"""Cleanup deletes what it listed, in an order that makes sense, and tells what became of each."""

from __future__ import annotations

import pytest

from ttg_worker.errors import BrokerUnavailable
from ttgctl.core.account.external_queues import ExternalQueues
from ttgctl.core.cleanup import remove
from ttgctl.core.ports import OwnedResource, SubstrateError
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.domain.run import RunSpec


def resource(kind: str, name: str, *, foreign: bool = False) -> OwnedResource:
    return OwnedResource(kind=kind, name=name, uid=name, run_id="r", created_at=0.0, foreign=foreign)


class ResourceOwner:
    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def delete(self, resource: OwnedResource) -> bool:
        self.asked.append(resource.name)
        answer = self.answers.get(resource.name, True)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


def test_workers_go_first_and_the_namespace_last():
    keeper = ResourceOwner()
    kinds = ["Namespace", "Secret", "folder", "process", "Deployment"]
    removal = remove(keeper, [resource(kind, kind) for kind in kinds])
    assert keeper.asked == ["Deployment", "process", "Secret", "folder", "Namespace"]
    assert len(removal.deleted) == 5


def test_what_is_foreign_is_left_alone():
    keeper = ResourceOwner()
    removal = remove(keeper, [resource("Pod", "mine"), resource("Pod", "theirs", foreign=True)])
    assert keeper.asked == ["mine"]
    assert [r.name for r in removal.deleted] == ["mine"]


@pytest.mark.parametrize("error", [SubstrateError("no"), BrokerUnavailable("no"), PermissionError("no")])
def test_it_goes_on_past_what_fails_and_tells_all(error):
    said: list[str] = []
    keeper = ResourceOwner(a=error, b=False)
    removal = remove(keeper, [resource("folder", n) for n in "abc"], said=said.append)
    assert [(r.name, reason) for r, reason in removal.failed] == [("a", "no")]
    assert [r.name for r in removal.gone] == ["b"]
    assert [r.name for r in removal.deleted] == ["c"]
    assert said == ["failed: folder a: no", "already gone: folder b", "deleted: folder c"]


class TestQueuesOnABrokerOfOthers:
    @pytest.fixture
    def folder(self, tmp_path) -> RunFolder:
        folder = RunFolder(tmp_path / "r")
        folder.write_spec(
            RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=1, chunk_size=1)
        )
        return folder

    def test_are_none_of_a_run_with_a_broker_of_its_own(self, folder):
        assert ExternalQueues(folder).owned() == []

    def test_are_one_resource_without_the_password_and_go_with_the_url(self, folder, request):
        from support.memory_broker import MemoryBroker
        from ttg_worker.brokers.base import DeliveryOptions

        url = f"memory://user:s3cret@{request.node.name}"
        broker = MemoryBroker.at(url, options=DeliveryOptions())
        broker.declare("r")
        broker.declare("another")
        folder.write_broker_url(url)
        queues = ExternalQueues(folder)
        (owned,) = queues.owned()
        assert owned.kind == "queues"
        assert owned.run_id == "r"
        assert "s3cret" not in f"{owned}"
        assert queues.delete(owned)
        assert not broker.exists("r")
        assert broker.exists("another")
        assert not folder.broker_url.exists()
        assert queues.owned() == []
        assert not queues.delete(owned)
