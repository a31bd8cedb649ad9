"""Who may load what: a worker is small, and --help waits for nothing that one command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after this code."""
    code += "\nimport sys; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    ("module", "its_own"),
    [
        ("ttg_worker.__main__", set()),
        ("ttg_worker.brokers.redis.broker", {"redis"}),
        ("ttg_worker.brokers.rabbitmq.broker", {"pika"}),
    ],
)
def test_a_worker_loads_no_orchestrator_and_one_client_at_the_most(module, its_own):
    modules = loaded(f"import {module}")
    assert its_own <= modules
    assert modules.isdisjoint({"ttgctl", "typer", "rich", "kubernetes", "docker", "psutil", "yaml"})
    assert modules & {"redis", "pika"} == its_own


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"], ["cleanup", "--help"]])
def test_help_loads_nothing_that_it_does_not_show(arguments):
    modules = loaded(f"from ttgctl.cli.app import _run; _run({arguments!r})")
    assert "typer" in modules
    assert modules.isdisjoint({"kubernetes", "docker", "pika", "redis", "rich", "jinja2", "matplotlib"})


def test_the_core_knows_no_client_and_no_view():
    modules = loaded("import ttgctl.core.run.runner, ttgctl.core.account.verification, ttgctl.core.cleanup")
    assert modules.isdisjoint({"kubernetes", "docker", "pika", "redis", "rich", "typer"})
