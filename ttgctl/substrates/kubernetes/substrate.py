"""Runs on a Kubernetes cluster that is there already, in one namespace, through one kubeconfig context."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ttg_worker.brokers.static.files import StaticFiles
from ttgctl.core.ports import (
    BrokerEndpoint,
    Check,
    Evidence,
    MissingRequirement,
    OwnedResource,
    Say,
    SubstrateError,
    WorkerStatus,
)
from ttgctl.core.records.run_folder import run_folder
from ttgctl.domain.fault_kinds import FAULT_KINDS, FaultKindName
from ttgctl.domain.faults import parse_fault
from ttgctl.domain.run import RunSpec
from ttgctl.substrates import static_shares
from ttgctl.substrates.broker_server import broker_folder
from ttgctl.substrates.kubernetes import labels, lost_pods, manifests, network_cut, pods
from ttgctl.substrates.kubernetes.api import CONTROLLERS, RUN_PATIENCE_SECONDS, ApiRefused, KubeApi
from ttgctl.substrates.kubernetes.broker import ClusterBroker
from ttgctl.substrates.kubernetes.broker_route import HostPath, NoMapping
from ttgctl.substrates.kubernetes.diagnostics import run_diagnostics
from ttgctl.substrates.kubernetes.inventory import inventory, strangers
from ttgctl.substrates.kubernetes.manifests import broker_name, workers_name
from ttgctl.substrates.kubernetes.pod_faults import delete_pod, evidence, kill_pod, signal_pod, stop_pod
from ttgctl.substrates.kubernetes.pod_logs import keep_logs, kept_logs
from ttgctl.substrates.kubernetes.share_sync import ShareSync
from ttgctl.substrates.kubernetes.worker_starts import WorkerStarts
from ttgctl.substrates.polling import until
from ttgctl.substrates.run_storage import delete_stored, stored

STOP_SECONDS: Final = 20.0
DELETE_SECONDS: Final = 90.0
# What controls a run's workers, and how it is told to end them.
WORKER_CONTROLLERS: Final = {"Deployment": {"replicas": 0}, "Job": {"suspend": True}}


class KubernetesSubstrate:
    """Asks for nothing beyond its namespace but that namespace itself, and only where it is missing."""

    name = "context"
    remote = True

    def __init__(
        self,
        *,
        context: str | None = None,
        namespace: str = "ttg",
        broker_url: str | None = None,
        image: str | None = None,
        backend: str | None = None,
    ) -> None:
        """``broker_url`` is a broker that is there already, reachable from here and from the pods;
        ``image`` the workers' image, in a registry that the cluster pulls from; ``backend`` that
        of the runs to come, if known."""
        self.namespace = namespace
        self.context = context
        self._broker_url = broker_url
        self._image = image
        self._backend = backend
        self._connected: KubeApi | None = None
        self._brokers: ClusterBroker | None = None
        self._workers_applied: set[tuple[str, int]] = set()
        # Worker pods of each run as they were seen last.
        self._seen: dict[str, list[dict[str, Any]]] = {}
        # Uids of those that were told their name, also where this user may not tell them.
        self._named: set[str] = set()
        # Pods that went with their controller; deleting one of them afterwards did delete it.
        self._taken_along: set[str] = set()
        self._starts: dict[str, WorkerStarts] = {}
        # What carries the shares of each run that has fixed ones.
        self._relays: dict[str, ShareSync] = {}

    @property
    def kubeconfig(self) -> Path | None:
        """None: where kubectl looks by itself."""
        return None

    @property
    def away(self) -> str | None:
        return None if self._connected is None else self._connected.away

    def preflight(self) -> list[Check]:
        from ttgctl.substrates.kubernetes.checks import context_checks

        return context_checks(
            self.connect, context=self.context, namespace=self.namespace, backend=self._backend
        )

    def ensure(self, say: Say) -> None:
        """Makes sure that the cluster answers, and that it has the namespace."""
        self._worker_image(say)
        self._make_namespace(say)

    def start_broker(self, spec: RunSpec, say: Say) -> BrokerEndpoint:
        if self._broker_url is not None:
            return BrokerEndpoint(host_url=self._broker_url, worker_url=self._broker_url)
        if not spec.has_queue:
            shares = static_shares.StaticShares(run_folder(spec.run_id).path, spec.workers)
            return BrokerEndpoint(host_url=shares.start().url, worker_url=manifests.shares_url(spec))
        self._make_namespace(say)
        # From here on there is a run, which goes on whatever becomes of its control plane.
        self._api.patience_seconds = RUN_PATIENCE_SECONDS
        self._load_broker_image(spec.backend, say)
        return self._broker.start(spec, say)

    def stop_broker(self, spec: RunSpec) -> None:
        if self._has_broker(spec):
            self._broker.stop(spec.run_id)

    def start_workers(self, spec: RunSpec, endpoint: BrokerEndpoint) -> None:
        key = (spec.run_id, spec.workers)
        if key in self._workers_applied:
            self._judge_start(spec.run_id)
            # From here on the Deployment's controller replaces what dies; a Job's does not.
            self._name_workers(spec.run_id)
            self._carry_shares(spec.run_id)
            return
        self._undo_old_faults(spec)
        objects = manifests.worker_objects(
            spec,
            namespace=self.namespace,
            image=self._worker_image(lambda _: None),
            broker_url=endpoint.worker_url,
            input_folder=run_folder(spec.run_id).input,
        )
        for item in objects:
            self._api.apply(item)
        if not spec.has_queue:
            api, files = self._api, StaticFiles(broker_folder(run_folder(spec.run_id).path))
            self._relays[spec.run_id] = ShareSync(
                files,
                lambda pod, argv: api.open_exec(pod, self.namespace, argv),
                pod_folder=manifests.SHARES_FOLDER,
            )
        self._workers_applied.add(key)

    def workers(self, run_id: str) -> list[WorkerStatus]:
        found = self._seen[run_id] = self._worker_pods(run_id)
        return [
            WorkerStatus(
                worker_id=pod["metadata"]["name"],
                uid=pod["metadata"]["uid"],
                running=pods.is_running(pod),
                trouble="" if pods.is_leaving(pod) else pods.what_happened(pod),
                awaited=self._is_awaited(pod, run_id),
                node=pod["spec"].get("nodeName"),
                detail="ending" if pods.is_leaving(pod) else pods.trouble(pod),
                labels=dict(pod["metadata"].get("labels") or {}),
            )
            for pod in found
        ]

    def stop_workers(self, run_id: str) -> None:
        self._workers_applied = {key for key in self._workers_applied if key[0] != run_id}
        keep_logs(self._api, run_id, self._worker_pods(run_id))
        for kind, change in WORKER_CONTROLLERS.items():
            try:
                self._api.patch(kind, workers_name(run_id), self.namespace, {"spec": change})
            except ApiRefused as error:
                if error.status != 404:
                    raise
        try:
            self._await_end_of_workers(run_id)
        finally:
            # Not before: until its end a pod gives what it has.
            relay = self._relays.pop(run_id, None)
            if relay is not None:
                relay.close()

    def kill(self, worker: WorkerStatus) -> Evidence:
        pod = self._pod(worker)
        keep_logs(self._api, pod["metadata"]["labels"][labels.RUN_LABEL], [pod])
        return kill_pod(self._api, pod)

    def why_not(self, kind: FaultKindName) -> str | None:
        if self._backend == "static" and FAULT_KINDS[kind].between_workers:
            return f"{kind}: {static_shares.NO_BROKER}"
        if FAULT_KINDS[kind].target == "broker" and self._broker_url is not None:
            return f"{kind}: the broker of --broker-url is not ttgctl's to stop"
        if FAULT_KINDS[kind].target == "node":
            return "stop-node: only the nodes of a Kind cluster are ttgctl's to stop"
        needed = [("delete", "pods", "", "")] if kind in ("kill-worker", "kill-broker") else []
        if kind in ("kill-worker", "kill-broker", "stop-worker", "slow-worker"):
            needed.append(("create", "pods", "", "exec"))
        if kind == "partition":
            needed += [(*permission, "") for permission in network_cut.PERMISSIONS]
        for verb, resource, group, subresource in needed:
            where = {"namespace": self.namespace, "group": group, "subresource": subresource}
            if not self._api.may(verb, resource, **where):
                what = f"{resource}/{subresource}" if subresource else resource
                return f"{kind}: this user may not {verb} {what} in namespace {self.namespace}"
        return None

    def pause(self, worker: WorkerStatus) -> Evidence:
        return stop_pod(self._api, self._pod(worker))

    def resume(self, worker: WorkerStatus) -> None:
        try:
            pod = self._pod(worker)
        except WorkerGone:
            return
        signal_pod(self._api, pod, "CONT")

    def isolate(self, worker: WorkerStatus) -> Evidence:
        pod = self._pod(worker)
        network_cut.cut_off(self._api, pod)
        return evidence(
            pod,
            method="NetworkPolicy",
            without_effect="the victim never fell silent: the cluster seems not to enforce NetworkPolicies",
        )

    def rejoin(self, worker: WorkerStatus) -> str | None:
        network_cut.let_through(self._api, name=worker.worker_id, namespace=self.namespace, uid=worker.uid)
        return None

    def broker_uid(self, spec: RunSpec) -> str | None:
        return self._broker.uid(spec.run_id) if self._has_broker(spec) else None

    def kill_broker(self, spec: RunSpec) -> Evidence:
        if not self._has_broker(spec):
            raise SubstrateError(str(self.why_not("kill-broker")))
        return self._broker.kill(spec.run_id)

    def logs(self, run_id: str, *, worker_id: str | None = None) -> dict[str, str]:
        found = kept_logs(run_id)
        try:
            found |= self._logs_of_pods(run_id)
        # The cluster may be gone, and what was kept is there still.
        except SubstrateError:
            if not found:
                raise
        return {name: text for name, text in found.items() if worker_id in (None, name)}

    def _logs_of_pods(self, run_id: str) -> dict[str, str]:
        found = {}
        for pod in self._api.list("Pod", self.namespace, selector=labels.selector(run_id=run_id)):
            name = pod["metadata"]["name"]
            if labels.is_ours(pod) and (text := self._api.pod_log(name, self.namespace)):
                found[name] = text
        return found

    def owned(self, run_id: str | None = None) -> list[OwnedResource]:
        return self._stored(run_id) + inventory(self._api, namespace=self.namespace, run_id=run_id)

    def delete(self, resource: OwnedResource) -> bool:
        if resource.kind == "folder":
            return delete_stored(resource)
        if resource.foreign:
            raise SubstrateError(f"{resource.kind} {resource.name} is not ttgctl's; it is left alone")
        if resource.kind == "Namespace":
            others = strangers(self._api, namespace=resource.name)
            if others:
                held = ", ".join(others[:3])
                raise SubstrateError(f"namespace {resource.name} holds {held}; it is left alone")
        if resource.kind in CONTROLLERS and resource.run_id:
            selector = labels.selector(run_id=resource.run_id)
            going = self._api.list("Pod", resource.namespace, selector=selector)
            self._taken_along |= {pod["metadata"]["uid"] for pod in going if labels.is_ours(pod)}
        was_there = self._api.delete(resource.kind, resource.name, resource.namespace, uid=resource.uid)

        def gone() -> bool:
            if not self._is_there(resource):
                return True
            self._let_lost_pods_go(resource.run_id)
            return False

        if not until(gone, seconds=DELETE_SECONDS, every_seconds=0.2):
            raise SubstrateError(
                f"{resource.kind} {resource.name} is still there after {DELETE_SECONDS:g} s; "
                "something holds it (see its finalizers and events)"
            )
        return was_there or resource.uid in self._taken_along

    def password_command(self, run_id: str) -> str:
        flags = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        flags += [f"--context={self.context}"] if self.context else []
        flags += [f"--namespace={self.namespace}"]
        decoded = " ".join(f"{{{{.data.{key} | base64decode}}}}" for key in ("username", "password"))
        return f"kubectl {' '.join(flags)} get secret {broker_name(run_id)} --template='{decoded}'"

    def diagnostics(self, spec: RunSpec) -> dict[str, str]:
        return run_diagnostics(self._api, spec, namespace=self.namespace)

    def connect(self) -> KubeApi:
        """A connection of its own to the cluster; the caller closes it."""
        return KubeApi(kubeconfig=self.kubeconfig, context=self.context)

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()
        if self._brokers is not None:
            self._brokers.close()
            self._brokers = None
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    # What a Kind cluster does differently.

    def _host_path(self) -> HostPath:
        return NoMapping()

    def _nodes_away(self) -> set[str]:
        return lost_pods.nodes_away(self._api)

    def _worker_image(self, say: Say) -> str:
        if self._image is not None:
            return self._image
        if self.context is not None and self.context.startswith("kind-"):
            cluster = self.context.removeprefix("kind-")
            raise MissingRequirement(
                f"no --image was given; {self.context} is a Kind cluster, for which one is built with: "
                f"--substrate kind --cluster {cluster}"
            )
        raise MissingRequirement(
            "no --image was given: the cluster needs the workers' image in a registry that it pulls from; "
            "push the one that --substrate kind builds (ttgctl-worker) and name it with --image"
        )

    def _load_broker_image(self, backend: str, say: Say) -> None:
        """The nodes pull it by themselves."""

    def _is_place_of(self, spec: RunSpec) -> bool:
        placement = spec.placement
        return (placement.context, placement.namespace) == (self.context, self.namespace)

    # What both do.

    @property
    def _api(self) -> KubeApi:
        if self._connected is None:
            self._connected = self.connect()
        return self._connected

    @property
    def _broker(self) -> ClusterBroker:
        if self._brokers is None:
            self._brokers = ClusterBroker(
                self._api, namespace=self.namespace, path=self._host_path(), nodes_away=self._nodes_away
            )
        return self._brokers

    def _make_namespace(self, say: Say) -> None:
        try:
            found = self._api.get("Namespace", self.namespace)
        except ApiRefused as error:
            if error.status == 403:
                # Not ours to look at; if it is missing, the first object in it will say so.
                return
            raise
        if found is not None and "deletionTimestamp" in found["metadata"]:
            say(f"waiting for the end of the old namespace {self.namespace}")
            if not until(lambda: self._api.get("Namespace", self.namespace) is None, seconds=DELETE_SECONDS):
                raise SubstrateError(f"the namespace {self.namespace} is being deleted and does not go away")
            found = None
        if found is None:
            say(f"creating the namespace {self.namespace}")
            self._api.apply(manifests.namespace_object(self.namespace))

    def _undo_old_faults(self, spec: RunSpec) -> None:
        """Ends what a command that was killed left in effect on the run's workers."""
        kinds = {parse_fault(text).kind for text in spec.faults}
        if not kinds & {"stop-worker", "slow-worker", "partition"}:
            return
        for worker in [w for w in self.workers(spec.run_id) if w.running]:
            if "partition" in kinds:
                self.rejoin(worker)
            if kinds & {"stop-worker", "slow-worker"}:
                try:
                    self.resume(worker)
                # Who can't be told to go on is replaced.
                except SubstrateError:
                    self._api.delete("Pod", worker.worker_id, self.namespace, uid=worker.uid, grace_seconds=0)
        if "partition" in kinds:
            network_cut.let_all_through(self._api, namespace=self.namespace, run_id=spec.run_id)

    def _judge_start(self, run_id: str) -> None:
        """Raises when nothing will become of the pods that were seen last, or of their namespace."""
        seen = self._seen.get(run_id)
        if seen is None:
            return
        staying = [pod for pod in seen if not pods.is_leaving(pod)]
        self._starts.setdefault(run_id, WorkerStarts()).judge(staying)
        if not any(pods.is_running(pod) for pod in staying):
            self._check_namespace(run_id)

    def _check_namespace(self, run_id: str) -> None:
        try:
            found = self._api.get("Namespace", self.namespace)
        except ApiRefused:
            # Not ours to look at.
            return
        if found is None or "deletionTimestamp" in found["metadata"]:
            how = "is gone" if found is None else "is being deleted"
            raise SubstrateError(
                f"the namespace {self.namespace} {how}, and what ran in it; what has no result yet is "
                f"computed by: ttgctl resume {run_id}"
            )

    def _name_workers(self, run_id: str) -> None:
        """Labels each worker pod with its own name, which its controller can't know beforehand."""
        for pod in self._seen.get(run_id, ()):
            if labels.WORKER_LABEL in pod["metadata"]["labels"] or pods.is_leaving(pod):
                continue
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            if uid in self._named:
                continue
            body = {"metadata": {"uid": uid, "labels": {labels.WORKER_LABEL: name}}}
            try:
                self._api.patch("Pod", name, self.namespace, body)
            except ApiRefused as error:
                # Gone meanwhile, or this user may not; the label is for people, no work hangs on it.
                if error.status not in (403, 404, 409, 422):
                    raise
            self._named.add(uid)

    def _carry_shares(self, run_id: str) -> None:
        relay, seen = self._relays.get(run_id), self._seen.get(run_id)
        if relay is not None and seen is not None:
            running = [pod["metadata"] for pod in seen if pods.is_running(pod)]
            relay.follow({meta["uid"]: meta["name"] for meta in running})

    def _is_awaited(self, pod: dict[str, Any], run_id: str) -> bool:
        relay = self._relays.get(run_id)
        unheard = relay is not None and not relay.hears(pod["metadata"]["uid"])
        return pods.is_pending(pod) or (unheard and pods.is_running(pod))

    def _has_broker(self, spec: RunSpec) -> bool:
        """Whether the run has a broker of its own here."""
        return spec.has_queue and self._broker_url is None

    def _stored(self, run_id: str | None) -> list[OwnedResource]:
        """The files of fixed shares, which are on this machine."""
        return stored(run_id, belongs=lambda spec: spec.substrate == self.name and self._is_place_of(spec))

    def _let_lost_pods_go(self, run_id: str | None) -> None:
        if run_id is None:
            return
        found = self._api.list("Pod", self.namespace, selector=labels.selector(run_id=run_id))
        lost_pods.let_go(self._api, filter(labels.is_ours, found), away=self._nodes_away)

    def _await_end_of_workers(self, run_id: str) -> None:
        def left() -> list[dict[str, Any]]:
            self._let_lost_pods_go(run_id)
            # A Job keeps its pods that ended by themselves, for their logs; nothing runs in them.
            found = self._worker_pods(run_id)
            return [pod for pod in found if pods.is_leaving(pod) or not pods.has_ended(pod)]

        if until(lambda: not left(), seconds=STOP_SECONDS):
            return
        for pod in left():
            delete_pod(self._api, pod, grace_seconds=0)
        if not until(lambda: not left(), seconds=STOP_SECONDS):
            raise SubstrateError(f"the worker pods of run {run_id} do not end")

    def _worker_pods(self, run_id: str) -> list[dict[str, Any]]:
        selector = labels.selector(run_id=run_id, component="worker")
        return [p for p in self._api.list("Pod", self.namespace, selector=selector) if labels.is_ours(p)]

    def _pod(self, worker: WorkerStatus) -> dict[str, Any]:
        pod = self._api.get("Pod", worker.worker_id, self.namespace)
        if pod is None or pod["metadata"]["uid"] != worker.uid:
            raise WorkerGone(f"worker {worker.worker_id} ({worker.uid}) is gone already")
        return pod

    def _is_there(self, resource: OwnedResource) -> bool:
        found = self._api.get(resource.kind, resource.name, resource.namespace)
        return found is not None and found["metadata"]["uid"] == resource.uid


class WorkerGone(SubstrateError):
    """The very pod that was meant is not there any more."""
