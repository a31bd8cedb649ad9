"""Runs on a Kind cluster of this machine: the same as any Kubernetes, and the cluster with it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from ttgctl.core.ports import Check, Evidence, OwnedResource, Say, SubstrateError, WorkerStatus
from ttgctl.domain.fault_kinds import FAULT_KINDS, FaultKindName
from ttgctl.domain.run import RunSpec
from ttgctl.substrates import worker_image
from ttgctl.substrates.kind.cluster import NODE_IMAGE, KindCluster
from ttgctl.substrates.kind.node_ports import MappedPorts
from ttgctl.substrates.kubernetes import manifests
from ttgctl.substrates.kubernetes.api import KubeApi
from ttgctl.substrates.kubernetes.broker_route import HostPath
from ttgctl.substrates.kubernetes.lost_pods import is_ready
from ttgctl.substrates.kubernetes.pod_faults import evidence
from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate
from ttgctl.substrates.polling import until

READY_SECONDS: Final = 120.0


class KindSubstrate(KubernetesSubstrate):
    """Creates or reuses the cluster, builds the worker image and loads what the nodes need."""

    name = "kind"

    def __init__(
        self,
        *,
        cluster: str = "ttg-sandbox",
        nodes: int = 3,
        node_image: str | None = None,
        image: str | None = None,
        namespace: str = "ttg",
        broker_url: str | None = None,
        backend: str | None = None,
    ) -> None:
        """``nodes`` counts the workers' nodes; one control plane comes on top.

        ``backend`` is that of the runs to come, if known: its image is loaded with the workers'.
        """
        super().__init__(
            context=f"kind-{cluster}",
            namespace=namespace,
            image=image,
            broker_url=broker_url,
            backend=backend,
        )
        self._cluster = KindCluster(cluster, workers=nodes, node_image=node_image or NODE_IMAGE)

    @property
    def kubeconfig(self) -> Path:
        return self._cluster.kubeconfig

    @property
    def cluster(self) -> KindCluster:
        return self._cluster

    def preflight(self) -> list[Check]:
        from ttgctl.substrates.kind.checks import kind_checks

        return kind_checks(self._cluster)

    def ensure(self, say: Say) -> None:
        with self._cluster.locked(), ThreadPoolExecutor(1) as pool:
            # Building needs no cluster, so it goes on beside the creation of one.
            image = pool.submit(self._build, say)
            if not self._cluster.exists():
                self._cluster.create(say)
            elif self._cluster.stopped():
                self._cluster.start(say)
            self._await_cluster(say)
            self._image = image.result()
            self._load([self._image, *self._broker_images()], say)
        self._make_namespace(say)
        say(f"to look at it: kubectl --kubeconfig {self.kubeconfig} --namespace {self.namespace} get pods")

    def owned(self, run_id: str | None = None) -> list[OwnedResource]:
        if not self._cluster.exists():
            return self._stored(run_id)
        if not self._cluster.answers:
            stopped = self._cluster.stopped()
            raise SubstrateError(
                f"the cluster {self._cluster.name} is stopped, so what is in it can't be seen; "
                f"start it with: docker start {' '.join(stopped)}"
            )
        return super().owned(run_id)

    def why_not(self, kind: FaultKindName) -> str | None:
        # Nodes and network of a Kind cluster are ours; but fixed shares have nobody to be cut off from.
        if FAULT_KINDS[kind].target == "node" or (kind == "partition" and self._backend != "static"):
            return None
        return super().why_not(kind)

    def isolate(self, worker: WorkerStatus) -> Evidence:
        # Not by a NetworkPolicy: this cuts established connections as well, and whether or not the
        # cluster's network plugin enforces policies.
        pod = self._pod(worker)
        node = pod["spec"]["nodeName"]
        self._cluster.cut_off(node=node, address=pod["status"]["podIP"], mark=worker.uid)
        return evidence(pod, method=f"packets dropped on node {node}")

    def rejoin(self, worker: WorkerStatus) -> str | None:
        if worker.node is None:
            return None
        dropped = self._cluster.let_through(node=worker.node, mark=worker.uid)
        return f"{dropped:,} packet{'' if dropped == 1 else 's'} dropped" if dropped else None

    def stop_node(self, node: str) -> Evidence:
        container = self._cluster.node(node)
        self._cluster.kill_node(container)
        at = time.time()
        exited = self._cluster.has_exited(container)
        return Evidence(
            victim=node,
            uid=str(container.id),
            at=at,
            method="container killed",
            node=node,
            effect="container exited" if exited else None,
        )

    def start_node(self, node: str) -> None:
        self._cluster.start_node(self._cluster.node(node))
        if not until(lambda: self._ready(node), seconds=READY_SECONDS):
            raise SubstrateError(f"node {node} is not ready again after {READY_SECONDS:g} s")

    def connect(self) -> KubeApi:
        if not self._cluster.exists():
            raise SubstrateError(
                f"there is no Kind cluster {self._cluster.name}; make one with: ttgctl demo --substrate kind"
            )
        if not self._cluster.kubeconfig_is_current():
            self._cluster.write_kubeconfig()
        return super().connect()

    def close(self) -> None:
        super().close()
        self._cluster.close()

    def _host_path(self) -> HostPath:
        return MappedPorts(self._cluster)

    def _nodes_away(self) -> set[str]:
        # What has become of a node's container is known before the cluster itself has noticed.
        return super()._nodes_away() | set(self._cluster.stopped())

    def _is_place_of(self, spec: RunSpec) -> bool:
        placement = spec.placement
        return (placement.cluster, placement.namespace) == (self._cluster.name, self.namespace)

    def _broker_images(self) -> list[str]:
        image = manifests.BROKER_IMAGES.get(self._backend or "")
        return [image] if image and self._broker_url is None else []

    def _build(self, say: Say) -> str:
        return self._image or worker_image.ensure_image(self._cluster.engine, say)

    def _worker_image(self, say: Say) -> str:
        if self._image is None:
            self._image = self._build(say)
            with self._cluster.locked():
                self._load([self._image], say)
        return self._image

    def _load_broker_image(self, backend: str, say: Say) -> None:
        with self._cluster.locked():
            self._load([manifests.BROKER_IMAGES[backend]], say)

    def _load(self, images: list[str], say: Say) -> None:
        """Gives the nodes those images that this machine's engine has; others are theirs to pull."""
        here = [image for image in images if self._cluster.engine_has(image)]
        try:
            self._cluster.load_images(here, say)
        except SubstrateError as error:
            built = [image for image in here if image.startswith(f"{worker_image.REPOSITORY}:")]
            if not built:
                # An engine that keeps images of many platforms can't always hand one on.
                say(f"{error}; the nodes pull it themselves")
                return
            self._cluster.load_images(built, say)

    def _await_cluster(self, say: Say) -> None:
        """Waits for the API, every node, and the cluster's DNS."""
        missing = ""

        def complete() -> bool:
            nonlocal missing
            now = self._missing()
            if now and now != missing:
                say(f"waiting for {now} of cluster {self._cluster.name}")
            missing = now
            return not missing

        if not until(complete, seconds=READY_SECONDS, every_seconds=0.3):
            raise SubstrateError(
                f"the cluster {self._cluster.name} has no {missing} after {READY_SECONDS:g} s; look at it "
                "with kubectl, or, if nothing in it matters, delete it with: "
                f"kind delete cluster --name {self._cluster.name}"
            )

    def _missing(self) -> str:
        try:
            nodes = self._api.list("Node")
            dns = self._api.get("Deployment", "coredns", "kube-system")
        except SubstrateError:
            # Not up yet, or up at another port than before.
            super().close()
            return "API server"
        unready = [node["metadata"]["name"] for node in nodes if not is_ready(node)]
        if unready:
            return f"ready node {unready[0]}"
        if len(nodes) < len(self._cluster.nodes()):
            return f"{len(self._cluster.nodes()) - len(nodes)} more nodes"
        if dns is not None and not dns["status"].get("availableReplicas"):
            return "DNS (CoreDNS)"
        return ""

    def _ready(self, node: str) -> bool:
        found = self._api.get("Node", node)
        return found is not None and is_ready(found)
