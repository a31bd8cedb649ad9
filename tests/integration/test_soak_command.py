"""Random faults run after run through the installed command, until one run is not lossless."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

QUICK = ("--substrate", "local", "--parameters-total", "24", "--work-ms", "120", "--output", "json")


def test_survives_and_counts_what_it_survived(ttgctl, server, run_id):
    done = ttgctl("soak", *QUICK, "--broker-url", server.url, "--runs", "2", "--seed", "3", "--name", run_id)
    assert done.code == 0, done.err
    soak = msgspec.json.decode(done.out)
    assert (soak["runs_asked"], soak["runs_lossless"], soak["failed"]) == (2, 2, None)
    assert soak["chunks"] == 48
    assert soak["faults"]
    assert "run 2 of 2, seed 4: lossless" in done.err
    assert [ttgctl.folder(f"{run_id}-{seed}").read_spec().seed for seed in (3, 4)] == [3, 4]
    assert ttgctl.processes() == []
    assert not server.holds(f"{run_id}-3")
    # The broker of --broker-url is nobody's to kill.
    assert "kill-broker" not in done.err.splitlines()[0]


def test_stops_at_the_first_that_loses_with_all_that_repeats_it(ttgctl):
    done = ttgctl(
        "soak", *QUICK, "--backend", "redis", "--runs", "5", "--kinds", "kill-worker", "--unsafe-ack-early",
        "--name", "s",
    )  # fmt: skip
    assert done.code == 7, done.err
    soak = msgspec.json.decode(done.out)
    failed = soak["failed"]
    assert soak["runs_lossless"] < 5
    run_id = failed["run"]
    spec = ttgctl.folder(run_id).read_spec()
    assert failed["seed"] == spec.seed
    assert failed["repeat"] == f"ttgctl replay {run_id}"
    assert failed["command"].startswith("ttgctl demo --backend redis")
    assert "--unsafe-ack-early" in failed["command"]
    assert tuple(yaml.safe_load(Path(failed["plan"]).read_text())) == spec.faults
    assert run_id in done.err
    # Kept to be looked at, and not to run on.
    assert ttgctl.folder(run_id).local.exists()
    assert len(list((ttgctl.state / "runs").iterdir())) == soak["runs_lossless"] + 1
    # Whether the same kill hits between the same ack and result again is up to the machine.
    again = ttgctl("replay", run_id, "--output", "json", "--name", "again")
    assert again.code in (0, 7), again.err
    assert ttgctl.folder("again").read_spec().faults == spec.faults


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "poison"], "poison"),
        (["--kinds", "stop-node"], "one node"),
        (["--fault-demo"], "--kinds"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_bad_input_starts_nothing(ttgctl, arguments, said):
    done = ttgctl("soak", "--substrate", "local", "--backend", "redis", *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (ttgctl.state / "runs").exists()
