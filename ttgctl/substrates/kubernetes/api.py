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
from kubernetes.stream.ws_client import ERROR_CHANNEL
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from ttg_worker.backoff import Outage
from ttgctl.core.ports import SubstrateAway, SubstrateError

FIELD_MANAGER: Final = "ttgctl"
REQUEST_SECONDS: Final = 20.0
# How long one waits for an API that is away: who only asks, and who has a run that goes on without it.
PATIENCE_SECONDS: Final = 6.0
RUN_PATIENCE_SECONDS: Final = 300.0
# What an API server answers that is busy, starting, or without its own storage for a moment.
LATER: Final = (429, 500, 502, 503, 504)
# One that has just started does not know yet who may do what.
YOUNG_SECONDS: Final = 15.0
# No server makes anybody wait longer than this between two tries.
RETRY_AFTER_MOST_SECONDS: Final = 10.0

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


class ApiAway(SubstrateAway):
    """The API server does not answer, or not now; ``retry_after_seconds`` is what it asks for, or 0."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ApiRefused(SubstrateError):
    """The API server answered with an error; ``status`` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class CommandFailed(SubstrateError):
    """A command in a pod ended with an ``exit_code`` other than 0, or, None, could not be started."""

    def __init__(self, message: str, *, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class KubeApi:
    """One cluster, through one kubeconfig context. Safe to use from several threads.

    ``away`` is why the API does not answer just now, None while it does; ``patience_seconds`` is how long
    a request waits for it, counted from when it went away.
    """

    def __init__(self, *, kubeconfig: Path | None, context: str | None) -> None:
        """Reads the kubeconfig and connects to nothing yet.

        None for ``kubeconfig`` means where kubectl looks, for ``context`` its current context.
        """
        self._kubeconfig = kubeconfig
        self._context = context
        self.away: str | None = None
        self.patience_seconds = PATIENCE_SECONDS
        self._away_since: float | None = None
        self._away_last = float("-inf")
        self._client = self.new_client()
        # Paths are known here, so nothing has to be discovered first.
        self._dynamic = DynamicClient(self._client, discoverer=lambda *_: None)

    def new_client(self) -> ApiClient:
        """A client of one's own, for a stream: those change the client that they run on."""
        settings = Configuration()
        # Lists run in parallel threads; each wants a connection of its own.
        settings.connection_pool_maxsize = 32
        # What is tried again is tried by us, who can tell of it.
        settings.retries = 0
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

    def pod_log(self, name: str, namespace: str, *, lines: int | None = None) -> str:
        """What the pod's container wrote, the last ``lines`` of it; empty when it has not started."""
        try:
            with _translated(f"the log of pod {name}"):
                answer = _core(self._client).read_namespaced_pod_log(
                    name,
                    namespace,
                    _preload_content=False,
                    _request_timeout=REQUEST_SECONDS,
                    **({} if lines is None else {"tail_lines": lines}),
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
        """Runs a command in the pod's only container; what it wrote.

        Raises :class:`CommandFailed` when it failed, and :class:`ApiAway` when it is not known how, or
        whether, it ended.
        """
        what = f"a command in pod {pod}"
        with _translated(what):
            opened = self._exec(pod, namespace, argv, stdin=False)
            try:
                opened.run_forever(timeout=REQUEST_SECONDS)
                # First this: reading all that was written forgets the channels.
                status = opened.read_channel(ERROR_CHANNEL)
                ended, text = not opened.is_open(), str(opened.read_all())
            finally:
                opened.close()
        if not status:
            how = "ended without a word on how" if ended else f"did not end in {REQUEST_SECONDS:g} s"
            raise ApiAway(f"{what} {how}")
        _check_status(json.loads(status), what)
        return text

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
        as long as patience lasts, when the API does not answer or asks to come later."""
        options = {name: value for name, value in options.items() if value is not None}
        outage = Outage(patience_seconds=self.patience_seconds)
        while True:
            try:
                answer = self._request(method, path, accept=accept, **options)
            except ApiAway as error:
                self._note_away(error)
                pause = outage.pause_after(error)
                if time.monotonic() - (self._away_since or time.monotonic()) >= self.patience_seconds:
                    raise
                time.sleep(max(pause, error.retry_after_seconds))
            except ApiRefused as error:
                if error.status != 403 or time.monotonic() - self._away_last > YOUNG_SECONDS:
                    self._note_there()
                    raise
                time.sleep(outage.pause_after(error))
            else:
                self._note_there()
                return answer

    def _note_away(self, error: ApiAway) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        self._away_last = now
        self.away = str(error)

    def _note_there(self) -> None:
        self.away = self._away_since = None

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
            raise ApiAway(f"{self._what} has ended")
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


def _check_status(status: Object, what: str) -> None:
    """Raises :class:`CommandFailed` unless the status that ends a command says that it went well."""
    if status.get("status") == "Success":
        return
    causes = (status.get("details") or {}).get("causes") or ()
    codes = [str(cause.get("message")) for cause in causes if cause.get("reason") == "ExitCode"]
    exit_code = int(codes[0]) if codes and codes[0].isdecimal() else None
    raise CommandFailed(f"{what} failed: {status.get('message') or status}", exit_code=exit_code)


@contextmanager
def _translated(asked: str) -> Iterator[None]:
    try:
        yield
    except (DynamicApiError, ApiException) as error:
        if error.status in LATER:
            raise ApiAway(
                f"the Kubernetes API can't do it just now ({asked}): {error.status} {_reason(error)}",
                retry_after_seconds=_retry_after(error),
            ) from error
        raise ApiRefused(f"Kubernetes refused {asked}: {_reason(error)}", status=error.status or 0) from error
    except (HTTPError, WebSocketException, OSError) as error:
        raise ApiAway(f"the Kubernetes API does not answer ({asked}): {_root(error)}") from error


def _reason(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return f"{error.status} {error.reason}"


def _retry_after(error: Any) -> float:
    """The seconds that the answer asks to wait, bounded; 0 if it does not."""
    asked = str((error.headers or {}).get("Retry-After", ""))
    return min(float(asked), RETRY_AFTER_MOST_SECONDS) if asked.isdecimal() else 0.0


def _root(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, BaseException) else error)
