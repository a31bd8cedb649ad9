"""The installed command on a real Kind cluster, which is made if there is none, and kept."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ttgctl.substrates.kind.substrate import KindSubstrate

CLUSTER = "ttg-sandbox"
BACKENDS = ("rabbitmq", "redis")
# The longest that a whole small run may take on a busy machine of two cores.
RUN_SECONDS = 150.0
# What kubectl says where an API server is only coming up, and how long that may take.
BROKEN_OFF = ("connection reset", "connection refused", ": EOF")
RECONNECT_SECONDS = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            # One process has the cluster, in which a test may stop nodes, to itself; the others do the rest.
            item.add_marker(pytest.mark.xdist_group("cluster"))
            item.add_marker(pytest.mark.timeout(400))


class Cluster:
    """The cluster as anybody sees it who has kubectl and knows nothing of ttgctl."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.context = f"kind-{name}"
        self.kubeconfig = folder / f"kubeconfig-{name}"
        written = subprocess.run(
            ["kind", "get", "kubeconfig", "--name", name], check=True, capture_output=True, text=True
        )
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(written.stdout)

    def kubectl(
        self, *arguments: str, given: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Asks again for a while where the API server breaks off, as after a test that killed it."""
        until = time.monotonic() + RECONNECT_SECONDS
        while True:
            done = subprocess.run(
                ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
                input=given,
                capture_output=True,
                text=True,
                check=False,
            )
            if not any(words in done.stderr for words in BROKEN_OFF) or time.monotonic() > until:
                break
            time.sleep(1.0)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def objects(self, kind: str, namespace: str, **labels: str) -> list[dict[str, Any]]:
        """By their labels, of which the names are given without ``ttg.io/`` and with ``_`` for ``-``."""
        selector = ",".join(f"ttg.io/{name.replace('_', '-')}={value}" for name, value in labels.items())
        words = ["get", kind, "-n", namespace, "-o", "json", *(["-l", selector] if selector else [])]
        found: list[dict[str, Any]] = json.loads(self.kubectl(*words).stdout)["items"]
        return found

    def uids(self, namespace: str, run_id: str | None = None) -> set[str]:
        """Of all objects of a run, or of all that are in the namespace."""
        kinds = "deploy,sts,job,pod,svc,netpol,cm,secret,pvc"
        labels = {} if run_id is None else {"run_id": run_id}
        return {item["metadata"]["uid"] for item in self.objects(kinds, namespace, **labels)}

    def namespace_exists(self, namespace: str) -> bool:
        words = ["get", "namespace", namespace, "--ignore-not-found", "-o", "name"]
        return bool(self.kubectl(*words).stdout.strip())

    def password(self, namespace: str, run_id: str) -> str:
        words = ["get", "secret", f"ttg-{run_id}-broker", "-n", namespace]
        return self.kubectl(*words, "--template={{.data.password | base64decode}}").stdout

    def create(self, namespace: str, manifest: dict[str, Any]) -> str:
        """The uid of what was made."""
        text = json.dumps(manifest)
        done = self.kubectl("create", "-n", namespace, "-f", "-", "-o", "json", given=text)
        return str(json.loads(done.stdout)["metadata"]["uid"])


@pytest.fixture(scope="session")
def cluster(kind_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Up, with the images of workers and brokers in its nodes: a run by --context loads none there."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        for backend in BACKENDS:
            substrate = KindSubstrate(cluster=CLUSTER, namespace="default", backend=backend)
            substrate.ensure(lambda line: print(line, file=sys.stderr))
            substrate.close()
    return Cluster(CLUSTER, folder)


@pytest.fixture(scope="session")
def namespace(cluster: Cluster) -> Iterator[str]:
    """Of all tests that only run something; whatever they leave in it goes with it."""
    name = f"ttg-e2e-{secrets.token_hex(3)}"
    yield name
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def _users_own_kubeconfig(folder: Path) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: production\n"
        "contexts: [{name: production, context: {cluster: production, user: me}}]\n"
        "clusters: [{name: production, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: me, user: {}}]\n"
    )
    return path


def _recording_browser(folder: Path) -> Path:
    """Writes what it is to open into the file ``opened``."""
    path = folder / "browser"
    path.write_text(f'#!/bin/sh\necho "$1" >> "{folder}/opened"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this module's runs are kept, its working folder, with a user's kubeconfig and browser."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        for name in ("TTGCTL_BROKER_URL", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        # Python's readline sets it for children of pytest, where no os.environ shows it.
        patch.setenv("COLUMNS", "300")
        patch.setenv("KUBECONFIG", str(_users_own_kubeconfig(folder)))
        patch.setenv("BROWSER", str(_recording_browser(folder)))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def on_kind(home: Path, command_line: type[Any]) -> Iterator[Any]:
    """The command; its runs of this module share one state directory."""
    command = command_line(home)
    yield command
    command.close()


@pytest.fixture(scope="session")
def demo(namespace: str) -> Callable[..., list[str]]:
    """Arguments of a small run on the cluster: 40 chunks of 0.2 s."""

    def arguments(*flags: str, backend: str, **changes: Any) -> list[str]:
        options = {
            "substrate": "kind",
            "cluster": CLUSTER,
            "namespace": namespace,
            "backend": backend,
            "parameters_total": 40,
            "chunk_size": 1,
            "work_ms": 200,
            "output": "json",
            **changes,
        }
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
        return ["demo", *[word for pair in pairs for word in pair], *flags]

    return arguments


@pytest.fixture(scope="session")
def new_name() -> Callable[[str], str]:
    def name(kind: str) -> str:
        return f"{kind}-{secrets.token_hex(3)}"

    return name


@pytest.fixture(scope="session")
def credentials() -> Callable[[str], tuple[str, str]]:
    """User and password by the command that ttgctl's lines of status name."""

    def by_command(said: str) -> tuple[str, str]:
        (line,) = [line for line in said.splitlines() if "user and password: " in line]
        command = line.partition("user and password: ")[2]
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        user, password = done.stdout.split()
        return user, password

    return by_command
