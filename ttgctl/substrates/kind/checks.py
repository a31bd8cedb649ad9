"""Checks of this machine and its Kind cluster before a run, each with the fix."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import docker
import psutil
from docker.errors import ImageNotFound

from ttgctl.core.ports import Check, SubstrateError
from ttgctl.substrates import docker_engine
from ttgctl.substrates.checks import fail, ok, warn
from ttgctl.substrates.kind.cluster import NODE_IMAGE, POOL, KindCluster
from ttgctl.substrates.kubernetes.api import KubeApi
from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer
from ttgctl.substrates.worker_image import ARCHITECTURES

GIB: Final = 1 << 30
OLDEST_ENGINE: Final = (20, 10)
OLDEST_KIND: Final = (0, 20)
# From here on the kubelet refuses to run on a host with cgroup v1.
CGROUP_V2_MINOR: Final = 35
# What Kind's own notes on known issues ask for; fewer can do for small clusters.
INOTIFY_INSTANCES: Final = 512
INOTIFY_WATCHES: Final = 65536
DISK_WARN, DISK_FAIL = 10 * GIB, 3 * GIB
MEMORY_WARN, MEMORY_FAIL = 4 * GIB, 2 * GIB


def kind_checks(cluster: KindCluster) -> list[Check]:
    """What a run on this Kind cluster needs, which need not exist; and, without it, a local run."""
    return [*_of_machine(cluster), _rabbitmq_server()]


def _of_machine(cluster: KindCluster) -> list[Check]:
    found = [_kind()]
    try:
        client = cluster.engine
        with docker_engine.translated("the Docker engine does not tell about itself"):
            info, version = client.info(), str(client.version()["Version"])
    except SubstrateError as error:
        fix = "start it (sudo systemctl start docker, or Docker Desktop), or choose --substrate local"
        return [fail("Docker engine", str(error), fix), *found, _memory(exists=False)]
    found.insert(0, _engine(version, info))
    try:
        found += [_cgroup(cluster.node_image, info), _platform(client, cluster.node_image, info)]
        found += [_disk(info), _memory(exists=cluster.exists()), *_of_cluster(cluster)]
    except SubstrateError as error:
        found.append(fail("cluster", str(error), "see: docker ps -a"))
    return found


def _rabbitmq_server() -> Check:
    missing = RabbitMQServer.problem()
    if missing is None:
        return ok("rabbitmq-server", "found, for runs on --substrate local")
    return warn("rabbitmq-server", "not found; a Kind cluster has its own", missing)


def _kind() -> Check:
    path = shutil.which("kind")
    if path is None:
        fix = (
            "install it (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), "
            "or choose --substrate local"
        )
        return fail("kind", "not on PATH", fix)
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=False).stdout.strip()
    if _numbers(said) < OLDEST_KIND:
        return warn("kind", said or "it does not tell its version", "install 0.20 or newer")
    return ok("kind", said)


def _engine(version: str, info: dict[str, Any]) -> Check:
    detail = f"{version} on {info.get('OperatingSystem', '?')}, {info.get('Architecture', '?')}"
    if _numbers(version) < OLDEST_ENGINE:
        return warn("Docker engine", detail, "install 20.10 or newer")
    return ok("Docker engine", detail)


def _cgroup(node_image: str, info: dict[str, Any]) -> Check:
    host = str(info.get("CgroupVersion", "?"))
    minor = _kubernetes_minor(node_image)
    detail = f"cgroup v{host} and {node_image}"
    if host == "1" and minor is not None and minor >= CGROUP_V2_MINOR:
        fix = f"take --node-image {NODE_IMAGE}, or start this machine with cgroup v2"
        return fail("cgroup", f"{detail}: Kubernetes 1.{CGROUP_V2_MINOR} and newer refuse cgroup v1", fix)
    return ok("cgroup", detail)


def _platform(client: docker.DockerClient, node_image: str, info: dict[str, Any]) -> Check:
    machine = ARCHITECTURES.get(str(info["Architecture"]))
    if machine is None:
        fix = "build the workers' image yourself and name it with --image"
        return fail("image platform", f"no worker image for {info['Architecture']}", fix)
    with docker_engine.translated(f"the Docker engine can't say whether it has {node_image}"):
        try:
            image = client.images.get(node_image)
        except ImageNotFound:
            return ok("image platform", f"linux/{machine}; {node_image} will be pulled")
    built_for = ARCHITECTURES.get(str(image.attrs["Architecture"]), str(image.attrs["Architecture"]))
    if built_for != machine:
        fix = f"docker pull --platform linux/{machine} {node_image}"
        return fail("image platform", f"{node_image} is for {built_for}, this machine is {machine}", fix)
    return ok("image platform", f"linux/{machine}")


def _disk(info: dict[str, Any]) -> Check:
    root = Path(str(info.get("DockerRootDir", "")))
    if not root.is_dir():
        # An engine in a virtual machine has a disk of its own.
        return ok("disk", f"{root} of the engine is not on this machine")
    free = shutil.disk_usage(root).free
    detail = f"{free / GIB:.0f} GiB free at {root}"
    return _by_amount("disk", detail, free, DISK_WARN, DISK_FAIL, fix="make room; see: docker system df")


def _memory(*, exists: bool) -> Check:
    free = psutil.virtual_memory().available
    detail = f"{free / GIB:.1f} GiB available"
    # A cluster that is there has its memory already.
    warn, fail = (GIB, GIB // 2) if exists else (MEMORY_WARN, MEMORY_FAIL)
    return _by_amount("memory", detail, free, warn, fail, fix="close programs, or take fewer --nodes")


def _of_cluster(cluster: KindCluster) -> Iterator[Check]:
    """What can be seen only in a cluster that is there."""
    if not cluster.exists():
        yield ok("cluster", f"{cluster.name} is not there yet; a run creates it")
        yield ok("ports", "the engine chooses free ones of 127.0.0.1 when the cluster is created")
        yield _inotify(Path("/proc/sys/fs/inotify"))
        return
    if not cluster.answers:
        yield ok("cluster", f"{cluster.name} is stopped; a run starts it")
        yield _inotify(Path("/proc/sys/fs/inotify"))
        return
    stopped = cluster.stopped()
    if stopped:
        number = "one node is" if len(stopped) == 1 else f"{len(stopped)} nodes are"
        detail = f"{number} stopped: {', '.join(stopped)}; a run starts them"
        yield warn("nodes", detail, f"docker start {' '.join(stopped)}")
    yield _api(cluster)
    yield _ports(cluster)
    instances, watches = cluster.inotify_limits()
    yield _inotify_limits(instances, watches, where="in the nodes")


def _api(cluster: KindCluster) -> Check:
    try:
        current = cluster.kubeconfig_is_current()
        if not current:
            return warn("kubeconfig", f"{cluster.kubeconfig} is out of date", "nothing: a run writes it anew")
        api = KubeApi(kubeconfig=cluster.kubeconfig, context=cluster.context)
        try:
            version = api.request("get", "/version")["gitVersion"]
            ready = api.request("get", "/api/v1/nodes")["items"]
        finally:
            api.close()
    except SubstrateError as error:
        # A run waits for a cluster that is just being made or started, so this stops none.
        fix = f"wait a moment; if that does not help: kind delete cluster --name {cluster.name}"
        return warn("kubeconfig", str(error), fix)
    return ok("kubeconfig", f"{cluster.kubeconfig}: {cluster.name}, {version}, {len(ready)} nodes")


def _ports(cluster: KindCluster) -> Check:
    mapped = cluster.host_ports()
    if len(mapped) == len(POOL):
        return ok("ports", f"{len(mapped)} node ports are mapped to 127.0.0.1")
    detail = f"{len(mapped)} of {len(POOL)} node ports are mapped to 127.0.0.1; runs use a port-forward"
    fix = f"for the faster way let ttgctl make the cluster: kind delete cluster --name {cluster.name}"
    return warn("ports", detail, fix)


def _inotify(folder: Path) -> Check:
    try:
        instances = int((folder / "max_user_instances").read_text())
        watches = int((folder / "max_user_watches").read_text())
    except (OSError, ValueError):
        return ok("inotify", "the engine's machine is not this one; looked at once the cluster is there")
    return _inotify_limits(instances, watches, where="on this machine")


def _inotify_limits(instances: int, watches: int, *, where: str) -> Check:
    detail = f"{instances} instances, {watches} watches {where}"
    if instances >= INOTIFY_INSTANCES and watches >= INOTIFY_WATCHES:
        return ok("inotify", detail)
    fix = (
        "pods may fail with 'too many open files': "
        f"sudo sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES} fs.inotify.max_user_watches=524288"
    )
    return warn("inotify", detail, fix)


def _by_amount(check: str, detail: str, free: int, warn_below: int, fail_below: int, *, fix: str) -> Check:
    if free < fail_below:
        return fail(check, detail, fix)
    return warn(check, detail, fix) if free < warn_below else ok(check, detail)


def _kubernetes_minor(node_image: str) -> int | None:
    found = re.search(r":v?1\.(\d+)", node_image)
    return int(found[1]) if found else None


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
