"""The Kubernetes API as JSON: read, apply, delete. The one module that knows the client library.

Objects are plain dicts as kubectl prints them. Every failure is a
:class:`~ttgctl.core.ports.SubstrateError` with one line that says what was asked and what came back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError
from kubernetes.stream import portforward, stream
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from ttg_worker.backoff import Outage
from ttgctl.core.ports import SubstrateError

FIELD_MANAGER: Final = "ttgctl"
REQUEST_SECONDS: Final = 20.0
PATIENCE_SECONDS: Final = 6.0

CONTROLLERS: Final = ("Deployment", "StatefulSet", "Job")

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind live in the API."""

    name: str
    api: str
    plural: str
    namespaced: bool = True


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("Deployment", "/apis/apps/v1", "deployments"),
        Kind("StatefulSet", "/apis/apps/v1", "statefulsets"),
        Kind("Job", "/apis/batch/v1", "jobs"),
        Kind("Pod", "/api/v1", "pods"),
        Kind("Service", "/api/v1", "services"),
        Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies"),
        Kind("ConfigMap", "/api/v1", "configmaps"),
        Kind("Secret", "/api/v1", "secrets"),
        Kind("PersistentVolumeClaim", "/api/v1", "persistentvolumeclaims"),
        Kind("Namespace", "/api/v1", "namespaces", namespaced=False),
        Kind("Event", "/api/v1", "events"),
        Kind("Node", "/api/v1", "nodes", namespaced=False),
    )
}


class ApiUnreachable(SubstrateError):
    """The API server does not answer; it may, a moment later."""


class ApiRefused(SubstrateError):
    """The API server answered with an error; ``status`` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class KubeApi:
    """One cluster, through one kubeconfig context. Safe to use from several threads."""

    def __init__(self, *, kubeconfig: Path | None, context: str | None) -> None:
        """Reads the kubeconfig and connects to nothing yet.

        None for ``kubeconfig`` means where kubectl looks, for ``context`` its current context.
        """
        self._kubeconfig = kubeconfig
        self._context = context
        self._client = self.new_client()
        # Paths are known here, so nothing has to be discovered first.
        self._dynamic = DynamicClient(self._client, discoverer=lambda *_: None)

    def new_client(self) -> ApiClient:
        """A client of one's own, for a stream: those change the client that they run on."""
        settings = Configuration()
        # Lists run in parallel threads; each wants a connection of its own.
        settings.connection_pool_maxsize = 32
        try:
            config.load_kube_config(
                config_file=str(self._kubeconfig) if self._kubeconfig else None,
                context=self._context,
                client_configuration=settings,
            )
        except (ConfigException, OSError) as error:
            where = self._kubeconfig or "the kubeconfig"
            raise SubstrateError(
                f"{where} has no usable context {self._context or '(current)'}: {error}"
            ) from error
        return ApiClient(configuration=settings)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return self.request("get", _path(kind, namespace, name))
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, *, selector: str = "") -> list[Object]:
        """All objects of a kind that match, in one namespace or (None) in all.

        A namespace or a kind that does not exist holds none.
        """
        try:
            found = self.request("get", _path(kind, namespace), label_selector=selector or None)
        except ApiRefused as error:
            if error.status == 404:
                return []
            raise
        return [{"kind": kind, **item} for item in found.get("items") or []]

    def apply(self, manifest: Object) -> Object:
        """Server-side apply; the same manifest twice changes nothing."""
        try:
            return self._apply(manifest)
        except ApiRefused as error:
            if error.status != 409:
                raise
            # Two commands created the same object at the same moment: now it is there.
            return self._apply(manifest)

    def _apply(self, manifest: Object) -> Object:
        meta = manifest["metadata"]
        return self.request(
            "patch",
            _path(manifest["kind"], meta.get("namespace"), meta["name"]),
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
        )

    def patch(self, kind: str, name: str, namespace: str, body: Object) -> Object:
        """A merge patch of some fields."""
        return self.request(
            "patch",
            _path(kind, namespace, name),
            body=body,
            content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )

    def delete(
        self, kind: str, name: str, namespace: str | None, *, uid: str, grace_seconds: int | None = None
    ) -> bool:
        """Asks for the deletion of the very object that has this uid, and of what it controls.

        False when it is gone, or another has taken its name.
        """
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Foreground" if kind in CONTROLLERS else "Background",
        }
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("delete", _path(kind, namespace, name), body=body)
        except ApiRefused as error:
            # A conflict is the uid precondition: what we meant is gone.
            if error.status in (404, 409):
                return False
            raise
        return True

    def pod_log(self, name: str, namespace: str) -> str:
        """What the pod's container wrote; empty when it has not started."""
        try:
            with _translated(f"the log of pod {name}"):
                answer = _core(self._client).read_namespaced_pod_log(
                    name, namespace, _preload_content=False, _request_timeout=REQUEST_SECONDS
                )
                return bytes(answer.data).decode("utf-8", "replace")
        except ApiRefused as error:
            if error.status in (400, 404):
                return ""
            raise

    def may(
        self, verb: str, resource: str, *, namespace: str, group: str = "", subresource: str = ""
    ) -> bool:
        """Whether this user is allowed to, as far as the API server tells."""
        about = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        if subresource:
            about["subresource"] = subresource
        answer = self.request(
            "post",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": about},
            },
        )
        return bool(answer["status"]["allowed"])

    def exec(self, pod: str, namespace: str, argv: Sequence[str]) -> str:
        """Runs a command in the pod's only container; what it wrote. Ends with it, or with the pod."""
        with _translated(f"a command in pod {pod}"):
            open_stream = self._exec(pod, namespace, argv, stdin=False)
            open_stream.run_forever(timeout=REQUEST_SECONDS)
            return str(open_stream.read_all())

    def open_exec(self, pod: str, namespace: str, argv: Sequence[str]) -> ExecStream:
        """Starts a command in the pod's only container, to talk to; the caller closes the stream."""
        with _translated(f"a command in pod {pod}"):
            return ExecStream(self._exec(pod, namespace, argv, stdin=True), pod=pod)

    def _exec(self, pod: str, namespace: str, argv: Sequence[str], *, stdin: bool) -> Any:
        client = self.new_client()
        try:
            # Read by hand: the client would take what looks like JSON apart and write it as Python.
            return stream(
                _core(client).connect_get_namespaced_pod_exec,
                pod,
                namespace,
                command=list(argv),
                stdin=stdin,
                stdout=True,
                stderr=True,
                _preload_content=False,
                _request_timeout=REQUEST_SECONDS,
            )
        finally:
            client.close()

    def open_port(self, pod: str, namespace: str, port: int) -> Any:
        """A socket to a port of the pod, through the API server; the caller closes it."""
        client = self.new_client()
        try:
            with _translated(f"a connection to port {port} of pod {pod}"):
                tunnel = portforward(
                    _core(client).connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port)
                )
        finally:
            client.close()
        opened = tunnel.socket(port)
        opened.setblocking(True)
        return opened

    def request(self, method: str, path: str, *, accept: str = "application/json", **options: Any) -> Object:
        """One request; the answer's JSON. All that is asked for can be asked for twice, and is,
        for a while, when the API does not answer: a young or busy one drops connections."""
        options = {name: value for name, value in options.items() if value is not None}
        outage = Outage(patience_seconds=PATIENCE_SECONDS)
        while True:
            try:
                return self._request(method, path, accept=accept, **options)
            except ApiUnreachable as error:
                time.sleep(outage.pause_after(error))

    def _request(self, method: str, path: str, *, accept: str, **options: Any) -> Object:
        with _translated(f"{method.upper()} {path}"):
            response = self._dynamic.request(
                method,
                path,
                serialize=False,
                header_params={"Accept": accept},
                _request_timeout=REQUEST_SECONDS,
                **options,
            )
            answer: Object = json.loads(response.data)
            return answer

    def close(self) -> None:
        self._client.close()


class ExecStream:
    """Stdin and output of a command that runs in a pod, for one thread. Text both ways.

    Every method raises :class:`SubstrateError` once the command or the way to it is gone.
    """

    def __init__(self, opened: Any, *, pod: str) -> None:
        self._opened = opened
        self._what = f"a command in pod {pod}"
        # No side that fell silent holds the thread for good.
        opened.sock.settimeout(REQUEST_SECONDS)

    def receive(self, seconds: float) -> str:
        """What the command wrote since the last call, errors too; empty when nothing comes in time."""
        with _translated(self._what):
            self._opened.update(timeout=seconds)
        text = str(self._opened.read_all())
        if not text and not self._opened.is_open():
            raise ApiUnreachable(f"{self._what} has ended")
        return text

    def send(self, text: str) -> None:
        with _translated(self._what):
            self._opened.write_stdin(text)

    def close(self) -> None:
        """At once: the other side may be there no more to say goodbye to."""
        self._opened.sock.shutdown()


def _core(client: ApiClient) -> Any:
    # Its import costs a third of a second, and only what is streamed needs it.
    from kubernetes.client import CoreV1Api

    return CoreV1Api(client)


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    where = KINDS[kind]
    scope = f"/namespaces/{namespace}" if where.namespaced and namespace else ""
    return f"{where.api}{scope}/{where.plural}" + (f"/{name}" if name else "")


@contextmanager
def _translated(asked: str) -> Iterator[None]:
    try:
        yield
    except (DynamicApiError, ApiException) as error:
        raise ApiRefused(f"Kubernetes refused {asked}: {_reason(error)}", status=error.status or 0) from error
    except (HTTPError, WebSocketException, OSError) as error:
        raise ApiUnreachable(f"the Kubernetes API does not answer ({asked}): {_root(error)}") from error


def _reason(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return f"{error.status} {error.reason}"


def _root(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, BaseException) else error)
