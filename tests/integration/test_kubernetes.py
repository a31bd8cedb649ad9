"""The substrates ``kind`` and ``context`` against a real Kind cluster, which is kept."""

from __future__ import annotations

import base64
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml

from ttgctl.core.cleanup import remove
from ttgctl.core.ports import BrokerEndpoint, OwnedResource, SubstrateError, WorkerStatus
from ttgctl.domain.run import Placement, RunSpec
from ttgctl.substrates import docker_engine
from ttgctl.substrates.broker_probe import answers
from ttgctl.substrates.kind.cluster import POOL
from ttgctl.substrates.kind.substrate import KindSubstrate
from ttgctl.substrates.kubernetes import inventory, manifests
from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate
from ttgctl.substrates.polling import until

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(300)]

CLUSTER = "ttg-sandbox"


def say(line: str) -> None:
    print(line)


def spec_of(backend: str, run_id: str, **changes: Any) -> RunSpec:
    return RunSpec(
        run_id=run_id, backend=backend, substrate="kind", parameters_total=10, chunk_size=1, **changes
    )


def unused_run() -> str:
    return f"it-{secrets.token_hex(3)}"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of these tests are no runs of this user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def cluster(kind_possible: None, state: None) -> Iterator[KindSubstrate]:
    """One namespace for all tests that make objects, removed with all that ttgctl made in it."""
    substrate = KindSubstrate(cluster=CLUSTER, namespace=f"ttg-it-{secrets.token_hex(2)}")
    substrate.ensure(say)
    # A substrate by its context alone loads no images.
    for backend in manifests.BROKER_IMAGES:
        loader = KindSubstrate(cluster=CLUSTER, namespace="default", backend=backend)
        loader.ensure(say)
        loader.close()
    yield substrate
    removal = remove(substrate, substrate.owned())
    substrate.close()
    assert not removal.failed
    assert [r.kind for r in removal.deleted][-1:] == ["Namespace"]


@pytest.fixture(scope="module")
def redis_run(cluster: KindSubstrate) -> RunSpec:
    spec = spec_of("redis", unused_run())
    endpoint = cluster.start_broker(spec, say)
    cluster.start_workers(spec, endpoint)
    running(cluster, spec)
    return spec


def running(substrate: KubernetesSubstrate, spec: RunSpec, *, without: str = "") -> list[WorkerStatus]:
    """Waits until as many workers run as the run wants, none of them the one named."""
    found: list[WorkerStatus] = []

    def all_run() -> bool:
        found[:] = [w for w in substrate.workers(spec.run_id) if w.running and w.uid != without]
        return len(found) == spec.workers

    assert until(all_run, seconds=60), substrate.workers(spec.run_id)
    return found


def in_pod(substrate: KubernetesSubstrate, pod: str, script: str) -> str:
    return substrate._api.exec(pod, substrate.namespace, ["python", "-c", script]).strip()


def reaches_broker(substrate: KubernetesSubstrate, spec: RunSpec, worker: WorkerStatus) -> bool:
    host = f"{manifests.broker_name(spec.run_id)}.{substrate.namespace}.svc"
    port = manifests.BROKER_PORTS[spec.backend]
    # Where nothing answers, looking up a name takes longer than any timeout of a socket's.
    script = f"""
import os, socket, threading
found = []
def connect():
    try:
        socket.create_connection(({host!r}, {port}), timeout=1).close()
        found.append("yes")
    except OSError:
        pass
thread = threading.Thread(target=connect, daemon=True)
thread.start()
thread.join(5)
print(*found or ["no"], flush=True)
os._exit(0)
"""
    return in_pod(substrate, worker.worker_id, script) == "yes"


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
def test_broker_answers_on_the_host_and_a_second_start_finds_the_same(
    cluster: KindSubstrate, backend: str
) -> None:
    spec = spec_of(backend, unused_run())
    first = cluster.start_broker(spec, say)
    try:
        assert cluster.start_broker(spec, say) == first
        assert "guest" not in first.host_url
        assert ("127.0.0.1" in str(first.management_url)) == (backend == "rabbitmq")
        mapped = cluster.cluster.host_ports().values()
        assert int(first.host_url.rpartition(":")[2].split("/")[0]) in mapped
        if backend == "rabbitmq":
            assert management_status(first, "ttg", str(urlsplit(first.host_url).password)) == 200
            assert management_status(first, "guest", "guest") == 401
            assert "rabbitmq_connections" in metrics(cluster, spec)
    finally:
        remove(cluster, cluster.owned(spec.run_id))
    assert cluster.owned(spec.run_id) == []


def management_status(endpoint: BrokerEndpoint, user: str, password: str) -> int:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = Request(f"{endpoint.management_url}/api/whoami", headers={"Authorization": f"Basic {login}"})
    try:
        with urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def metrics(substrate: KubernetesSubstrate, spec: RunSpec) -> str:
    pod = f"{manifests.broker_name(spec.run_id)}-0"
    with closing(substrate._api.open_port(pod, substrate.namespace, 15692)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: broker\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_every_object_carries_the_labels_and_the_run(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    owned = cluster.owned(redis_run.run_id)
    # Jobs are what runs without a queue have.
    assert {resource.kind for resource in owned} == set(inventory.KINDS) - {"Job"}
    assert {(r.run_id, r.namespace, r.foreign) for r in owned} == {
        (redis_run.run_id, cluster.namespace, False)
    }
    assert all(r.uid and r.created_at and time.time() - r.created_at < 600 for r in owned)


def test_worker_pods_carry_their_own_name_as_a_label(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    endpoint = cluster.start_broker(redis_run, say)

    def all_named() -> bool:
        cluster.start_workers(redis_run, endpoint)
        found = cluster.workers(redis_run.run_id)
        return bool(found) and all(w.labels.get("ttg.io/worker-id") == w.worker_id for w in found)

    assert until(all_named, seconds=20)


def test_listing_what_is_owned_is_quick(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    began = time.monotonic()
    assert cluster.owned()
    assert time.monotonic() - began < 1


def test_a_killed_worker_is_replaced_within_five_seconds(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    victim = running(cluster, redis_run)[0]
    evidence = cluster.kill(victim)
    began = time.monotonic()
    running(cluster, redis_run, without=victim.uid)
    assert time.monotonic() - began < 5
    assert (evidence.victim, evidence.uid, evidence.node) == (victim.worker_id, victim.uid, victim.node)
    assert evidence.method.startswith("SIGKILL")


def test_a_kill_hits_only_the_very_pod_that_was_meant(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    worker = running(cluster, redis_run)[0]
    before = {w.uid for w in running(cluster, redis_run)}
    with pytest.raises(SubstrateError, match="gone already"):
        cluster.kill(WorkerStatus(worker_id=worker.worker_id, uid="another", running=True))
    assert {w.uid for w in running(cluster, redis_run)} == before


def test_a_paused_worker_stops_and_goes_on(cluster: KindSubstrate, redis_run: RunSpec) -> None:
    worker = running(cluster, redis_run)[0]
    # Other processes of the pod may end while this looks.
    script = """
import pathlib
for each in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (each / "cmdline").read_bytes().split(b"\\0")
        if b"ttg_worker" in words:
            print((each / "stat").read_text().rpartition(")")[2].split()[0])
    except OSError:
        pass
"""

    def goes() -> bool:
        return in_pod(cluster, worker.worker_id, script) in ("S", "R")

    assert until(goes, seconds=20)
    evidence = cluster.pause(worker)
    assert in_pod(cluster, worker.worker_id, script) == "T"
    cluster.resume(worker)
    assert until(goes, seconds=20)
    assert (evidence.method, evidence.uid) == ("SIGSTOP", worker.uid)
    cluster.resume(worker)


def test_an_isolated_worker_does_not_reach_the_broker_until_it_rejoins(
    cluster: KindSubstrate, redis_run: RunSpec
) -> None:
    worker, other = running(cluster, redis_run)[:2]
    assert reaches_broker(cluster, redis_run, worker)
    cluster.isolate(worker)
    try:
        assert not reaches_broker(cluster, redis_run, worker)
        assert reaches_broker(cluster, redis_run, other)
    finally:
        cluster.rejoin(worker)
    assert reaches_broker(cluster, redis_run, worker)
    cluster.rejoin(worker)


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
def test_a_killed_broker_comes_back_with_what_it_held(cluster: KindSubstrate, backend: str) -> None:
    spec = spec_of(backend, unused_run())
    before = cluster.start_broker(spec, say)
    try:
        put, get = keep_in(backend)
        put(before.host_url)
        assert until(lambda: is_registered(cluster, spec), seconds=30)
        uid = cluster.broker_uid(spec)
        assert cluster.kill_broker(spec).uid == uid
        assert cluster.start_broker(spec, say) == before
        assert cluster.broker_uid(spec) not in (None, uid)
        assert until(lambda: get(before.host_url) == b"kept", seconds=30)
        cluster.stop_broker(spec)
        assert cluster.broker_uid(spec) is None
        assert cluster.start_broker(spec, say) == before
        assert until(lambda: get(before.host_url) == b"kept", seconds=30)
    finally:
        remove(cluster, cluster.owned(spec.run_id))


def is_registered(substrate: KubernetesSubstrate, spec: RunSpec) -> bool:
    """Whether RabbitMQ has written down that it has the queue: half a second late, unlike messages.

    A broker killed before starts the queue as an empty one that never gets a leader.
    """
    if spec.backend != "rabbitmq":
        return True
    pod = f"{manifests.broker_name(spec.run_id)}-0"
    script = "grep -qa thing /var/lib/rabbitmq/mnesia/*/quorum/*/names.dets && echo yes || echo no"
    return "yes" in substrate._api.exec(pod, substrate.namespace, ["sh", "-c", script])


def keep_in(backend: str) -> tuple[Callable[[str], None], Callable[[str], bytes | None]]:
    """How to put one durable thing into a broker, and how to see it there."""
    if backend == "redis":
        import redis

        def put(url: str) -> None:
            client = redis.Redis.from_url(url)
            client.set("thing", "kept")
            assert client.waitaof(1, 0, 5000)[0] == 1

        return put, lambda url: redis.Redis.from_url(url).get("thing")
    import pika

    def channel(url: str) -> Any:
        return pika.BlockingConnection(pika.URLParameters(url)).channel()

    def publish(url: str) -> None:
        opened = channel(url)
        opened.queue_declare("thing", durable=True, arguments={"x-queue-type": "quorum"})
        opened.confirm_delivery()
        opened.basic_publish("", "thing", b"kept")
        opened.connection.close()

    def peek(url: str) -> bytes | None:
        try:
            opened = channel(url)
            _, _, body = opened.basic_get("thing")
            opened.connection.close()
        except pika.exceptions.AMQPError:
            # A quorum queue has no leader yet right after the broker's start.
            return None
        return body

    return publish, peek


def test_a_port_forward_survives_the_broker_pod(cluster: KindSubstrate) -> None:
    spec = spec_of("redis", unused_run())
    substrate = ByContext(cluster)
    endpoint = substrate.start_broker(spec, say)
    port = int(endpoint.host_url.rpartition(":")[2].split("/")[0])
    try:
        assert port not in cluster.cluster.host_ports().values()
        assert answers("127.0.0.1", port, "redis")
        substrate.kill_broker(spec)
        assert substrate.start_broker(spec, say) == endpoint
        assert answers("127.0.0.1", port, "redis")
    finally:
        remove(substrate, substrate.owned(spec.run_id))
        substrate.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


class ByContext(KubernetesSubstrate):
    """The same cluster as a user's kubeconfig would name it."""

    def __init__(self, cluster: KindSubstrate, *, kubeconfig: Path | None = None, **changes: Any) -> None:
        super().__init__(**{"context": cluster.context, "namespace": cluster.namespace, **changes})
        self._file = kubeconfig or cluster.kubeconfig

    @property
    def kubeconfig(self) -> Path:
        return self._file


def test_by_context_the_workers_run_the_image_that_was_named(cluster: KindSubstrate) -> None:
    spec = spec_of("redis", unused_run(), workers=1)
    substrate = ByContext(cluster, image=cluster._image)
    try:
        substrate.ensure(say)
        substrate.start_workers(spec, substrate.start_broker(spec, say))
        worker = running(substrate, spec)[0]
        assert in_pod(substrate, worker.worker_id, "import os; print(os.getuid())") == str(
            manifests.WORKER_USER
        )
        assert [p.status for p in substrate.preflight()] == ["ok", "ok", "ok"]
        assert substrate.why_not("kill-worker") is None
        assert "Kind" in str(substrate.why_not("stop-node"))
    finally:
        remove(substrate, substrate.owned(spec.run_id))
        substrate.close()


def test_by_context_a_user_of_one_namespace_can_do_all_but_what_it_may_not(
    cluster: KindSubstrate, tmp_path: Path
) -> None:
    api, namespace = cluster._api, f"ttg-it-{secrets.token_hex(2)}"
    api.apply(manifests.namespace_object(namespace))
    kubeconfig = user_of_one_namespace(cluster, namespace, tmp_path)
    spec = spec_of("redis", unused_run(), workers=1)
    substrate = ByContext(
        cluster, kubeconfig=kubeconfig, context="user", namespace=namespace, image=cluster._image
    )
    try:
        assert {p.check: p.status for p in substrate.preflight()}["permissions"] == "ok"
        substrate.ensure(say)
        endpoint = substrate.start_broker(spec, say)
        substrate.start_workers(spec, endpoint)
        victim = running(substrate, spec)[0]
        # Without the right to run commands in pods there is no SIGKILL, and that is said.
        assert "may not create pods/exec" in str(substrate.why_not("stop-worker"))
        assert "SIGTERM" in substrate.kill(victim).method
        running(substrate, spec, without=victim.uid)
        owned = substrate.owned()
        assert "Namespace" not in {resource.kind for resource in owned}
        assert not remove(substrate, owned).failed
        elsewhere = ByContext(cluster, kubeconfig=kubeconfig, context="user", namespace="default")
        checks = {p.check: p for p in elsewhere.preflight()}
        assert checks["permissions"].status == "fail"
        assert "create deployments" in checks["permissions"].detail
        elsewhere.close()
        shares = ByContext(
            cluster, kubeconfig=kubeconfig, context="user", namespace=namespace, backend="static"
        )
        checks = {p.check: p for p in shares.preflight()}
        assert checks["permissions"].detail.endswith("may not create pods/exec, get pods/exec")
        shares.close()
    finally:
        substrate.close()
        found = api.get("Namespace", namespace)
        assert found is not None
        api.delete("Namespace", namespace, None, uid=found["metadata"]["uid"])


def user_of_one_namespace(cluster: KindSubstrate, namespace: str, folder: Path) -> Path:
    """A kubeconfig, context ``user``, of a service account with rights in this namespace alone."""
    api = cluster._api
    verbs = ["get", "list", "create", "patch", "delete"]
    core = ["services", "configmaps", "secrets", "persistentvolumeclaims", "pods", "pods/portforward"]
    rules = [
        {"apiGroups": [""], "resources": core, "verbs": verbs},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": verbs},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": verbs},
    ]
    rbac, base = "rbac.authorization.k8s.io", f"/api/v1/namespaces/{namespace}/serviceaccounts"
    api.request("post", base, body={"metadata": {"name": "user"}})
    role = {"metadata": {"name": "user"}, "rules": rules}
    api.request("post", f"/apis/{rbac}/v1/namespaces/{namespace}/roles", body=role)
    binding = {
        "metadata": {"name": "user"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "user"},
        "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": namespace}],
    }
    api.request("post", f"/apis/{rbac}/v1/namespaces/{namespace}/rolebindings", body=binding)
    token = api.request("post", f"{base}/user/token", body={"spec": {"expirationSeconds": 3600}})
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "user", "user": {"token": token["status"]["token"]}}]
    config["contexts"] = [
        {"name": "user", "context": {"cluster": config["clusters"][0]["name"], "user": "user"}}
    ]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_when_all_node_ports_are_taken_a_run_is_reached_by_port_forward(cluster: KindSubstrate) -> None:
    api = cluster._api
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"other-{port}", "namespace": "default"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
        }
        for port in POOL
        if port not in cluster_node_ports(cluster)
    ]
    spec = spec_of("redis", unused_run())
    try:
        for service in services:
            api.apply(service)
        endpoint = cluster.start_broker(spec, say)
        port = int(endpoint.host_url.rpartition(":")[2].split("/")[0])
        assert port not in cluster.cluster.host_ports().values()
    finally:
        remove(cluster, cluster.owned(spec.run_id))
        for service in services:
            found = api.get("Service", service["metadata"]["name"], "default")
            if found is not None:
                api.delete("Service", found["metadata"]["name"], "default", uid=found["metadata"]["uid"])


def cluster_node_ports(cluster: KindSubstrate) -> set[int]:
    services = cluster._api.list("Service")
    return {p["nodePort"] for s in services for p in s["spec"].get("ports") or () if "nodePort" in p}


def test_objects_of_others_are_left_alone(cluster: KindSubstrate) -> None:
    api, namespace = cluster._api, f"ttg-it-{secrets.token_hex(2)}"
    substrate = KindSubstrate(cluster=CLUSTER, namespace=namespace)
    spec = spec_of("redis", unused_run())
    stranger = config_map("stranger", namespace, {})
    lookalike = config_map(
        "lookalike",
        namespace,
        {"ttg.io/project": "distributed-compute", "app.kubernetes.io/managed-by": "helm"},
    )
    try:
        substrate.start_broker(spec, say)
        api.apply(stranger)
        api.apply(lookalike)
        owned = substrate.owned()
        foreign = {(r.kind, r.name) for r in owned if r.foreign}
        assert foreign == {("ConfigMap", "lookalike"), ("Namespace", namespace)}
        assert "stranger" not in {r.name for r in owned}
        removal = remove(substrate, owned)
        assert not removal.failed
        assert not removal.gone
        assert substrate.owned(spec.run_id) == []
        assert api.get("ConfigMap", "stranger", namespace)
        assert api.get("ConfigMap", "lookalike", namespace)
        assert api.get("Namespace", namespace)
        with pytest.raises(SubstrateError, match="left alone"):
            substrate.delete(next(r for r in owned if r.name == "lookalike"))
        again = remove(substrate, substrate.owned())
        assert not again.deleted
        assert not again.failed
    finally:
        for name in ("stranger", "lookalike"):
            found = api.get("ConfigMap", name, namespace)
            if found is not None:
                api.delete("ConfigMap", name, namespace, uid=found["metadata"]["uid"])
        removal = remove(substrate, substrate.owned())
        substrate.close()
    assert [r.kind for r in removal.deleted] == ["Namespace"]
    assert api.get("Namespace", namespace) is None


def test_a_namespace_that_was_there_before_stays_as_it_was(cluster: KindSubstrate) -> None:
    api, namespace = cluster._api, f"ttg-it-{secrets.token_hex(2)}"
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    before = api.get("Namespace", namespace)
    substrate = KindSubstrate(cluster=CLUSTER, namespace=namespace)
    spec = spec_of("redis", unused_run())
    try:
        substrate.start_broker(spec, say)
        removal = remove(substrate, substrate.owned())
        assert "Namespace" not in {r.kind for r in removal.deleted}
        assert substrate.owned() == []
        after = api.get("Namespace", namespace)
        assert after is not None
        assert before is not None
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
    finally:
        substrate.close()
        found = api.get("Namespace", namespace)
        if found is not None:
            api.delete("Namespace", namespace, None, uid=found["metadata"]["uid"])


def test_an_object_of_the_same_name_and_another_uid_is_not_deleted(cluster: KindSubstrate) -> None:
    api = cluster._api
    api.apply(config_map("replaced", cluster.namespace, {}))
    old = api.get("ConfigMap", "replaced", cluster.namespace)
    assert old is not None
    resource = OwnedResource(
        kind="ConfigMap",
        name="replaced",
        uid="00000000-0000-0000-0000-000000000000",
        run_id=None,
        created_at=None,
        namespace=cluster.namespace,
    )
    assert cluster.delete(resource) is False
    found = api.get("ConfigMap", "replaced", cluster.namespace)
    assert found is not None
    api.delete("ConfigMap", "replaced", cluster.namespace, uid=found["metadata"]["uid"])


def config_map(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": {"a": "b"},
    }


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
def test_rendered_manifests_pass_the_api_servers_own_check(
    cluster: KindSubstrate, backend: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        require("kubectl is not on PATH")
    spec = spec_of(backend, "r" * 40, placement=Placement(namespace=cluster.namespace, image="i:1"))
    text = manifests.run_yaml(spec, input_folder=tmp_path)
    done = subprocess.run(
        [kubectl, f"--kubeconfig={cluster.kubeconfig}", "apply", "--dry-run=server", "-f", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "would violate PodSecurity" not in done.stderr
    assert done.stdout.count("(server dry run)") == len(list(yaml.safe_load_all(text)))


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
def test_a_bug_report_has_objects_events_and_broker_but_no_password(
    cluster: KindSubstrate, backend: str
) -> None:
    spec = spec_of(backend, unused_run())
    endpoint = cluster.start_broker(spec, say)
    try:
        password = str(urlsplit(endpoint.host_url).password)
        files = cluster.diagnostics(spec) | cluster.logs(spec.run_id)
        assert {"objects.yaml", "kubernetes-events.txt"} < files.keys()
        assert any(name.startswith(backend) and text for name, text in files.items())
        assert "Scheduled" in files["kubernetes-events.txt"]
        assert not [name for name, text in files.items() if password in text]
        shown = subprocess.run(
            cluster.password_command(spec.run_id), shell=True, capture_output=True, text=True, check=True
        )
        assert shown.stdout == f"ttg {password}"
    finally:
        remove(cluster, cluster.owned(spec.run_id))


def test_the_users_own_kubeconfig_is_not_touched(
    cluster: KindSubstrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config"
    own.write_text("apiVersion: v1\nkind: Config\ncurrent-context: mine\n")
    monkeypatch.setenv("KUBECONFIG", str(own))
    substrate = KindSubstrate(cluster=CLUSTER, namespace=cluster.namespace)
    substrate.kubeconfig.unlink()
    substrate.ensure(say)
    substrate.close()
    assert own.read_text() == "apiVersion: v1\nkind: Config\ncurrent-context: mine\n"
    assert substrate.kubeconfig.stat().st_mode & 0o077 == 0


def test_a_container_that_only_has_the_name_of_a_node_is_reported_and_left_alone(
    kind_possible: None, state: None
) -> None:
    name = f"ttg-it-{secrets.token_hex(2)}"
    client = docker_engine.connect()
    other = client.containers.create("python:3.13-slim", name=f"{name}-control-plane", command="true")
    substrate = KindSubstrate(cluster=name, image="unused:1")
    try:
        with pytest.raises(SubstrateError, match="no node of a Kind cluster"):
            substrate.ensure(say)
        assert client.containers.get(other.id).name == f"{name}-control-plane"
    finally:
        other.remove()
        substrate.close()
        client.close()


def test_a_stopped_node_is_started_again_and_its_workers_with_it(
    cluster: KindSubstrate, redis_run: RunSpec
) -> None:
    node = str(running(cluster, redis_run)[0].node)
    evidence = cluster.stop_node(node)
    assert cluster.cluster.stopped() == [node]
    assert evidence.victim == node
    cluster.start_node(node)
    assert cluster.cluster.stopped() == []
    running(cluster, redis_run)
    cluster.start_broker(redis_run, say)
    with pytest.raises(SubstrateError, match="no worker node"):
        cluster.stop_node(f"{CLUSTER}-control-plane")
