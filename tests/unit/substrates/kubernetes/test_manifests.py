from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import UndefinedError

from ttg_worker.brokers import open_broker
from ttg_worker.settings import WorkerSettings
from ttgctl.core.ports import SubstrateError
from ttgctl.domain.run import Placement, RunSpec
from ttgctl.substrates.kubernetes import diagnostics, labels, manifests
from ttgctl.substrates.kubernetes.manifests import Credentials, NodePorts

LONGEST = "r" * 40
CREDENTIALS = Credentials(username="ttg", password="s3cret")
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def spec_of(backend: str = "rabbitmq", **changes: Any) -> RunSpec:
    defaults: dict[str, Any] = {"run_id": "sweep-1", "parameters_total": 10, "chunk_size": 3}
    return RunSpec(**{**defaults, "backend": backend, "substrate": "kind", **changes})


def rendered(backend: str, run_id: str = "sweep-1") -> list[dict[str, Any]]:
    return manifests.run_objects(
        spec_of(backend, run_id=run_id), image="w:1", input_folder=Path(), credentials=CREDENTIALS
    )


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] in kinds]


@pytest.fixture(params=["rabbitmq", "redis", "static"])
def any_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["rabbitmq", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_object_and_what_it_makes_carries_all_labels(any_backend: str) -> None:
    objects = rendered(any_backend)[1:]
    for item in objects:
        found = [item["metadata"]]
        if item["kind"] in WORKLOADS:
            found.append(item["spec"]["template"]["metadata"])
            found += [claim["metadata"] for claim in item["spec"].get("volumeClaimTemplates", [])]
        for meta in found:
            own = meta["labels"]
            assert own["app.kubernetes.io/managed-by"] == "ttgctl"
            assert own["app.kubernetes.io/part-of"] == "ttg"
            assert own["app.kubernetes.io/name"] in (any_backend, "ttg-worker")
            assert own["app.kubernetes.io/component"] == own["ttg.io/component"]
            assert own["ttg.io/component"] in ("broker", "worker")
            assert own["ttg.io/project"] == "distributed-compute"
            assert own["ttg.io/queue-backend"] == any_backend
            assert own["ttg.io/run-id"] == "sweep-1"
        assert item["metadata"]["namespace"] == "ttg"


def test_the_namespace_enforces_restricted_and_says_who_made_it() -> None:
    namespace = manifests.namespace_object("mine")
    assert namespace["metadata"]["name"] == "mine"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["annotations"] == {labels.CREATED_BY: "ttgctl"}
    assert labels.is_ours(namespace)


def test_pods_keep_to_restricted_and_to_their_limits(any_backend: str) -> None:
    for workload in of_kind(rendered(any_backend), *WORKLOADS):
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # A process 1 of a container's own could not be killed from within its pod.
        assert pod["shareProcessNamespace"] is True
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_names_leave_room_for_what_kubernetes_appends(any_backend: str) -> None:
    for item in rendered(any_backend, LONGEST):
        # A StatefulSet's pods carry its name and a hash of 11 characters in a label of at most 63.
        assert len(item["metadata"]["name"]) <= 52


def test_the_password_is_in_secrets_alone(backend: str) -> None:
    for item in rendered(backend):
        assert (CREDENTIALS.password in yaml.safe_dump(item)) == (item["kind"] == "Secret")


def test_what_is_shown_holds_placeholders_and_the_image_that_would_be_built(backend: str) -> None:
    first, second = (manifests.run_yaml(spec_of(backend), input_folder=Path()) for _ in range(2))
    assert first == second
    assert "made-when-applied" in first
    assert "image: ttgctl-worker:" in first
    placed = spec_of(backend, placement=Placement(namespace="mine", image="r/w:2"))
    shown = manifests.run_yaml(placed, input_folder=Path())
    assert "image: r/w:2" in shown
    assert "namespace: mine" in shown


def test_a_bug_report_holds_no_secret() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s", "managedFields": [1]}, "data": {"password": "cHc="}}
    assert diagnostics.without_secrets(secret) == {
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"password": diagnostics.LEFT_OUT},
    }
    text = diagnostics.without_passwords('{"users": [{"name": "ttg", "password_hash": "abc"}], "queues": []}')
    assert "abc" not in text
    assert "ttg" in text


def test_credentials_are_never_the_same_and_never_guest() -> None:
    first, second = Credentials.random(), Credentials.random()
    assert first.password != second.password
    assert len(first.password) >= 32
    assert first.username != "guest"


def test_only_this_runs_workers_and_the_host_reach_the_broker(backend: str) -> None:
    objects = manifests.broker_objects(
        spec_of(backend),
        namespace="ttg",
        credentials=CREDENTIALS,
        node_ports=NodePorts(broker=30000, management=30001),
        host_networks=["172.18.0.1/32"],
    )
    policy = of_kind(objects, "NetworkPolicy")[0]["spec"]
    worker = manifests.worker_objects(
        spec_of(backend), namespace="ttg", image="w:1", broker_url="redis://h", input_folder=Path()
    )[-1]["spec"]["template"]["metadata"]["labels"]
    broker = of_kind(objects, "StatefulSet")[0]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= broker.items()
    assert not policy["podSelector"]["matchLabels"].items() <= worker.items()
    workers, host = policy["ingress"]
    admitted = workers["from"][0]["podSelector"]["matchLabels"]
    assert admitted.items() <= worker.items()
    assert admitted["ttg.io/run-id"] == "sweep-1"
    assert workers["ports"] == [{"port": manifests.BROKER_PORTS[backend], "protocol": "TCP"}]
    assert host == {"from": [{"ipBlock": {"cidr": "172.18.0.1/32"}}]}


def test_without_a_way_in_from_the_host_no_network_is_let_in(backend: str) -> None:
    policy = of_kind(rendered(backend), "NetworkPolicy")[0]["spec"]
    assert len(policy["ingress"]) == 1


def test_node_ports_are_those_that_were_chosen() -> None:
    objects = manifests.broker_objects(
        spec_of("rabbitmq"),
        namespace="ttg",
        credentials=CREDENTIALS,
        node_ports=NodePorts(broker=30004, management=30005),
    )
    service = of_kind(objects, "Service")[0]["spec"]
    assert service["type"] == "NodePort"
    assert {p["port"]: p.get("nodePort") for p in service["ports"]} == {
        5672: 30004,
        15672: 30005,
        15692: None,
    }
    assert of_kind(rendered("rabbitmq"), "Service")[0]["spec"]["type"] == "ClusterIP"


def test_workers_read_back_the_settings_that_the_run_has() -> None:
    spec = spec_of("redis", workers=4, seed=7, work_ms=12.5, fault_rate=0.25, unsafe_ack_early=True)
    objects = manifests.worker_objects(
        spec, namespace="ttg", image="w:1", broker_url="redis://:pw@h:6379/0", input_folder=Path()
    )
    deployment, secret = of_kind(objects, "Deployment")[0], of_kind(objects, "Secret")[0]
    assert deployment["spec"]["replicas"] == 4
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    read = {each["name"]: each.get("value", "") for each in environment}
    by_reference = {each["name"]: each["valueFrom"] for each in environment if "valueFrom" in each}
    assert by_reference == {
        "WORKER_ID": {"fieldRef": {"fieldPath": "metadata.name"}},
        "BROKER_URL": {"secretKeyRef": {"name": secret["metadata"]["name"], "key": "BROKER_URL"}},
    }
    read |= {"WORKER_ID": "pod-1", "BROKER_URL": secret["stringData"]["BROKER_URL"]}
    settings = WorkerSettings.from_environment(read)
    assert (settings.seed, settings.work_seconds, settings.fault_rate) == (7, 0.0125, 0.25)
    assert settings.unsafe_ack_early is True
    assert settings.idle_exit_seconds == 0


def test_fixed_shares_are_the_indices_of_a_job_whose_dead_pods_stay_dead() -> None:
    objects = rendered("static")
    assert [item["kind"] for item in objects] == ["Namespace", "ConfigMap", "Job"]
    job = objects[-1]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    assert job["backoffLimitPerIndex"] == 0
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    environment = pod["containers"][0]["env"]
    names = [each["name"] for each in environment]
    # Kubernetes fills in only what was named before.
    assert names.index("JOB_COMPLETION_INDEX") < names.index("BROKER_URL")
    values = {each["name"]: each.get("value", "") for each in environment}
    url = values["BROKER_URL"].replace("$(JOB_COMPLETION_INDEX)", "2")
    settings = WorkerSettings.from_environment({**values, "WORKER_ID": "pod-2-x9", "BROKER_URL": url})
    assert open_broker(settings.broker_url, options=settings.delivery)
    folder = manifests.SHARES_FOLDER
    mounts = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if not each.get("readOnly")]
    assert any(folder.startswith(f"{mount}/") for mount in mounts)


def test_pods_of_a_job_and_of_a_deployment_differ_in_their_share_alone() -> None:
    def pod(backend: str) -> dict[str, Any]:
        workload = of_kind(rendered(backend), "Job", "Deployment")[0]
        found: dict[str, Any] = workload["spec"]["template"]["spec"]
        return found

    of_job, of_deployment = pod("static"), pod("redis")
    for found in (of_job, of_deployment):
        del found["restartPolicy"], found["containers"][0]["env"]
    assert of_job == of_deployment


def test_a_workload_file_travels_with_the_workers_byte_for_byte(tmp_path: Path) -> None:
    source = "# '\"{{ }} {% %} <&> \\ naïve 😀\ndef f(x):\n\treturn f'{x}'\n\n\n"
    folder = tmp_path / "workload"
    (folder / "part").mkdir(parents=True)
    (folder / "my work.py").write_text(source, encoding="utf-8")
    (folder / "part" / "__init__.py").write_text("")
    (folder / "part" / "table.so").write_bytes(b"\xff\x00")
    (folder / "part" / "__pycache__").mkdir()
    (folder / "part" / "__pycache__" / "x.pyc").write_bytes(b"\xff")
    objects = manifests.worker_objects(
        spec_of(workload="my work.py:f"),
        namespace="ttg",
        image="w:1",
        broker_url="amqp://h",
        input_folder=tmp_path,
    )
    files = of_kind(objects, "ConfigMap")[0]
    assert files["data"] == {"0-my_work.py": source, "1-part___init__.py": ""}
    assert files["binaryData"] == {"2-part_table.so": "/wA="}
    assert list(yaml.safe_load_all(manifests.as_yaml(objects))) == objects
    container = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    workload = next(each["value"] for each in container["env"] if each["name"] == "WORKLOAD")
    assert workload == f"{manifests.INPUT_FOLDER}/workload/my work.py:f"
    volume = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["volumes"][0]["configMap"]
    assert volume["items"] == [
        {"key": "0-my_work.py", "path": "workload/my work.py"},
        {"key": "1-part___init__.py", "path": "workload/part/__init__.py"},
        {"key": "2-part_table.so", "path": "workload/part/table.so"},
    ]
    mount = next(each for each in container["volumeMounts"] if each["name"] == "files")
    assert mount == {"name": "files", "mountPath": manifests.INPUT_FOLDER, "readOnly": True}


def test_a_workload_that_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    with pytest.raises(SubstrateError, match=r"gone\.py"):
        manifests.worker_objects(
            spec_of(workload="gone.py:f"),
            namespace="ttg",
            image="w:1",
            broker_url="amqp://h",
            input_folder=tmp_path,
        )


def test_a_template_that_names_what_it_is_not_given_fails() -> None:
    with pytest.raises(UndefinedError):
        manifests._render("namespace", namespace="ttg")


def test_rabbitmq_is_asked_for_in_amqp_and_redis_for_pong() -> None:
    for backend, expected in (("rabbitmq", "AMQP"), ("redis", "PONG")):
        container = of_kind(rendered(backend), "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
        for probe in ("startupProbe", "readinessProbe"):
            assert expected in " ".join(container[probe]["exec"]["command"])
        assert container["startupProbe"]["periodSeconds"] == 1
