"""Runs on a cluster with a broker that was there before, on this machine and outside of the cluster."""

from __future__ import annotations

import json
import secrets
import subprocess
import tarfile
from contextlib import closing
from urllib.parse import urlsplit

import psutil
import pytest

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.substrates.broker_probe import answers
from ttgctl.substrates.local import processes, rabbitmq_server, redis_server
from ttgctl.substrates.worker_image import image_files, image_name

BACKENDS = ("rabbitmq", "redis")
RUN_SECONDS = 200.0
MADE = {"Deployment", "ConfigMap", "Secret"}


@pytest.fixture(scope="module")
def gateway(cluster) -> str:
    """This machine's own address in the network of the nodes."""
    said = subprocess.run(["docker", "network", "inspect", "kind"], check=True, capture_output=True).stdout
    subnets = json.loads(said)[0]["IPAM"]["Config"]
    return next(s["Gateway"] for s in subnets if "." in s.get("Gateway", ""))


@pytest.fixture(scope="module")
def door(cluster, gateway):
    """Makes an address at which pods and this machine alike reach a port of this machine.

    A port of a node that leads out again: where no plugin masquerades what pods send (as in a Kind
    cluster without kindnet's agent), answers of this machine would not find back to them.
    """
    namespace = f"ttg-e2e-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    address = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    node = cluster.kubectl("get", "nodes", "-o", f"jsonpath={address}").stdout

    def opened(port: int) -> str:
        name = f"outside-{port}"
        ports = [{"name": "broker", "port": port, "protocol": "TCP"}]
        service = {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}}
        cluster.create(namespace, {"apiVersion": "v1", "kind": "Service", **service})
        labels = {"kubernetes.io/service-name": name}
        endpoints = {"addressType": "IPv4", "endpoints": [{"addresses": [gateway]}], "ports": ports}
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        cluster.create(namespace, {**kind, "metadata": {"name": name, "labels": labels}, **endpoints})
        words = ["get", "service", name, "-n", namespace, "-o", "jsonpath={.spec.ports[0].nodePort}"]
        return f"{node}:{cluster.kubectl(*words).stdout}"

    yield opened
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


class OutsideBroker:
    """A server of this machine with a password; ``url`` is of use here and in pods."""

    def __init__(self, backend: str, server, folder, door) -> None:
        self.backend = backend
        self._folder = folder
        url = urlsplit(server(folder).start().url)
        assert url.password is not None
        assert len(url.password) >= 24
        self.password = url.password
        login = url.netloc.rpartition("@")[0]
        self.url = url._replace(netloc=f"{login}@{door(url.port)}").geturl()

    def holds(self, run_id: str) -> bool:
        with closing(open_broker(self.url, options=DeliveryOptions())) as broker:
            return broker.exists(run_id)

    def close(self) -> None:
        processes.end(processes.find(self._folder), grace_seconds=5.0)


@pytest.fixture(scope="module", params=BACKENDS)
def outside(request, gateway, door, tmp_path_factory, require, until):
    """One broker a backend, which listens on the machine's address in the network of the nodes too."""
    server = {"redis": redis_server.RedisServer, "rabbitmq": rabbitmq_server.RabbitMQServer}[request.param]
    require(server.problem())
    configuration = rabbitmq_server._configuration

    def with_another_listener(identity) -> str:
        return configuration(identity) + f"listeners.tcp.2 = {gateway}:{identity.amqp_port}\n"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rabbitmq_server, "_configuration", with_another_listener)
        patch.setattr(
            redis_server,
            "_CONFIG",
            redis_server._CONFIG.replace("bind 127.0.0.1", f"bind 127.0.0.1 {gateway}"),
        )
        broker = OutsideBroker(request.param, server, tmp_path_factory.mktemp("outside"), door)
    place = urlsplit(broker.url)
    until(lambda: answers(place.hostname, place.port, broker.backend), what="the node leads to the broker")
    yield broker
    broker.close()


@pytest.fixture
def on_outside(on_kind, demo, outside, monkeypatch):
    """Arguments of a run on it; the URL is in the environment, for an argv is for all to see."""
    monkeypatch.setenv("TTGCTL_BROKER_URL", outside.url)

    def arguments(*flags: str, **changes):
        return demo(*flags, backend=outside.backend, lease_ms=2000, **changes)

    return arguments


def lossless(done, chunks: int):
    assert done.code == 0, done.err
    account = done.verdict["chunks"]
    assert done.verdict["lossless"] is True
    assert (account["attempted"], account["ok"], account["lost"]) == (chunks, chunks, 0)
    assert done.verdict["checksum"] == done.verdict["checksum_expected"]
    return done.verdict


def kinds(cluster, namespace, run_id):
    found = cluster.objects("deploy,sts,svc,netpol,cm,secret,pvc", namespace, run_id=run_id)
    return {item["kind"] for item in found}


def arguments_of_all_processes() -> str:
    return "\n".join(str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))


def test_two_runs_share_a_broker_and_nothing_else(
    on_kind, on_outside, outside, cluster, namespace, new_name, until, home
):
    one, two = new_name("outside"), new_name("outside")
    other = on_kind.start(*on_outside("--keep", name=two, parameters_total=150, work_ms=400))
    until(lambda: other.process.poll() is not None or on_kind.accounted(two) > 0, within_seconds=RUN_SECONDS)
    running = on_kind.start(
        *on_outside("--fault-demo", "--require-effect", name=one, parameters_total=60, work_ms=300)
    )
    until(
        lambda: running.process.poll() is not None or on_kind.accounted(one) > 0, within_seconds=RUN_SECONDS
    )

    # No broker was made, and the password is in the cluster's Secrets alone.
    for run_id in (one, two):
        assert kinds(cluster, namespace, run_id) == MADE
    assert outside.password not in arguments_of_all_processes()
    shown = cluster.kubectl("get", "deploy,rs,pod,cm,event", "-n", namespace, "-o", "yaml").stdout
    assert one in shown
    assert outside.password not in shown
    logs = on_kind("logs", two)
    assert f"ttg-{two}-worker" in logs.out + logs.err
    assert outside.password not in logs.out + logs.err

    done = running.wait(within_seconds=RUN_SECONDS)
    (fault,) = lossless(done, chunks=60)["faults"]
    assert fault["effect"] == "process gone"
    assert not outside.holds(one)
    assert cluster.uids(namespace, one) == set()
    # The run beside it went on, with its own queues.
    assert outside.holds(two)
    kept = other.wait(within_seconds=RUN_SECONDS)
    assert lossless(kept, chunks=150)["chunks"]["unexpected"] == 0
    assert outside.holds(two)

    assert outside.password not in done.out + done.err + kept.out + kept.err
    exported = on_kind("export", two, "--out", f"{two}.tar.gz")
    assert exported.code == 0, exported.err
    with tarfile.open(home / f"{two}.tar.gz") as tar:
        for member in tar.getmembers():
            assert outside.password.encode() not in tar.extractfile(member).read(), member.name
    with_password = [
        p for p in home.rglob("*") if p.is_file() and outside.password.encode() in p.read_bytes()
    ]
    assert with_password == [on_kind.folder(two).broker_url]
    assert on_kind.folder(two).broker_url.stat().st_mode & 0o077 == 0

    removed = on_kind("cleanup", two, "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert not outside.holds(two)
    assert cluster.uids(namespace, two) == set()
    assert not on_kind.folder(two).broker_url.exists()


def test_a_cluster_by_its_context_uses_it_as_well(
    on_kind, on_outside, outside, cluster, namespace, new_name, until, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    run_id = new_name("outside")
    where = {"substrate": "context", "context": cluster.context, "image": image_name(image_files())}
    refused = on_kind(*on_outside("--fault", "kill-broker at=10%", "--dry-run", name=run_id, **where))
    assert refused.code == 4
    assert "not ttgctl's to stop" in refused.out
    running = on_kind.start(
        *on_outside("--fault-demo", "--require-effect", name=run_id, work_ms=300, **where)
    )
    until(
        lambda: running.process.poll() is not None or on_kind.accounted(run_id) > 0,
        within_seconds=RUN_SECONDS,
    )
    assert kinds(cluster, namespace, run_id) == MADE
    verdict = lossless(running.wait(within_seconds=RUN_SECONDS), chunks=40)
    assert verdict["substrate"] == "context"
    assert not outside.holds(run_id)
    assert cluster.uids(namespace, run_id) == set()
