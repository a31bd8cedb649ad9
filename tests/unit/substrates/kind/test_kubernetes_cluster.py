"""What is decided about a cluster without one: ports, images, pods' states, checks."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ttgctl.substrates import worker_image
from ttgctl.substrates.broker_probe import answers
from ttgctl.substrates.kind import checks, cluster
from ttgctl.substrates.kind.cluster import POOL
from ttgctl.substrates.kind.node_ports import free_pairs
from ttgctl.substrates.kubernetes import pods
from ttgctl.substrates.kubernetes.manifests import NodePorts
from ttgctl.substrates.polling import until

ALL = dict.fromkeys(POOL, 1)


def test_runs_take_pairs_of_node_ports_from_the_lowest_up() -> None:
    pairs = list(free_pairs(mapped=ALL, taken=()))
    assert len(pairs) == len(POOL) // 2
    assert pairs[0] == NodePorts(broker=POOL[0], management=POOL[0] + 1)


def test_a_pair_of_which_one_is_taken_or_not_mapped_is_left_out() -> None:
    mapped = {port: 1 for port in POOL if port != POOL[2]}
    found = list(free_pairs(mapped=mapped, taken={POOL[1]}))
    assert found[0] == NodePorts(broker=POOL[4], management=POOL[5])


@pytest.mark.parametrize(("mapped", "taken"), [({}, ()), (ALL, POOL)])
def test_without_a_free_pair_there_is_none(mapped: dict[int, int], taken: tuple[int, ...]) -> None:
    assert list(free_pairs(mapped=mapped, taken=taken)) == []


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("redis:8", "docker.io/library/redis:8"),
        ("redis", "docker.io/library/redis:latest"),
        ("prom/prometheus:v2", "docker.io/prom/prometheus:v2"),
        ("localhost:5000/w:1", "localhost:5000/w:1"),
        ("ghcr.io/me/w", "ghcr.io/me/w:latest"),
    ],
)
def test_image_names_are_spelt_as_containerd_does(name: str, full: str) -> None:
    assert cluster._full_name(name) == full


def test_kind_is_quoted_with_the_line_that_says_error() -> None:
    said = ["Creating cluster", "ERROR: failed to create cluster: port is taken", "Command Output: ..."]
    assert cluster._reason(said) == "failed to create cluster: port is taken"
    assert cluster._reason([]) == "no message"
    assert cluster._phase(" ✓ Starting control-plane 🕹️") == "starting control-plane"


def test_an_image_is_named_by_all_that_is_in_it() -> None:
    files = worker_image.image_files()
    assert {"Dockerfile", "requirements.lock", "ttg_worker/__main__.py"} <= files.keys()
    name = worker_image.image_name(files)
    assert name == worker_image.image_name(dict(reversed(files.items())))
    for changed in files:
        assert worker_image.image_name({**files, changed: files[changed] + b"#"}) != name
    assert worker_image.image_name({**files, "ttg_worker/more.py": b""}) != name


def test_the_same_files_make_the_same_build_context() -> None:
    first = worker_image._context({"b/x": b"1", "a": b"2"}).getvalue()
    assert first == worker_image._context({"a": b"2", "b/x": b"1"}).getvalue()
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert tar.getnames() == ["a", "b/x"]


def test_every_locked_package_has_a_hash_for_both_architectures() -> None:
    text = (worker_image.recipe_folder() / "requirements.lock").read_text()
    packages = [line for line in text.splitlines() if "==" in line]
    assert {line.partition("==")[0] for line in packages} == {"msgspec", "pika", "redis"}
    assert text.count("--hash=sha256:") == len(packages) + 1


def pod(state: dict[str, Any], *, conditions: tuple[dict[str, str], ...] = (), leaving: bool = False) -> Any:
    meta = {"name": "p", "deletionTimestamp": "now"} if leaving else {"name": "p"}
    return {"metadata": meta, "status": {"conditions": conditions, "containerStatuses": [{"state": state}]}}


def test_a_pod_runs_until_its_end_is_asked_for() -> None:
    assert pods.is_running(pod({"running": {}}))
    assert not pods.is_running(pod({"running": {}}, leaving=True))
    assert not pods.is_running(pod({"waiting": {"reason": "ContainerCreating"}}))
    assert not pods.is_running({"metadata": {}, "status": {}})


def test_a_pod_is_ready_when_it_says_so() -> None:
    ready = ({"type": "Ready", "status": "True"},)
    assert pods.is_ready(pod({"running": {}}, conditions=ready))
    assert not pods.is_ready(pod({"running": {}}, conditions=ready, leaving=True))
    assert not pods.is_ready(pod({"running": {}}))


def test_what_is_in_a_pods_way_is_one_line() -> None:
    stuck = pod({"waiting": {"reason": "ImagePullBackOff", "message": "no\nsuch  image"}})
    assert pods.trouble(stuck) == "ImagePullBackOff: no such image"
    assert pods.is_hopeless(stuck)
    unplaced = pod({}, conditions=({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},))
    assert pods.trouble(unplaced) == "Unschedulable"
    assert not pods.is_hopeless(unplaced)
    assert pods.trouble(pod({"waiting": {"reason": "ContainerCreating"}})) == ""
    assert (
        pods.trouble(pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}}))
        == "OOMKilled, exit code 137"
    )


@pytest.mark.parametrize(
    ("image", "cgroup", "status"),
    [
        ("kindest/node:v1.34.4", "1", "ok"),
        ("kindest/node:v1.35.0", "1", "fail"),
        ("kindest/node:v1.35.0@sha256:abc", "1", "fail"),
        ("kindest/node:v1.35.0", "2", "ok"),
        ("my/node:latest", "1", "ok"),
    ],
)
def test_a_node_image_that_refuses_the_hosts_cgroup_is_found_before_it_is_run(
    image: str, cgroup: str, status: str
) -> None:
    found = checks._cgroup(image, {"CgroupVersion": cgroup})
    assert found.status == status
    assert bool(found.fix) == (status == "fail")


def test_old_programs_and_low_limits_are_warned_of_with_the_fix() -> None:
    assert checks._engine("19.03.1", {}).status == "warn"
    assert checks._engine("28.0.0", {}).status == "ok"
    low = checks._inotify_limits(128, 8192, where="in the nodes")
    assert (low.status, "sysctl" in low.fix) == ("warn", True)
    assert checks._inotify_limits(512, 524288, where="").status == "ok"
    amounts = [checks._by_amount("disk", "", free, 10, 3, fix="make room").status for free in (2, 5, 20)]
    assert amounts == ["fail", "warn", "ok"]


def test_a_machine_without_docker_and_kind_is_told_so_and_nothing_is_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    nowhere = cluster.KindCluster("none", workers=1, node_image="kindest/node:v1.34.4")
    found = {check.check: check for check in checks.kind_checks(nowhere)}
    assert found["Docker engine"].status == "fail"
    assert found["kind"].status == "fail"
    assert all(problem.fix for problem in found.values() if problem.status != "ok")


@contextmanager
def server_that_says(reply: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("backend", "reply", "expected"),
    [
        ("redis", b"+PONG\r\n", True),
        ("redis", b"-NOAUTH Authentication required.\r\n", True),
        ("redis", b"-LOADING Redis is loading\r\n", False),
        ("rabbitmq", b"\x01\x00\x00\x00\x00\x02\x45\x00\x0a\x00\x0a\x00\x09", True),
        ("rabbitmq", b"AMQP\x00\x00\x09\x01", False),
        ("rabbitmq", b"", False),
    ],
)
def test_a_broker_answers_when_it_speaks_its_protocol(backend: str, reply: bytes, expected: bool) -> None:
    with server_that_says(reply) as port:
        assert answers("127.0.0.1", port, backend) is expected


def test_nobody_answers_at_a_port_without_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not answers("127.0.0.1", port, "redis")


def test_waiting_ends_with_the_condition_or_with_the_time() -> None:
    values = iter([False, False, True])
    assert until(lambda: next(values), seconds=5, every_seconds=0)
    assert not until(lambda: False, seconds=0.01, every_seconds=0.001)
