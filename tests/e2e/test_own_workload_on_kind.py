"""A user's own function and parameters on the cluster, its dead letters, and the repaired function."""

from __future__ import annotations

import json
import shutil

import pytest

from support import zoo

RUN_SECONDS = 150.0
WORK = "import shapes\ndef square(x):\n    from shapes import late\n    return shapes.area(late.checked(x))\n"
AREA = "from .sides import sides\n\ndef area(x):\n    a, b = sides(x)\n    return a * b\n"
SIDES = "def sides(x):\n    return x, x\n"
BROKEN = "def checked(x):\n    if x == 7:\n        raise ValueError('seven')\n    return x\n"
MENDED = "def checked(x):\n    return x\n"


@pytest.fixture
def source(home):
    """A function and the package beside it, one module of which is imported when it is first wanted."""
    folder = home / "source"
    (folder / "shapes").mkdir(parents=True)
    (folder / "my work.py").write_text(WORK)
    (folder / "shapes" / "__init__.py").write_text(AREA)
    (folder / "shapes" / "sides.py").write_text(SIDES)
    (folder / "shapes" / "late.py").write_text(BROKEN)
    (folder / "unrelated.py").write_text("raise SystemExit\n")
    return folder


@pytest.fixture
def arguments(home, source, namespace):
    (home / "sweep.jsonl").write_text("".join(f"{number}\n" for number in range(12)))
    return [
        "run", "--workload", "source/my work.py:square", "--parameters", "sweep.jsonl", "--chunk-size", "3",
        "--substrate", "kind", "--namespace", namespace, "--backend", "redis", "--max-attempts", "2",
        "--retry-delay-ms", "50", "--output", "json",
    ]  # fmt: skip


def test_a_function_travels_with_its_modules_and_is_repaired_with_them(
    on_kind, arguments, new_name, cluster, namespace, home, source
):
    run_id = new_name("own")
    done = on_kind(*arguments, "--name", run_id, within_seconds=RUN_SECONDS)
    assert done.code == 8, done.err
    assert done.verdict["dead_lettered_chunks"] == [2]
    assert done.verdict["chunks"]["lost"] == 0
    # What a replay needs is in the run's folder.
    assert cluster.uids(namespace, run_id) == set()
    listed = on_kind("dlq", "list", run_id)
    assert "ValueError: seven" in listed.out

    (source / "shapes" / "late.py").write_text(MENDED)
    mended = on_kind(
        *["dlq", "replay", run_id, "--workload", "source/my work.py:square", "--out", "out.jsonl"],
        *["--output", "json"],
        within_seconds=RUN_SECONDS,
    )
    assert mended.code == 0, mended.err
    assert mended.verdict["lossless"] is True
    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows] == [x * x for x in range(12)]
    assert cluster.uids(namespace, run_id) == set()

    # The run has all that it needs: where it came from may be gone.
    shutil.rmtree(source)
    again = on_kind("replay", run_id, "--keep", "--output", "json", within_seconds=RUN_SECONDS)
    assert again.code == 0, again.err
    assert again.verdict["checksum"] == mended.verdict["checksum"]
    repeated = again.verdict["run_id"]
    (files,) = [
        item
        for item in cluster.objects("cm", namespace, run_id=repeated, component="worker")
        if item.get("data")
    ]
    assert sorted(files["data"].values()) == sorted([WORK, AREA, SIDES, MENDED])
    assert on_kind("cleanup", repeated, "--force", within_seconds=RUN_SECONDS).code == 0


@pytest.mark.case("C44")
@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
def test_a_function_that_misbehaves_costs_what_it_was_called_with(
    on_kind, new_name, cluster, namespace, home, backend
):
    """The greedy one is ended at what its pod may have, and the pod goes on."""
    shutil.copy(zoo.__file__, home / "zoo.py")
    told = {**zoo.EXPECTED, "hang": "no answer in 2 s", "greedy": "out of memory: "}
    kinds = [
        "fine",
        "fork",
        "segfault",
        "fine",
        "exit_3",
        "aliasing",
        "hang",
        "nan",
        "greedy",
        "stop",
        "fine",
    ]
    lines = [json.dumps({"x": x, "kind": kind}) for x, kind in enumerate(kinds)]
    (home / "kinds.jsonl").write_text("\n".join(lines))
    run_id = new_name("zoo")
    done = on_kind(
        "run", "--workload", "zoo.py:drawn", "--parameters", "kinds.jsonl", "--chunk-size", "3",
        "--substrate", "kind", "--namespace", namespace, "--backend", backend, "--name", run_id,
        "--max-attempts", "2", "--retry-delay-ms", "50", "--parameter-timeout", "2s",
        "--out", f"{run_id}.jsonl", "--output", "json",
        within_seconds=RUN_SECONDS,
    )  # fmt: skip
    assert done.code == 8, done.err
    rows = [json.loads(line) for line in (home / f"{run_id}.jsonl").read_text().splitlines()]
    for x, (kind, row) in enumerate(zip(kinds, rows, strict=True)):
        if kind in told:
            assert told[kind] in row["error"], row
            assert row["attempts"] == 2
        else:
            assert row["value"] == {"nan": [x, "NaN"], "aliasing": {"y": x}}.get(kind, x)
    failed = sum(kind in told for kind in kinds)
    assert done.verdict["parameters"] == {
        "total": len(kinds), "ok": len(kinds) - failed, "failed": failed, "lost": 0,
    }  # fmt: skip
    # No worker died of it.
    assert done.verdict["chunks"]["recovered"] == 0
    assert not [notice for notice in on_kind.notices(run_id) if "gone" in notice]
