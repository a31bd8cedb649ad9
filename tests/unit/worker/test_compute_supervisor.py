"""A real compute process, whatever its function does to it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from support import zoo
from ttg_worker.brokers.base import Delivery
from ttg_worker.compute_process import ComputeProcess, Task
from ttg_worker.compute_supervisor import ComputeSupervisor
from ttg_worker.errors import WorkloadError
from ttg_worker.job import Job
from ttg_worker.limits import Limits
from ttg_worker.wire import Chunk


@pytest.fixture
def computing(tmp_path):
    made: list[ComputeSupervisor] = []

    def make(function: str, *, chunk_function: bool = False, file: str = "zoo.py", **limits):
        if file == "zoo.py":
            shutil.copy(Path(zoo.__file__), tmp_path / file)
        task = Task(f"{tmp_path / file}:{function}", chunk_function=chunk_function)
        supervisor = ComputeSupervisor(
            lambda: ComputeProcess(task, python=sys.executable, environment=dict(os.environ)),
            chunk_function=chunk_function,
            limits=Limits(**limits),
        )
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        supervisor.close()


def jobs_of(count: int, *, chunk_size: int = 1, first: int = 0) -> list[Job]:
    made = []
    for start in range(first, first + count, chunk_size):
        stop = min(start + chunk_size, first + count)
        parameters = msgspec.Raw(msgspec.json.encode([{"x": x} for x in range(start, stop)]))
        chunk = Chunk("r", start // chunk_size, start, stop, parameters)
        made.append(Job(Delivery(chunk, 1, 0, None)))
    return made


def finish(supervisor, jobs: list[Job], until) -> None:
    done: list[Job] = []
    supervisor.put(jobs)

    def all_done() -> bool:
        done.extend(supervisor.finished(0.05))
        return not supervisor.in_flight

    until(all_done)
    assert all(not job.left for job in jobs)


def values(jobs: list[Job]) -> list:
    found = []
    for job in jobs:
        for result in job.results("w"):
            offsets = result.offsets or range(job.size)
            decoded = msgspec.json.decode(result.values)
            found += [(job.delivery.chunk.start + o, v) for o, v in zip(offsets, decoded, strict=True)]
    return found


def errors(jobs: list[Job]) -> list:
    return [(job.delivery.chunk.start + o, e) for job in jobs for e in job.errors for o in e.offsets]


@pytest.mark.parametrize("function", sorted(zoo.EXPECTED))
@pytest.mark.parametrize("chunk_size", [1, 6])
def test_what_ends_a_call_costs_its_parameter_and_no_other(computing, until, function, chunk_size):
    jobs = jobs_of(6, chunk_size=chunk_size)
    finish(computing(function), jobs, until)
    assert values(jobs) == [(x, x) for x in range(6) if x != zoo.BAD]
    ((index, error),) = errors(jobs)
    assert index == zoo.BAD
    assert zoo.EXPECTED[function] in error.summary
    assert len(error.text.encode()) <= 70_000
    assert "ttg_worker/compute" not in error.text or "SIG" in error.kind


def test_a_death_is_told_with_the_last_lines_of_stderr(computing, until):
    jobs = jobs_of(6)
    finish(computing("segfault"), jobs, until)
    ((_, error),) = errors(jobs)
    assert error.kind == "SIGSEGV"
    # Where it was: Python's own fault handler says it.
    assert "in segfault" in error.text
    assert error.text.endswith("died by SIGSEGV")


def test_a_value_is_as_it_was_at_the_return(computing, until):
    jobs = jobs_of(6, chunk_size=3)
    finish(computing("same_dict"), jobs, until)
    assert [value for _, value in values(jobs)] == [{"y": x} for x in range(6)]


@pytest.mark.parametrize("function", ["forked_exit", "forked_return"])
def test_a_forked_child_never_speaks(computing, until, function):
    jobs = jobs_of(6, chunk_size=2)
    finish(computing(function), jobs, until)
    assert values(jobs) == [(x, x) for x in range(6)]
    assert errors(jobs) == []


def test_a_call_that_takes_too_long_is_ended_and_the_rest_goes_on(computing, until):
    jobs = jobs_of(6, chunk_size=6)
    finish(computing("hang", timeout="300ms"), jobs, until)
    assert [x for x, _ in values(jobs)] == [0, 1, 3, 4, 5]
    ((_, error),) = errors(jobs)
    assert (error.kind, error.text) == ("timeout", "no answer in 0.3 s")


def test_a_call_that_takes_too_much_memory_is_ended(computing, until):
    jobs = jobs_of(6)
    finish(computing("greedy", memory_bytes=200 * 2**20), jobs, until)
    assert [x for x, _ in values(jobs)] == [0, 1, 3, 4, 5]
    ((_, error),) = errors(jobs)
    assert error.kind == "memory"


def test_a_chunk_function_is_bisected_until_the_guilty_parameter_is_alone(computing, until):
    jobs = jobs_of(20, chunk_size=10)
    finish(computing("whole_chunk", chunk_function=True), jobs, until)
    assert values(jobs) == [(x, x) for x in range(20) if x != zoo.BAD]
    ((index, error),) = errors(jobs)
    assert (index, error.kind) == (zoo.BAD, "ValueError")


def test_what_is_not_begun_is_given_back(computing, until):
    supervisor = computing("hang")
    jobs = jobs_of(9)
    supervisor.put(jobs)
    done: list[Job] = []

    def hangs() -> bool:
        done.extend(supervisor.finished(0.05))
        return supervisor.in_hand is not None and supervisor.in_hand[0] is jobs[zoo.BAD]

    until(hangs)
    back = supervisor.give_back()
    assert [delivery.chunk.chunk_id for delivery in back] == [3, 4, 5, 6, 7, 8]
    assert (supervisor.in_flight, done) == (1, jobs[:2])
    assert supervisor.seconds_in_hand > 0
    assert [delivery.chunk.chunk_id for delivery in supervisor.abandon()] == [zoo.BAD]


def test_what_was_given_back_is_not_computed_and_what_comes_later_is(computing, until, tmp_path):
    (tmp_path / "seen.py").write_text(
        "import time\n"
        "def f(p):\n"
        "    with open(__file__ + '.seen', 'a') as file: file.write(f\"{p['x']}\\n\")\n"
        "    time.sleep(0.3 if p['x'] == 0 else 0)\n"
        "    return p['x']\n"
    )
    supervisor = computing("f", file="seen.py")
    supervisor.put(jobs_of(50))
    until(lambda: supervisor.finished(0.01) == [] and supervisor.in_hand is not None)
    back = {delivery.chunk.chunk_id for delivery in supervisor.give_back()}
    finish(supervisor, jobs_of(3, first=100), until)
    seen = [int(line) for line in (tmp_path / "seen.py.seen").read_text().split()]
    assert sorted(seen) == [0, 100, 101, 102]
    assert back == set(range(1, 50))


def test_all_that_it_started_ends_with_it(computing, until):
    supervisor = computing("leave_a_child")
    jobs = jobs_of(2)
    finish(supervisor, jobs, until)
    assert sleepers()
    supervisor.close()
    assert not sleepers()


def sleepers() -> list[psutil.Process]:
    """What ``leave_a_child`` started, of those below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "4321" in process.cmdline():
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_here", "No module named 'nothing_here'"),
        ("import os\nos._exit(4)", "loading the workload ended its process: exit code 4"),
        ("import os\nos.abort()", "loading the workload ended its process: died by SIGABRT"),
    ],
)
def test_a_function_that_can_not_be_loaded_is_an_error(computing, until, tmp_path, source, said):
    (tmp_path / "f.py").write_text(f"{source}\ndef f(p): return 1\n")
    supervisor = computing("f", file="f.py")
    supervisor.put(jobs_of(1))
    with pytest.raises(WorkloadError, match=said):
        until(lambda: supervisor.finished(0.05))


def test_durations_are_told_where_they_are_worth_it(computing, until):
    jobs = jobs_of(2)
    finish(computing("wait_a_little"), jobs, until)
    for job in jobs:
        (result,) = job.results("w")
        (seconds,) = result.seconds
        assert 0.1 <= seconds <= result.finished_at - result.started_at + 0.01
    quick = jobs_of(2)
    finish(computing("fine"), quick, until)
    assert [job.results("w")[0].seconds for job in quick] == [(), ()]


def test_a_result_too_long_for_one_message_is_several(computing, until, tmp_path):
    (tmp_path / "f.py").write_text("def f(p): return 'x' * 6_000_000\n")
    (job,) = jobs = jobs_of(5, chunk_size=5)
    finish(computing("f", file="f.py"), jobs, until)
    results = job.results("w")
    assert [result.offsets for result in results] == [(0, 1), (2, 3), (4,)]
