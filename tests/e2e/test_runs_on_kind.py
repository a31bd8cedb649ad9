"""Whole runs on a Kind cluster: side by side, watched, with a worker killed, with the broker lost."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import tarfile
import urllib.error
import urllib.request

import pytest

BACKENDS = ("rabbitmq", "redis")
RUN_SECONDS = 150.0


def lossless(done, *, chunks=40):
    assert done.code == 0, done.err
    verdict = done.verdict
    account = verdict["chunks"]
    assert verdict["lossless"] is True
    assert (account["attempted"], account["acknowledged"], account["ok"]) == (chunks, chunks, chunks)
    assert (account["lost"], account["conflicting"], account["dead_lettered"]) == (0, 0, 0)
    assert verdict["checksum"] == verdict["checksum_expected"]
    assert verdict["queues_after"]["ttg.tasks"] == 0
    return verdict


@pytest.fixture(scope="module")
def plain(on_kind, demo, new_name, until):
    """A run of each backend at once, each watched from another process."""
    names = {backend: new_name("plain") for backend in BACKENDS}
    running = {b: on_kind.start(*demo(backend=b, name=names[b])) for b in BACKENDS}
    for name in names.values():
        until(lambda name=name: on_kind.folder(name).run_json.exists())
    monitors = {b: on_kind.start("monitor", names[b], "--output", "ndjson") for b in BACKENDS}
    return {b: (names[b], running[b].wait(within_seconds=RUN_SECONDS), monitors[b].wait()) for b in BACKENDS}


class TestTwoRunsAtOnce:
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_are_both_lossless_and_leave_nothing(self, plain, cluster, namespace, backend):
        run_id, done, _ = plain[backend]
        verdict = lossless(done)
        assert (verdict["run_id"], verdict["backend"], verdict["substrate"]) == (run_id, backend, "kind")
        assert verdict["faults"] == []
        assert cluster.uids(namespace, run_id) == set()

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_are_seen_by_a_monitor_that_ends_with_them(self, plain, on_kind, backend):
        run_id, _done, monitor = plain[backend]
        assert monitor.code == 0, monitor.err
        seen = [json.loads(line) for line in monitor.out.splitlines()]
        written = [json.loads(line) for line in on_kind.folder(run_id).events.read_text().splitlines()]
        assert seen == written
        assert seen[-1]["verdict"]["run_id"] == run_id

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_say_how_to_look_at_them_with_kubectl(self, plain, namespace, backend):
        _, done, _ = plain[backend]
        assert "kubectl --kubeconfig " in done.err
        assert f"--namespace {namespace} get pods" in done.err


@pytest.fixture(scope="module")
def killed(on_kind, demo, new_name):
    """A run of each backend that had a worker killed, with all that it made still there."""
    names = {backend: new_name("kill") for backend in BACKENDS}
    # One after the other: how fast a worker is replaced is judged below.
    yield {
        backend: (
            name,
            on_kind(
                # Long enough for a pod to be replaced while there is work, also where all else is slow.
                *demo("--fault-demo", "--keep", backend=backend, name=name, monitor="web", work_ms=1500),
                within_seconds=RUN_SECONDS,
            ),
        )
        for backend, name in names.items()
    }
    for name in names.values():
        removed = on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS)
        assert removed.code == 0, removed.err


@pytest.mark.parametrize("backend", BACKENDS)
class TestARunWithAWorkerKilled:
    def test_is_lossless_and_has_the_evidence(self, killed, on_kind, backend):
        run_id, done = killed[backend]
        verdict = lossless(done)
        (fault,) = verdict["faults"]
        assert fault["kind"] == "kill-worker"
        assert fault["victim"].startswith(f"ttg-{run_id}-worker-")
        assert fault["node"].startswith("ttg-sandbox-worker")
        assert len(fault["uid"]) == 36
        assert fault["chunks_held"]
        assert verdict["chunks"]["recovered"] >= 1
        assert 0 <= fault["redelivered_seconds"] < 30
        assert 0 < fault["replaced_seconds"] < 30
        at = [e.snapshot.accounted for e in on_kind.events(run_id) if hasattr(e, "snapshot")]
        assert max(at) == 40

    def test_keeps_its_pods_restricted(self, killed, cluster, namespace, backend):
        run_id, _ = killed[backend]
        pods = cluster.objects("pods", namespace, run_id=run_id)
        assert pods
        templates = [
            item["spec"]["template"]["spec"] for item in cluster.objects("deploy", namespace, run_id=run_id)
        ]
        for spec in [pod["spec"] for pod in pods] + templates:
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not any("projected" in v and "serviceAccountToken" in str(v) for v in spec["volumes"])
            for container in spec["containers"]:
                security = container["securityContext"]
                assert security["readOnlyRootFilesystem"] is True
                assert security["allowPrivilegeEscalation"] is False
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}
                assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        (broker,) = [pod for pod in pods if pod["metadata"]["labels"]["ttg.io/component"] == "broker"]
        said = cluster.kubectl(
            "exec",
            "-n",
            namespace,
            broker["metadata"]["name"],
            "--",
            "sh",
            "-c",
            "id -u; touch /x 2>&1; true",
        )
        user, refused = said.stdout.splitlines()[:2]
        assert user != "0"
        assert "Read-only file system" in refused

    def test_has_a_bundle_without_its_password(self, killed, cluster, namespace, on_kind, backend):
        run_id, _ = killed[backend]
        password = cluster.password(namespace, run_id)
        assert len(password) >= 24
        done = on_kind("export", run_id, "--out", f"{run_id}.tar.gz")
        assert done.code == 0, done.err
        with tarfile.open(on_kind.home / f"{run_id}.tar.gz") as tar:
            texts = {
                member.name.partition("/")[2]: tar.extractfile(member).read().decode()
                for member in tar.getmembers()
            }
        assert {"run.json", "events.ndjson", "objects.yaml"} <= texts.keys()
        assert f"logs/ttg-{run_id}-broker-0.log" in texts
        assert not any(name.startswith("missing") for name in texts)
        assert any(run_id in texts[name] for name in texts if backend == "redis" or "definitions" in name)
        assert password not in "".join(texts.values())
        for path in on_kind.folder(run_id).path.rglob("*"):
            assert path.is_dir() or password.encode() not in path.read_bytes(), path

    def test_has_its_logs(self, killed, on_kind, backend):
        run_id, _ = killed[backend]
        broker = f"ttg-{run_id}-broker-0"
        done = on_kind("logs", run_id, "--worker", broker)
        assert done.code == 0, done.err
        assert done.out.strip()
        unknown = on_kind("logs", run_id, "--worker", "nobody")
        assert unknown.code == 2
        assert broker in unknown.err

    def test_is_printed_as_manifests_that_the_server_accepts(self, killed, cluster, on_kind, backend):
        run_id, _ = killed[backend]
        printed = on_kind("manifests", run_id)
        assert printed.code == 0, printed.err
        checked = cluster.kubectl("apply", "--dry-run=server", "-f", "-", given=printed.out)
        assert "statefulset.apps/" in checked.stdout
        assert "deployment.apps/" in checked.stdout
        # Pod Security warns of pods that it would refuse.
        assert "PodSecurity" not in checked.stderr


def test_a_run_watched_in_the_browser_has_it_opened(killed, home):
    _, done = killed["rabbitmq"]
    (line,) = [line for line in done.err.splitlines() if line.startswith("management UI: ")]
    url = line.removeprefix("management UI: ")
    assert url.startswith("http://127.0.0.1:")
    assert (home / "opened").read_text().splitlines() == [url]
    assert "its user and password: kubectl " in done.err
    _, done = killed["redis"]
    assert "ttgctl knows no web UI of redis" in done.err
    assert "40/40 chunks" in done.err


def test_the_management_ui_answers_to_the_password_that_it_tells_how_to_get(
    killed, on_kind, until, credentials
):
    run_id, _ = killed["rabbitmq"]
    shown = on_kind.start("ui", run_id, "--no-browser")
    until(lambda: "press Ctrl-C" in shown.err or shown.process.poll() is not None)
    url = shown.out.strip()
    user, password = credentials(shown.err)
    overview = urllib.request.Request(f"{url}/api/overview")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(overview, timeout=20)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    overview.add_header("Authorization", f"Basic {basic}")
    with urllib.request.urlopen(overview, timeout=20) as answer:
        assert "rabbitmq_version" in json.load(answer)
    assert password not in shown.out + shown.err
    shown.send(signal.SIGINT)
    assert shown.wait().code == 0


def test_redis_has_no_management_ui_and_says_so(killed, on_kind):
    run_id, _ = killed["redis"]
    done = on_kind("ui", run_id)
    assert done.code == 3
    assert "has no management UI" in done.err


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_example_of_manifests_is_accepted_where_nothing_ran(cluster, namespace, killed, on_kind, backend):
    printed = on_kind("manifests", "--backend", backend, "--namespace", namespace, "--workers", "5")
    assert printed.code == 0, printed.err
    checked = cluster.kubectl("apply", "--dry-run=server", "-f", "-", given=printed.out)
    assert "statefulset.apps/ttg-example-broker created" in checked.stdout
    assert "PodSecurity" not in checked.stderr


@pytest.fixture(scope="module")
def without_broker(on_kind, demo, new_name, until, cluster, namespace):
    """A run of each backend at once, each with its broker's pod deleted in the middle."""
    names = {backend: new_name("broker") for backend in BACKENDS}
    running = {
        backend: on_kind.start(*demo(backend=backend, name=name, work_ms=500))
        for backend, name in names.items()
    }
    waiting = set(BACKENDS)

    def all_deleted():
        for backend in [b for b in waiting if on_kind.accounted(names[b]) >= 5]:
            pod = f"ttg-{names[backend]}-broker-0"
            cluster.kubectl("delete", "pod", "-n", namespace, pod, "--wait=false")
            waiting.remove(backend)
        return not waiting

    until(all_deleted, within_seconds=RUN_SECONDS)
    return {b: (names[b], running[b].wait(within_seconds=RUN_SECONDS)) for b in BACKENDS}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_survives_the_loss_of_its_broker_pod(without_broker, on_kind, backend):
    run_id, done = without_broker[backend]
    lossless(done)
    assert any("the broker is back after" in notice for notice in on_kind.notices(run_id))


def test_the_users_own_kubeconfig_stays_as_it_was(plain, home):
    own = (home / "kubeconfig").read_text()
    assert own.count("\n") == 6
    assert "ttg" not in own
    said = subprocess.run(
        ["kubectl", "config", "current-context"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "production"
