"""What a verdict means to the one who called the command: its exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttgctl.domain.verdict import ChunkAccount, ExitCode, Verdict

ACCOUNT = ChunkAccount(
    attempted=10, acknowledged=10, ok=10, lost=0, duplicated=0, recovered=0, conflicting=0,
    unexpected=0, retried=0, dead_lettered=0,
)  # fmt: skip
GOOD = Verdict(
    run_id="r", backend="redis", substrate="local", lossless=True, complete=True, chunks=ACCOUNT,
    lost_chunks=(), dead_lettered_chunks=(), conflicting_chunks=(), dead_letter_causes={}, parameters=10,
    seconds=1.0, parameters_per_second=10.0, queues_after={}, faults=(), recovery=None,
    checksum="a", checksum_expected="a",
)  # fmt: skip


@pytest.mark.parametrize(
    ("account", "changes", "code"),
    [
        ({}, {}, ExitCode.LOSSLESS),
        ({"duplicated": 5, "recovered": 3, "retried": 9}, {}, ExitCode.LOSSLESS),
        ({}, {"dead_letter_causes": {"malformed": 2}}, ExitCode.LOSSLESS),
        ({}, {"checksum_expected": None}, ExitCode.LOSSLESS),
        ({"ok": 9, "dead_lettered": 1}, {"checksum": None}, ExitCode.DEAD_LETTERS),
        ({"ok": 9, "lost": 1}, {"complete": False, "checksum": None}, ExitCode.LOSS),
        ({"conflicting": 1}, {}, ExitCode.LOSS),
        ({"unexpected": 1}, {}, ExitCode.LOSS),
        ({}, {"checksum": "b"}, ExitCode.LOSS),
        ({"ok": 8, "lost": 1, "dead_lettered": 1}, {"complete": False, "checksum": None}, ExitCode.LOSS),
        ({"ok": 3}, {"complete": False, "checksum": None}, ExitCode.TIMED_OUT),
        ({}, {"unmet": ("kill-worker (fault 1) hit nothing",)}, ExitCode.SUBSTRATE),
        ({"lost": 1}, {"unmet": ("x",)}, ExitCode.LOSS),
    ],
)
def test_exit_codes(account, changes, code):
    assert replace(GOOD, chunks=replace(ACCOUNT, **account), **changes).exit_code is code


def test_the_numbers_are_the_promised_ones():
    assert {code.name: int(code) for code in ExitCode} == {
        "LOSSLESS": 0, "USAGE": 2, "MISSING": 3, "SUBSTRATE": 4, "BROKER": 5, "TIMED_OUT": 6, "LOSS": 7,
        "DEAD_LETTERS": 8, "INTERRUPTED": 130,
    }  # fmt: skip
