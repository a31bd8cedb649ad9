"""What a run needs on a cluster, as Kubernetes objects rendered from ``manifests/*.yaml.j2``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

import ttgctl
from ttg_worker.brokers.rabbitmq.queues import CONSUMER_TIMEOUT_MS
from ttg_worker.brokers.static.broker import static_url
from ttgctl.core.ports import SubstrateError
from ttgctl.core.records.run_folder import WORKLOAD
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.kubernetes.config_files import ConfigFiles, config_files
from ttgctl.substrates.kubernetes.labels import CUT_LABEL, RUN_LABEL, labels, selector_of
from ttgctl.substrates.worker_settings import worker_settings

if TYPE_CHECKING:
    from jinja2 import Environment

Object = dict[str, Any]

BROKER_IMAGES: Final = {"rabbitmq": "rabbitmq:4-management", "redis": "redis:8"}
BROKER_PORTS: Final = {"rabbitmq": 5672, "redis": 6379}
MANAGEMENT_PORT: Final = 15672
WORKER_USER: Final = 65532
# Both upstream broker images run as this user.
BROKER_USER: Final = 999
INPUT_FOLDER: Final = "/ttg/input"
# On the scratch volume of each pod: its own copy of the plan, and what it gives before it is fetched.
SHARES_FOLDER: Final = "/tmp/ttg-shares"  # noqa: S108

_CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The one user of a run's broker."""

    username: str
    password: str

    @classmethod
    def random(cls) -> Credentials:
        return cls(username="ttg", password=secrets.token_urlsafe(24))


@dataclass(frozen=True, kw_only=True)
class NodePorts:
    """The ports of every node behind which a run's broker answers."""

    broker: int
    management: int


def template_folder() -> Path:
    """Where the templates are: inside the package once installed, else in the working tree."""
    package = Path(ttgctl.__file__).parent
    shipped = package / "shipped" / "manifests"
    return shipped if shipped.is_dir() else package.parent / "manifests"


def broker_name(run_id: str) -> str:
    """The name of everything that makes up a run's broker.

    Short, because a StatefulSet's name and a hash of 11 characters must fit into a label of 63.
    """
    return f"ttg-{run_id}-broker"


def workers_name(run_id: str) -> str:
    return f"ttg-{run_id}-worker"


def worker_url(spec: RunSpec, *, namespace: str, credentials: Credentials) -> str:
    """Where the run's workers find the broker that :func:`broker_objects` describes."""
    host = f"{broker_name(spec.run_id)}.{namespace}.svc"
    return broker_url(spec.backend, credentials, address=f"{host}:{BROKER_PORTS[spec.backend]}")


def broker_url(backend: str, credentials: Credentials, *, address: str) -> str:
    """The URL, with the password, of a broker at ``host:port``."""
    if backend == "rabbitmq":
        return f"amqp://{credentials.username}:{credentials.password}@{address}/%2F"
    # Redis knows one password and, unless it is told, no user.
    return f"redis://:{credentials.password}@{address}/0"


def shares_url(spec: RunSpec) -> str:
    """Where each worker of a run without a queue finds its fixed share; Kubernetes fills in which."""
    return static_url(Path(SHARES_FOLDER), workers=spec.workers, share="$(JOB_COMPLETION_INDEX)")


def namespace_object(namespace: str) -> Object:
    """The namespace, with the Pod Security level ``restricted`` enforced in it."""
    return _render("namespace", namespace=namespace, labels=labels(name="ttgctl", component="namespace"))[0]


def broker_objects(
    spec: RunSpec,
    *,
    namespace: str,
    credentials: Credentials,
    node_ports: NodePorts | None,
    host_networks: Sequence[str] = (),
) -> list[Object]:
    """The run's broker. ``host_networks`` (CIDR) are those from which the host seems to come."""
    own = labels(name=spec.backend, component="broker", backend=spec.backend, run_id=spec.run_id)
    rabbitmq = spec.backend == "rabbitmq"
    return _render(
        spec.backend,
        broker=broker_name(spec.run_id),
        namespace=namespace,
        labels=own,
        selector=selector_of(own),
        worker_selector=selector_of(_worker_labels(spec)),
        broker_port=BROKER_PORTS[spec.backend],
        image=BROKER_IMAGES[spec.backend],
        username=credentials.username,
        password=credentials.password,
        node_ports=node_ports,
        host_networks=list(host_networks),
        consumer_timeout_ms=CONSUMER_TIMEOUT_MS,
        memory_watermark="1400MiB" if rabbitmq else "1400mb",
        storage="4Gi",
        resources=_resources(cpu="200m", memory="256Mi", cpu_limit="2", memory_limit="2Gi"),
        pod_security=_pod_security(BROKER_USER),
        container_security=_CONTAINER_SECURITY,
    )


def worker_objects(
    spec: RunSpec, *, namespace: str, image: str, broker_url: str, input_folder: Path
) -> list[Object]:
    """The run's workers; the files of a workload in ``input_folder`` travel with them."""
    own = _worker_labels(spec)
    # The cluster starts and ends the workers, so none of them leaves for want of work.
    settings = worker_settings(
        spec,
        broker_url=broker_url,
        worker_id="",
        input_folder=INPUT_FOLDER,
        idle_exit_seconds=0,
    )
    environment = settings.to_environment()
    # The pod's name is the worker's, and the URL holds the password: both come by reference.
    del environment["WORKER_ID"], environment["BROKER_URL"]
    return _render(
        "workers" if spec.has_queue else "shares",
        workers=workers_name(spec.run_id),
        namespace=namespace,
        labels=own,
        selector=selector_of(own),
        replicas=spec.workers,
        one_share_each=not spec.has_queue,
        image=image,
        broker_url=broker_url,
        environment=environment,
        files=_files(spec, input_folder),
        resources=_resources(cpu="50m", memory="64Mi", cpu_limit="2", memory_limit="512Mi"),
        pod_security=_pod_security(WORKER_USER),
        container_security=_CONTAINER_SECURITY,
    )


def network_cut_object(pod: Object) -> Object:
    """The policy that cuts this worker pod off, once it carries :data:`~.labels.CUT_LABEL`."""
    meta = pod["metadata"]
    own = labels(name="ttg-worker", component="network-cut", run_id=meta["labels"][RUN_LABEL])
    selector = {CUT_LABEL: meta["uid"]}
    return _render(
        "network-cut",
        name=f"{meta['name']}-cut-off",
        namespace=meta["namespace"],
        labels={**own, **selector},
        selector=selector,
    )[0]


def run_objects(
    spec: RunSpec, *, image: str, input_folder: Path, credentials: Credentials | None = None
) -> list[Object]:
    """All that a run would apply, for a person to read; without credentials they are placeholders."""
    known = credentials or Credentials(username="ttg", password="made-when-applied")  # noqa: S106
    namespace = spec.placement.namespace
    if spec.has_queue:
        url = worker_url(spec, namespace=namespace, credentials=known)
        broker = broker_objects(spec, namespace=namespace, credentials=known, node_ports=None)
    else:
        url, broker = shares_url(spec), []
    return [
        namespace_object(namespace),
        *broker,
        *worker_objects(spec, namespace=namespace, image=image, broker_url=url, input_folder=input_folder),
    ]


def run_yaml(spec: RunSpec, *, input_folder: Path) -> str:
    """The same as text, with the image that the run names or that would be built for it."""
    from ttgctl.substrates import worker_image

    image = spec.placement.image or worker_image.image_name(worker_image.image_files())
    return as_yaml(run_objects(spec, image=image, input_folder=input_folder))


def as_yaml(objects: Sequence[Object]) -> str:
    """One multi-document text, for ``kubectl apply -f -``."""
    return yaml.safe_dump_all(objects, sort_keys=False, width=110)


def _worker_labels(spec: RunSpec) -> dict[str, str]:
    return labels(name="ttg-worker", component="worker", backend=spec.backend, run_id=spec.run_id)


def _files(spec: RunSpec, input_folder: Path) -> ConfigFiles:
    """What the workers find below :data:`INPUT_FOLDER`."""
    if spec.workload_file is None:
        return ConfigFiles()
    folder = input_folder / WORKLOAD
    if not (folder / spec.workload_file).is_file():
        raise SubstrateError(f"the workload {folder / spec.workload_file} is not there any more")
    return config_files(folder, below=WORKLOAD)


def _resources(*, cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> Object:
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": cpu_limit, "memory": memory_limit},
    }


def _pod_security(user: int) -> Object:
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@cache
def _environment() -> Environment:
    # Listing and deleting render nothing.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        # YAML, not HTML; every value that could need quoting goes through tojson.
        autoescape=False,  # noqa: S701
        keep_trailing_newline=True,
    )
    environment.filters["combine"] = _combine
    # YAML would read JSON's escapes beyond the basic plane as two characters.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment


def _combine(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    return {**first, **second}


def _render(template: str, **values: Any) -> list[Object]:
    text = _environment().get_template(f"{template}.yaml.j2").render(**values)
    return [document for document in yaml.safe_load_all(text) if document]
