"""A Kind cluster from nothing, and after a reboot: a small one of its own, which these tests delete."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from ttgctl.core.cleanup import remove
from ttgctl.core.ports import SubstrateError
from ttgctl.domain.run import RunSpec
from ttgctl.substrates import engine
from ttgctl.substrates.kind import KindSubstrate

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


@pytest.fixture
def name(kind_possible: None, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    name = f"ttg-it-{secrets.token_hex(2)}"
    yield name
    subprocess.run(["kind", "delete", "cluster", "--name", name], check=True, capture_output=True)


def test_a_cluster_is_made_and_after_a_reboot_started_again_with_its_broker(name: str) -> None:
    said: list[str] = []
    # The control plane alone: it takes pods when there is no other node.
    substrate = KindSubstrate(cluster=name, nodes=0, backend="redis")
    assert substrate.owned() == []
    substrate.ensure(said.append)
    assert any(line.startswith(f"creating the Kind cluster {name}") for line in said)
    assert any("starting control-plane" in line for line in said)

    spec = RunSpec(run_id="r", backend="redis", substrate="kind", parameters_total=1, chunk_size=1)
    before = substrate.start_broker(spec, said.append)
    substrate.close()

    client = engine.connect()
    client.containers.get(f"{name}-control-plane").stop(timeout=1)
    client.close()
    later = KindSubstrate(cluster=name, nodes=0)
    with pytest.raises(SubstrateError, match=f"docker start {name}-control-plane"):
        later.owned()
    assert "a run starts it" in {p.check: p.detail for p in later.preflight()}["cluster"]

    said.clear()
    later.ensure(said.append)
    assert said[0] == f"starting 1 stopped nodes of cluster {name}"
    # The engine maps other ports now; the password is what it was.
    after = later.start_broker(spec, said.append)
    assert after.worker_url == before.worker_url
    removal = remove(later, later.owned())
    assert not removal.failed
    assert removal.deleted[-1].kind == "Namespace"
    assert later.owned() == []
    later.close()
