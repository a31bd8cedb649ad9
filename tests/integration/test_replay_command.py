"""A run repeated by the installed command: the same work under a new name, and told apart in a line."""

from __future__ import annotations

import shutil

import msgspec


def test_repeats_a_sweep_of_simulated_work(ttgctl, server, run_id):
    arguments = ttgctl.demo(
        broker_url=server.url, name=run_id, parameters_total=40, chunk_size=4, work_ms=1, seed=5,
        fault="poison chunks=3", max_attempts=1,
    )  # fmt: skip
    first = ttgctl(*arguments)
    assert first.code == 8, first.err
    again = ttgctl("replay", run_id, "--name", f"{run_id}-b", "--output", "json")
    assert again.code == 8, again.err
    assert again.verdict["run_id"] == f"{run_id}-b"
    assert again.verdict["dead_lettered_chunks"] == first.verdict["dead_lettered_chunks"] == [3]
    assert "as before: 9 of 10 chunks ok" in again.err
    assert ttgctl.folder(f"{run_id}-b").read_spec().seed == 5
    assert ttgctl("replay", run_id, "--name", run_id).code == 2


def test_repeats_a_function_as_it_was_with_its_modules(ttgctl, tmp_path):
    folder, parameters = tmp_path / "source", tmp_path / "parameters.csv"
    work, package = folder / "work.py", folder / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .part import ONE\n")
    (package / "part.py").write_text("ONE = 1\n")
    (folder / "late.py").write_text("from package import ONE\ndef more(x):\n    return x + ONE\n")
    work.write_text("import package\ndef f(row):\n    from late import more\n    return more(row['x'])\n")
    parameters.write_text("x\n1\n2\n3\n")
    first = ttgctl(
        "run", "--workload", f"{work}:f", "--parameters", str(parameters), "--name", "first",
        "--substrate", "local", "--backend", "redis", "-o", "json",
    )  # fmt: skip
    assert first.code == 0, first.err
    shutil.rmtree(folder)
    parameters.write_text("x\n9\n9\n9\n")
    out = tmp_path / "out.jsonl"
    again = ttgctl("replay", "--out", str(out), "--name", "second", "-o", "json")
    assert again.code == 0, again.err
    assert "every value equal" in again.err
    assert [list(msgspec.json.decode(line).values())[-1] for line in out.read_bytes().splitlines()] == [
        2,
        3,
        4,
    ]


def test_an_unknown_run_is_said(ttgctl):
    done = ttgctl("replay", "nobody")
    assert done.code == 2
    assert "nobody" in done.err
