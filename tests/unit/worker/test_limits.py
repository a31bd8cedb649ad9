"""How long a parameter may take and how much memory, and how that is told."""

from __future__ import annotations

import pytest

from ttg_worker import limits
from ttg_worker.limits import Limits, parse_timeout, size


@pytest.mark.parametrize(
    ("text", "seconds", "multiple"),
    [("30s", 30, None), ("5m", 300, None), ("1.5h", 5400, None), ("250ms", 0.25, None), ("10x", None, 10)],
)
def test_timeouts_are_durations_or_multiples(text, seconds, multiple):
    assert parse_timeout(text) == (seconds, multiple)


@pytest.mark.parametrize("text", ["", "30", "s", "-3s", "0s", "1d", "3 s", "nans", "x"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration such as 30s"):
        parse_timeout(text)


def test_a_duration_is_for_each_parameter():
    limits = Limits(timeout="2s")
    assert limits.too_long(1.9, parameters=1) is None
    assert limits.too_long(2.1, parameters=1) == ("timeout", "no answer in 2 s")
    assert limits.too_long(2.1, parameters=3) is None
    assert limits.too_long(6.1, parameters=3) == ("timeout", "no answer in 2 s for each of 3 parameters")


def test_a_multiple_is_of_the_median_once_there_is_one():
    limits = Limits(timeout="10x")
    assert limits.too_long(1e9, parameters=1) is None
    for seconds in (0.1, 0.3, 0.3, 0.3, 9.0):
        limits.took(seconds)
    assert limits.too_long(2.9, parameters=1) is None
    assert limits.too_long(3.1, parameters=1) == ("timeout", "no answer in 3 s")


def test_without_limits_nothing_is_too_much():
    limits = Limits()
    assert limits.too_long(1e9, parameters=1) is None
    assert limits.memory_every_seconds is None


def test_memory_is_told_with_its_figures():
    limits = Limits(memory_bytes=2 * 2**30)
    assert limits.too_much(2**30) is None
    kind, text = limits.too_much(int(2.5 * 2**30)) or ("", "")
    assert (kind, text) == ("memory", "out of memory: it took 2.5 GiB and may take 2 GiB")
    assert size(1000) == "1e+03 bytes" or size(1000) == "1000 bytes"


@pytest.mark.parametrize(
    ("version_2", "version_1", "limit"),
    [
        ("536870912\n", None, 483183820),
        ("max\n", None, 0),
        (None, "536870912\n", 483183820),
        (None, "9223372036854771712\n", 0),
        (None, None, 0),
    ],
)
def test_a_containers_limit_is_of_either_version_of_control_groups(
    tmp_path, monkeypatch, version_2, version_1, limit
):
    paths = (tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes")
    for path, text in zip(paths, (version_2, version_1), strict=True):
        if text is not None:
            path.write_text(text)
    monkeypatch.setattr(limits, "_CGROUP_LIMITS", paths)
    assert limits.container_bytes() == limit


@pytest.mark.parametrize(
    ("version_2", "version_1", "kills"),
    [
        ("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n", None, 2),
        (None, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("low 0\n", None, 0),
        (None, None, 0),
    ],
)
def test_what_the_kernel_ended_is_counted_by_either_version(
    tmp_path, monkeypatch, version_2, version_1, kills
):
    paths = (tmp_path / "memory.events", tmp_path / "memory.oom_control")
    for path, text in zip(paths, (version_2, version_1), strict=True):
        if text is not None:
            path.write_text(text)
    monkeypatch.setattr(limits, "_CGROUP_EVENTS", paths)
    assert limits.oom_kills() == kills


def test_memory_is_measured_often_where_it_is_near_its_limit():
    assert Limits().memory_every_seconds is None
    measured = Limits(memory_bytes=1000)
    assert measured.memory_every_seconds == 0.1
    assert measured.too_much(500) is None
    assert measured.memory_every_seconds == 0.01
    assert measured.too_much(200) is None
    assert measured.memory_every_seconds == 0.1
