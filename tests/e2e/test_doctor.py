"""What ``doctor`` finds on this machine, and how a run ends early on one that is not fit for it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest


def states(done):
    return {problem["check"]: problem["status"] for problem in json.loads(done.out)}


def test_a_machine_with_a_cluster_is_fit(on_kind, cluster):
    on_kind("cleanup", "--dry-run", "--substrate", "kind")
    done = on_kind("doctor", "--substrate", "kind", "--output", "json")
    assert done.code == 0, done.out
    found = states(done)
    assert found.keys() >= {
        "Docker engine", "kind", "cgroup", "image platform", "disk", "memory", "kubeconfig", "ports",
        "inotify", "rabbitmq-server",
    }  # fmt: skip
    assert "fail" not in found.values()
    assert (found["Docker engine"], found["kind"], found["kubeconfig"]) == ("ok", "ok", "ok")


@pytest.fixture(params=["no engine", "no kind"])
def unfit(request, monkeypatch, cluster):
    """``(check that fails, words of its fix)``."""
    if request.param == "no engine":
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
        return "Docker engine", "--substrate local"
    folder = Path(shutil.which("kind")).parent
    left = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != folder]
    monkeypatch.setenv("PATH", os.pathsep.join(left))
    assert shutil.which("kind") is None
    return "kind", "https://kind.sigs.k8s.io"


def test_an_unfit_machine_is_told_with_the_fix(on_kind, unfit):
    check, fix = unfit
    done = on_kind("doctor", "--substrate", "kind", "--output", "json")
    assert done.code == 3
    assert states(done)[check] == "fail"
    text = on_kind("doctor", "--substrate", "kind")
    assert text.code == 3
    assert fix in text.out


def test_a_run_on_an_unfit_machine_stops_before_anything_is_made(on_kind, demo, new_name, unfit):
    check, fix = unfit
    run_id = new_name("unfit")
    done = on_kind(*demo(backend="redis", name=run_id))
    assert done.code == 3
    assert check in done.err
    assert fix in done.err
    assert "Traceback" not in done.err
    assert not on_kind.folder(run_id).path.exists()


def test_auto_takes_this_machine_itself_when_there_is_no_engine(on_kind, new_name, unfit):
    words = ["demo", "--backend", "redis", "--parameters-total", "4", "--work-ms", "1", "--output", "json"]
    done = on_kind(*words, "--name", new_name("auto"))
    assert done.code == 0, done.err
    assert done.verdict["substrate"] == "local"
    assert "substrate: local (" in done.err
