"""A user's own function and parameters on the cluster, its dead letters, and the repaired function."""

from __future__ import annotations

import json

import pytest

RUN_SECONDS = 150.0


@pytest.fixture
def arguments(home, namespace):
    def of(workload: str, *more: str) -> list[str]:
        (home / "work.py").write_text(workload)
        (home / "sweep.jsonl").write_text("".join(f"{number}\n" for number in range(12)))
        return [
            "run", "--workload", "work.py:square", "--parameters", "sweep.jsonl", "--chunk-size", "3",
            "--substrate", "kind", "--namespace", namespace, "--backend", "redis", "--max-attempts", "2",
            "--retry-delay-ms", "50", "--output", "json", *more,
        ]  # fmt: skip

    return of


def test_dead_letters_are_put_back_to_a_repaired_function(
    on_kind, arguments, new_name, cluster, namespace, home
):
    run_id = new_name("own")
    broken = "def square(x):\n    if x == 7:\n        raise ValueError('seven')\n    return x * x\n"
    done = on_kind(*arguments(broken, "--name", run_id), within_seconds=RUN_SECONDS)
    assert done.code == 8, done.err
    assert done.verdict["dead_lettered_chunks"] == [2]
    assert done.verdict["chunks"]["lost"] == 0
    assert f"ttgctl cleanup {run_id}" in done.err
    (files,) = [
        item
        for item in cluster.objects("cm", namespace, run_id=run_id, component="worker")
        if item.get("data")
    ]
    assert files["data"] == {"work.py": broken}
    listed = on_kind("dlq", "list", run_id)
    assert "ValueError: seven" in listed.out

    (home / "work.py").write_text("def square(x):\n    return x * x\n")
    mended = on_kind(
        *["dlq", "replay", run_id, "--workload", "work.py:square", "--out", "out.jsonl", "--output", "json"],
        within_seconds=RUN_SECONDS,
    )
    assert mended.code == 0, mended.err
    assert mended.verdict["lossless"] is True
    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows] == [x * x for x in range(12)]
    assert cluster.uids(namespace, run_id) == set()
