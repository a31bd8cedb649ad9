"""A Kind cluster: created, found again, started again, given images. It is never deleted here."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import docker
import yaml
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from ttgctl.core.ports import MissingRequirement, Say, SubstrateError
from ttgctl.core.records.run_folder import state_folder
from ttgctl.substrates import docker_engine
from ttgctl.substrates.polling import until

CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
ROLE_LABEL: Final = "io.x-k8s.kind.role"
# The newest whose kubelet runs on cgroup v1 hosts too.
NODE_IMAGE: Final = "kindest/node:v1.34.4"
# Node ports that are mapped to this machine. The first 86 of a cluster's node ports are those that
# Kubernetes keeps for services that ask for one by number.
POOL: Final = tuple(range(30000, 30016))
# Packets are let through again after this long even if whoever cut them off died.
CUT_SECONDS_MOST: Final = 900
# The engine has said that it killed the node's first process; the rest goes with it.
EXIT_SECONDS: Final = 10.0


class KindCluster:
    """One cluster by name. Its kubeconfig is a file of its own under the state directory."""

    def __init__(self, name: str, *, workers: int, node_image: str) -> None:
        self.name = name
        self.workers = workers
        self.node_image = node_image
        self.kubeconfig: Path = state_folder() / f"kubeconfig-{name}"
        self.context = f"kind-{name}"
        self._engine: docker.DockerClient | None = None

    @property
    def engine(self) -> docker.DockerClient:
        if self._engine is None:
            self._engine = docker_engine.connect()
        return self._engine

    def nodes(self) -> list[Container]:
        """The containers that are this cluster's nodes, control planes first, stopped ones too."""
        with docker_engine.translated(f"the nodes of cluster {self.name} can't be listed"):
            # One that is being made or removed at this moment may be gone at the second look.
            found = self.engine.containers.list(
                all=True, filters={"label": f"{CLUSTER_LABEL}={self.name}"}, ignore_removed=True
            )
        nodes = [node for node in found if node.labels.get(ROLE_LABEL) in ("control-plane", "worker")]
        return sorted(nodes, key=lambda node: (node.labels[ROLE_LABEL], node.name))

    def node(self, name: str) -> Container:
        """The worker node of that name; the control plane is nobody's victim."""
        for node in self.nodes():
            if node.name == name and node.labels[ROLE_LABEL] == "worker":
                return node
        raise SubstrateError(f"{name} is no worker node of cluster {self.name}")

    def addresses(self) -> list[str]:
        """The addresses that nodes have, and those with which this machine comes to them."""
        found: set[str] = set()
        for node in self.nodes():
            for network in node.attrs["NetworkSettings"]["Networks"].values():
                # A connection from the host carries the bridge's address until a node rewrites it.
                found |= {network.get(key, "") for key in ("IPAddress", "Gateway", "GlobalIPv6Address")}
        return sorted(found - {""})

    def exists(self) -> bool:
        return bool(self.nodes())

    def stopped(self) -> list[str]:
        """The names of nodes whose container does not run."""
        return [str(node.name) for node in self.nodes() if node.status != "running"]

    @property
    def answers(self) -> bool:
        """Whether its control plane's container runs, without which nothing can be seen of the cluster."""
        return any(
            node.status == "running" for node in self.nodes() if node.labels[ROLE_LABEL] == "control-plane"
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command of this user at a time creates, starts or fills the cluster; others wait here."""
        # Not under the state directory: the cluster is the machine's, whichever directory a command uses.
        with (Path(gettempdir()) / f"ttgctl-{os.getuid()}-kind-{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def create(self, say: Say) -> None:
        """Creates it; raises :class:`SubstrateError` with Kind's own last line when that fails."""
        self._refuse_namesake()
        nodes = f"a control plane and {self.workers} workers"
        say(f"creating the Kind cluster {self.name}: {nodes}, {self.node_image}")
        argv = [kind_program(), "create", "cluster", "--name", self.name, "--image", self.node_image]
        argv += ["--kubeconfig", str(self.kubeconfig), "--config", "-"]
        # A session of its own: Ctrl-C must not leave half a cluster that nobody can use.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(self._config())
        process.stdin.close()
        lines = []
        for line in process.stderr:
            lines.append(line.strip())
            if line.strip().startswith("✓"):
                say(f"cluster {self.name}: {_phase(line)}")
        if process.wait() != 0:
            raise SubstrateError(f"kind could not create the cluster {self.name}: {_reason(lines)}")
        self.kubeconfig.chmod(0o600)

    def start(self, say: Say) -> None:
        """Starts the nodes that stopped, the control plane first; the API needs some seconds then."""
        stopped = [node for node in self.nodes() if node.status != "running"]
        if stopped:
            say(f"starting {len(stopped)} stopped nodes of cluster {self.name}")
        for node in stopped:
            # In order of their names, so that each gets the address it had.
            with docker_engine.translated(f"node {node.name} does not start"):
                node.unpause() if node.status == "paused" else node.start()

    def kill_node(self, node: Container) -> None:
        """As a power cut would."""
        with docker_engine.translated(f"node {node.name} can't be stopped"):
            node.kill()

    def has_exited(self, node: Container) -> bool:
        """Whether a node that was killed is seen to have exited; waits for it, and raises nothing."""

        def exited() -> bool:
            node.reload()
            return bool(node.status == "exited")

        try:
            with docker_engine.translated(f"the state of node {node.name} can't be seen"):
                return until(exited, seconds=EXIT_SECONDS)
        # It was killed all the same, and whoever did that must undo it.
        except SubstrateError:
            return False

    def start_node(self, node: Container) -> None:
        """Fine when it runs."""
        with docker_engine.translated(f"node {node.name} does not start"):
            node.start()

    def cut_off(self, *, node: str, address: str, mark: str) -> None:
        """Drops all packets from and to a pod's address, on its node. ``mark`` names the cut."""
        rules = [f"FORWARD -{side} {address} -m comment --comment {mark} -j DROP" for side in "sd"]
        insert = "; ".join(f"iptables -w -I {rule}" for rule in rules)
        delete = "; ".join(f"iptables -w -D {rule}" for rule in rules)
        # The address will be another pod's one day: a cut must not outlive who made it for long.
        guard = f"setsid sh -c 'sleep {CUT_SECONDS_MOST}; {delete}' >/dev/null 2>&1 &"
        try:
            self._run_in_node(self.node(node), f"set -e; {insert}; {guard}")
        except SubstrateError:
            # Half a cut would stay for good: nobody undoes what did not happen.
            with suppress(SubstrateError):
                self.let_through(node=node, mark=mark)
            raise

    def let_through(self, *, node: str, mark: str) -> int:
        """Undoes :meth:`cut_off`; fine where there is no such cut, or no such node any more.

        Returns the number of packets that it dropped.
        """
        if node not in [each.name for each in self.nodes() if each.status == "running"]:
            return 0
        counted = f"iptables -w -nvxL FORWARD | grep -e '/[*] {mark} [*]/'"
        rules = f"iptables -w -S FORWARD | grep -e '--comment {mark}' | sed 's/^-A/-D/'"
        undone = f"{rules} | while read -r rule; do iptables -w $rule; done"
        said = self._run_in_node(self.node(node), f"{counted}; {undone}")
        # A line begins with the numbers of packets and of bytes.
        return sum(int(line.split()[0]) for line in said.splitlines())

    def inotify_limits(self) -> tuple[int, int]:
        """``(instances, watches)`` that one user may have in a node."""
        folder = "/proc/sys/fs/inotify"
        said = self._run_in_node(
            self.nodes()[0], f"cat {folder}/max_user_instances {folder}/max_user_watches"
        ).split()
        return int(said[0]), int(said[1])

    def write_kubeconfig(self) -> None:
        """Writes the kubeconfig anew, whatever the one there says."""
        text = self._kind("get", "kubeconfig", "--name", self.name)
        part = self.kubeconfig.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(text)
        part.replace(self.kubeconfig)

    def kubeconfig_is_current(self) -> bool:
        """Whether the kubeconfig names the port at which this cluster's API answers now."""
        if not self.kubeconfig.is_file():
            return False
        servers = yaml.safe_load(self.kubeconfig.read_text())["clusters"]
        address = servers[0]["cluster"]["server"] if servers else ""
        return any(str(address).endswith(f":{port}") for port in self._published().get(6443, ()))

    def host_ports(self) -> dict[int, int]:
        """Node port to host port, for the pool; they change when the control plane restarts."""
        published = self._published()
        return {port: published[port][0] for port in POOL if published.get(port)}

    def missing_images(self, names: Sequence[str]) -> list[str]:
        """Those that at least one node does not have."""

        def on(node: Container) -> set[str]:
            return set(self._run_in_node(node, "ctr --namespace=k8s.io images list --quiet").split())

        nodes = self.nodes()
        with ThreadPoolExecutor(len(nodes) or 1) as pool:
            everywhere = set.intersection(*pool.map(on, nodes))
        return [name for name in names if _full_name(name) not in everywhere]

    def load_images(self, names: Sequence[str], say: Say) -> None:
        """Copies images from the engine into all nodes at once; does nothing where they are there."""
        missing = self.missing_images(names) if names else []
        if missing:
            say(f"loading {', '.join(missing)} into the nodes of {self.name}")
            self._kind("load", "docker-image", *missing, "--name", self.name)

    def engine_has(self, image: str) -> bool:
        with docker_engine.translated(f"the Docker engine can't say whether it has {image}"):
            try:
                self.engine.images.get(image)
            except ImageNotFound:
                return False
            return True

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _kind(self, *arguments: str) -> str:
        done = subprocess.run([kind_program(), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SubstrateError(f"kind {' '.join(arguments)} failed: {_reason(done.stderr.splitlines())}")
        return done.stdout

    def _run_in_node(self, node: Container, script: str) -> str:
        with docker_engine.translated(f"node {node.name} can't be reached"):
            code, output = node.exec_run(["sh", "-c", script])
        said = bytes(output or b"").decode(errors="replace")  # type: ignore[arg-type]
        if code != 0:
            raise SubstrateError(f"node {node.name} refused: {said.strip()}")
        return said

    def _refuse_namesake(self) -> None:
        name = f"{self.name}-control-plane"
        with docker_engine.translated(f"the Docker engine can't say whether {name} is there"):
            try:
                self.engine.containers.get(name)
            except NotFound:
                return
        raise SubstrateError(
            f"a container {name} is there and is no node of a Kind cluster; "
            "rename it, or choose another name with --cluster"
        )

    def _published(self) -> dict[int, list[int]]:
        """Container port to the host ports of 127.0.0.1 behind which it answers now."""
        found: dict[int, list[int]] = {}
        nodes = self.nodes()
        for node in nodes:
            if node.labels[ROLE_LABEL] != "control-plane" and len(nodes) > 1:
                continue
            ports = node.attrs["NetworkSettings"]["Ports"] or {}
            for key, bindings in ports.items():
                for binding in bindings or ():
                    found.setdefault(int(key.split("/")[0]), []).append(int(binding["HostPort"]))
        return found

    def _config(self) -> str:
        # Host port -1: the engine chooses at every start, so no other program can be in the way.
        mappings = [{"containerPort": port, "listenAddress": "127.0.0.1", "hostPort": -1} for port in POOL]
        nodes = [{"role": "control-plane", "extraPortMappings": mappings}]
        nodes += [{"role": "worker"} for _ in range(self.workers)]
        return json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes})


def kind_program() -> str:
    """The path of ``kind``; :class:`MissingRequirement` says how to get it."""
    path = shutil.which("kind")
    if path is None:
        raise MissingRequirement(
            "kind is not on PATH; install it (https://kind.sigs.k8s.io/docs/user/quick-start/#installation) "
            "or choose --substrate local"
        )
    return path


def _reason(lines: Sequence[str]) -> str:
    """What Kind gives as the reason: its line that begins with ERROR, else its last."""
    said = [line.strip() for line in lines if line.strip()]
    error = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "no message")
    return error.removeprefix("ERROR: ")


def _phase(line: str) -> str:
    words = line.strip().lstrip("✓ ").split()
    return " ".join(word for word in words if word.isascii()).rstrip(". ").lower()


def _full_name(image: str) -> str:
    """The image's name as containerd spells it: with registry, namespace and tag."""
    first, _, rest = image.partition("/")
    if not rest:
        name = f"docker.io/library/{image}"
    elif "." in first or ":" in first or first == "localhost":
        name = image
    else:
        name = f"docker.io/{image}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
