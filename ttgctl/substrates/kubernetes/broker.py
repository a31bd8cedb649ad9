"""The broker of a run on a cluster: applied, waited for, stopped, and reached from this machine."""

from __future__ import annotations

import base64
import time
from functools import partial
from typing import Any, Final

from ttgctl.core.ports import BrokerEndpoint, Evidence, Say, SubstrateError
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.broker_probe import answers
from ttgctl.substrates.kubernetes import labels, lost_pods, manifests, pods
from ttgctl.substrates.kubernetes.api import ApiRefused, KubeApi
from ttgctl.substrates.kubernetes.broker_route import HostPath
from ttgctl.substrates.kubernetes.lost_pods import NodesAway
from ttgctl.substrates.kubernetes.manifests import BROKER_PORTS, Credentials, NodePorts, broker_name
from ttgctl.substrates.kubernetes.pod_faults import kill_pod
from ttgctl.substrates.kubernetes.pod_logs import keep_logs
from ttgctl.substrates.kubernetes.port_forward import PortForward
from ttgctl.substrates.polling import until

READY_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
# A crash or a failed pull may be a hiccup; this long it is not.
HOPELESS_SECONDS: Final = 20.0


class ClusterBroker:
    """Brokers of any number of runs in one namespace."""

    def __init__(self, api: KubeApi, *, namespace: str, path: HostPath, nodes_away: NodesAway) -> None:
        self._api = api
        self._nodes_away = nodes_away
        self._namespace = namespace
        self._path = path
        self._tunnels: dict[tuple[str, int], PortForward] = {}

    def start(self, spec: RunSpec, say: Say) -> BrokerEndpoint:
        """Applies the broker, whose password stays what it was, and waits until it answers here."""
        credentials = self._credentials(spec.run_id) or Credentials.random()
        self._apply(spec, credentials)
        say(f"waiting for {spec.backend} in pod {broker_name(spec.run_id)}-0")
        self._await_ready(spec)
        return self._endpoint(spec, credentials)

    def stop(self, run_id: str) -> None:
        """Ends the pod in good order; storage and everything else stay."""
        keep_logs(self._api, run_id, self.pods(run_id))
        try:
            self._api.patch("StatefulSet", broker_name(run_id), self._namespace, {"spec": {"replicas": 0}})
        except ApiRefused as error:
            if error.status != 404:
                raise
        if not until(lambda: not self._left(run_id), seconds=STOP_SECONDS):
            raise SubstrateError(f"the broker of run {run_id} does not end")

    def _left(self, run_id: str) -> list[dict[str, Any]]:
        """Its pods; one on a node that is away, of which nobody will say that it ended, is let go."""
        found = self.pods(run_id)
        lost_pods.let_go(self._api, found, away=self._nodes_away)
        return found

    def kill(self, run_id: str) -> Evidence:
        """SIGKILL; the StatefulSet starts another pod on the same storage."""
        found = self.pods(run_id)
        if not found:
            raise SubstrateError(f"run {run_id} has no broker pod; nothing was killed")
        return kill_pod(self._api, found[0])

    def uid(self, run_id: str) -> str | None:
        """The uid of the broker's pod; None while there is none."""
        found = [pod for pod in self.pods(run_id) if not pods.is_leaving(pod)]
        return str(found[0]["metadata"]["uid"]) if found else None

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        selector = labels.selector(run_id=run_id, component="broker")
        return [p for p in self._api.list("Pod", self._namespace, selector=selector) if labels.is_ours(p)]

    def close(self) -> None:
        """Closes the tunnels; the brokers go on."""
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._tunnels.clear()

    def _credentials(self, run_id: str) -> Credentials | None:
        secret = self._api.get("Secret", broker_name(run_id), self._namespace)
        if secret is None:
            return None
        data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        return Credentials(username=data["username"], password=data["password"])

    def _apply(self, spec: RunSpec, credentials: Credentials) -> None:
        choices: list[NodePorts | None] = [*self._path.choices(**self._node_ports(spec.run_id)), None]
        for node_ports in choices:
            objects = manifests.broker_objects(
                spec,
                namespace=self._namespace,
                credentials=credentials,
                node_ports=node_ports,
                host_networks=self._path.networks(),
            )
            try:
                for item in objects:
                    self._api.apply(item)
                return
            except ApiRefused as error:
                # Another run took the pair between our look and our asking.
                if node_ports is None or "port is already allocated" not in str(error):
                    raise

    def _node_ports(self, run_id: str) -> dict[str, Any]:
        """The node ports that this run's broker has, and all that are taken."""
        own, taken = None, set()
        try:
            services = self._api.list("Service")
        except ApiRefused as error:
            # On a cluster where one may look at one namespace only, what is taken shows when asked for.
            if error.status != 403:
                raise
            services = self._api.list("Service", self._namespace)
        for service in services:
            ports = [p["nodePort"] for p in service["spec"].get("ports") or () if p.get("nodePort")]
            meta = service["metadata"]
            if ports and (meta["namespace"], meta["name"]) == (self._namespace, broker_name(run_id)):
                own = NodePorts(broker=min(ports), management=min(ports) + 1)
            taken.update(ports)
        return {"own": own, "taken": taken}

    def _await_ready(self, spec: RunSpec) -> None:
        hopeless_since: float | None = None

        def ready() -> bool:
            nonlocal hopeless_since
            found = self.pods(spec.run_id)
            stuck = [pods.trouble(pod) for pod in found if pods.is_hopeless(pod)]
            if not stuck:
                hopeless_since = None
            elif hopeless_since is None:
                hopeless_since = time.monotonic()
            elif time.monotonic() - hopeless_since > HOPELESS_SECONDS:
                raise SubstrateError(f"{spec.backend} can't start: {stuck[0]}")
            return any(pods.is_ready(pod) for pod in found)

        if not until(ready, seconds=READY_SECONDS):
            found = [pods.trouble(pod) or "it does not answer" for pod in self.pods(spec.run_id)]
            why = "; ".join(found) or "it has no pod"
            raise SubstrateError(f"{spec.backend} is not ready after {READY_SECONDS:g} s: {why}")

    def _endpoint(self, spec: RunSpec, credentials: Credentials) -> BrokerEndpoint:
        local = self._local_port(spec.run_id, BROKER_PORTS[spec.backend])
        if not until(lambda: answers("127.0.0.1", local, spec.backend), seconds=30):
            raise SubstrateError(f"{spec.backend} runs, but does not answer at 127.0.0.1:{local}")
        management = None
        if spec.backend == "rabbitmq":
            management = f"http://127.0.0.1:{self._local_port(spec.run_id, manifests.MANAGEMENT_PORT)}"
        return BrokerEndpoint(
            host_url=manifests.broker_url(spec.backend, credentials, address=f"127.0.0.1:{local}"),
            worker_url=manifests.worker_url(spec, namespace=self._namespace, credentials=credentials),
            management_url=management,
        )

    def _local_port(self, run_id: str, remote_port: int) -> int:
        """A port of 127.0.0.1 that leads to this port of the run's broker."""
        service = self._api.get("Service", broker_name(run_id), self._namespace)
        for port in service["spec"]["ports"] if service else ():
            if port["port"] == remote_port and port.get("nodePort"):
                mapped = self._path.host_port(port["nodePort"])
                if mapped is not None:
                    return mapped
        key = (run_id, remote_port)
        if key not in self._tunnels:
            connect = partial(self._connect, run_id, remote_port)
            self._tunnels[key] = PortForward(connect, name=f"{run_id}-{remote_port}")
        return self._tunnels[key].port

    def _connect(self, run_id: str, port: int) -> Any:
        """A socket to a port of the broker's pod of the moment."""
        for pod in self.pods(run_id):
            if pods.is_ready(pod):
                return self._api.open_port(pod["metadata"]["name"], self._namespace, port)
        raise SubstrateError(f"the broker of run {run_id} has no ready pod")
