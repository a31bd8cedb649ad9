from __future__ import annotations

import math
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker.errors import WorkloadError
from ttg_worker.settings import SYNTHETIC
from ttg_worker.wire import Chunk, digest
from ttg_worker.workload import SimulatedFault, Workload, load, synthetic_digest, synthetic_value


@pytest.fixture(autouse=True)
def _forget_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def chunk(start: int, stop: int, parameters: list[object] | None = None, *, chunk_id: int = 0) -> Chunk:
    raw = msgspec.Raw() if parameters is None else msgspec.Raw(msgspec.json.encode(parameters))
    return Chunk(run_id="r", chunk_id=chunk_id, start=start, stop=stop, parameters=raw)


def loaded(
    reference: str, *, chunk_function: bool = False, fault_rate: float = 0.0, seed: int = 0
) -> Workload:
    return load(reference, work_seconds=0.0, fault_rate=fault_rate, seed=seed, chunk_function=chunk_function)


def of_file(folder: Path, source: str, *, chunk_function: bool = False) -> Workload:
    (folder / "user_code.py").write_text(source)
    return loaded(f"{folder / 'user_code.py'}:f", chunk_function=chunk_function)


def synthetic(*, work_seconds: float = 0.0, fault_rate: float = 0.0, seed: int = 0) -> Workload:
    return load(SYNTHETIC, work_seconds=work_seconds, fault_rate=fault_rate, seed=seed)


# Finding the function


def test_a_function_of_a_file_takes_one_parameter_at_a_time(tmp_path):
    workload = of_file(tmp_path, "def f(p): return p['a'] * 2")
    assert workload.compute(chunk(5, 7, [{"a": 1}, {"a": 2.5}]), 1) == b"[2,5.0]"


def test_without_parameters_the_function_takes_indices():
    assert loaded("math:factorial").compute(chunk(3, 6), 1) == b"[6,24,120]"


def test_a_chunk_function_takes_them_all(tmp_path):
    workload = of_file(tmp_path, "def f(ps): return [sum(ps)] * len(ps)", chunk_function=True)
    assert workload.compute(chunk(0, 3, [1, 2, 3]), 1) == b"[6,6,6]"
    assert workload.compute(chunk(0, 3), 1) == b"[3,3,3]"


@pytest.mark.parametrize("made", ["tuple(ps)", "numpy.array(ps)", "numpy.array(ps) * 1"])
def test_a_chunk_function_may_return_a_tuple_or_an_array(tmp_path, made):
    workload = of_file(tmp_path, f"import numpy\ndef f(ps): return {made}", chunk_function=True)
    assert workload.compute(chunk(0, 2, [3, 4]), 1) == b"[3,4]"


def test_a_file_imports_its_siblings_and_its_dataclasses_know_their_module(tmp_path):
    (tmp_path / "sibling_of_it.py").write_text("FACTOR = 3")
    workload = of_file(
        tmp_path,
        "from __future__ import annotations\n"
        "import dataclasses, sibling_of_it\n"
        "@dataclasses.dataclass\n"
        "class Point: x: int\n"
        "def f(p): return Point(p * sibling_of_it.FACTOR)",
    )
    assert workload.compute(chunk(2, 3), 1) == b'[{"x":6}]'


def test_a_file_named_as_a_module_of_python_does_not_take_its_place(tmp_path):
    (tmp_path / "json.py").write_text("def f(p): return 'mine'")
    before = sys.modules["json"]
    assert loaded(f"{tmp_path / 'json.py'}:f").compute(chunk(0, 1), 1) == b'["mine"]'
    assert sys.modules["json"] is before


def test_a_module_is_found_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "inner.py").write_text("def f(p): return -p")
    monkeypatch.chdir(tmp_path)
    assert loaded("package_here.inner:f").compute(chunk(1, 2), 1) == b"[-1]"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "has no function 'f'; its functions: none"),
        ("def g(p): pass\ndef h(p): pass", "its functions: g, h"),
        ("f = 3", "f is int, not a function"),
        ("def f(): pass", "f must take one argument, the parameter: too many positional arguments"),
        ("def f(a, b): pass", "f must take one argument, the parameter: missing a required argument: 'b'"),
        ("async def f(p): pass", "f is async"),
        ("import not_there_at_all", "failed: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("def f(p:", "failed: SyntaxError: "),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit('two\\nlines')", "failed: SystemExit: two lines"),
    ],
)
def test_a_file_without_a_usable_function_is_an_error_of_one_line(tmp_path, source, said):
    with pytest.raises(WorkloadError) as caught:
        of_file(tmp_path, source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "failed:" not in said or "user_code" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("math", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("math:", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        (":f", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("nowhere/pi.py:f", "there is no file /"),
        ("no_such_package:f", "there is no module 'no_such_package'"),
        ("no_such_package.sub:f", "there is no module 'no_such_package'"),
        ("json.nothing:f", "there is no module 'json.nothing'"),
        ("math:pi", "pi is float, not a function"),
        (".relative:f", "importing .relative failed: TypeError"),
    ],
)
def test_a_reference_to_nothing_is_an_error(reference, said):
    with pytest.raises(WorkloadError) as caught:
        loaded(reference)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_optional_arguments_and_functions_in_c_are_fine(tmp_path):
    assert (
        of_file(tmp_path, "def f(p, scale=2, *more, **names): return p * scale").compute(chunk(4, 5), 1)
        == b"[8]"
    )
    assert loaded("builtins:str").compute(chunk(4, 5), 1) == b'["4"]'


# Values


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (None, b"null"),
        (True, b"true"),
        ("null", b'"null"'),
        (10**30, b"1" + b"0" * 30),
        ({"a": [1.5, None]}, b'{"a":[1.5,null]}'),
        (numpy.float64(0.1), b"0.1"),
        (numpy.int32(7), b"7"),
        (numpy.bool_(True), b"true"),
        (numpy.array([[1, 2], [3, 4]]), b"[[1,2],[3,4]]"),
        ({"x": numpy.float32(1.5)}, b'{"x":1.5}'),
    ],
)
def test_values_that_json_can_hold(value, as_json):
    workload = Workload(lambda chunk: [value], fault_rate=0.0, seed=0)
    assert workload.compute(chunk(0, 1), 1) == b"[" + as_json + b"]"


_itself: list[object] = []
_itself.append(_itself)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "the value of parameter 41 has nan in it"),
        ({"a": [1, (2, math.inf)]}, "the value of parameter 41 has inf in it"),
        (numpy.float64("nan"), "the value of parameter 41 has nan in it"),
        (numpy.array([1.0, -math.inf]), "the value of parameter 41 has -inf in it"),
        (object(), "the value of parameter 41 can't be kept: JSON can't hold object"),
        ({"f": lambda: None}, "the value of parameter 41 can't be kept: JSON can't hold function"),
        (1j, "the value of parameter 41 can't be kept: JSON can't hold complex"),
        ("\ud800", "the value of parameter 41 can't be kept: "),
        ({(1, 2): 3}, "the value of parameter 41 can't be kept: "),
        (_itself, "the value of parameter 41 contains itself"),
    ],
)
def test_a_value_that_json_cannot_hold_is_named_by_its_parameter(value, said):
    workload = Workload(lambda chunk: [None, value, 3], fault_rate=0.0, seed=0)
    with pytest.raises(WorkloadError) as caught:
        workload.compute(chunk(40, 43), 1)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(ps): return ps[1:]", "has 3 parameters, the function gave 2 values"),
        ("def f(ps): return 'abc'", "the function returned str; a chunk function must return a list"),
        ("def f(ps): return None", "the function returned NoneType"),
        ("def f(ps): return {p: 1 for p in ps}", "the function returned dict"),
        ("import numpy\ndef f(ps): return numpy.float64(3)", "a chunk function must return a list"),
    ],
)
def test_a_chunk_function_that_does_not_return_a_value_each(tmp_path, source, said):
    with pytest.raises(WorkloadError) as caught:
        of_file(tmp_path, source, chunk_function=True).compute(chunk(0, 3, ["a", "b", "c"]), 1)
    assert said in str(caught.value)


def test_what_the_function_raises_comes_through_as_it_is(tmp_path):
    workload = of_file(tmp_path, "def f(p): return 1 / p")
    with pytest.raises(ZeroDivisionError):
        workload.compute(chunk(0, 1), 1)


def test_a_chunk_whose_parameters_are_not_as_many_as_it_says():
    with pytest.raises(WorkloadError, match="came with 1 parameters instead of 2"):
        loaded("math:sqrt").compute(chunk(0, 2, [4]), 1)


# The synthetic workload and simulated faults


@given(st.integers(0, 2**63), st.integers(0, 10**9), st.integers(1, 20))
def test_the_synthetic_values_are_known_beforehand(seed, start, size):
    values = synthetic(seed=seed).compute(chunk(start, start + size), 1)
    assert msgspec.json.decode(values) == [synthetic_value(seed, i) for i in range(start, start + size)]
    assert digest(values) == synthetic_digest(seed, range(start, start + size))


def test_synthetic_values_tell_parameters_and_seeds_apart():
    values = {synthetic_value(seed, index) for seed in range(20) for index in range(5000)}
    # 32 bits each: about one pair in 100,000 of them may meet.
    assert len(values) > 99_990
    assert all(0 <= value < 2**32 for value in values)


def test_synthetic_work_waits_once_for_the_chunk_and_not_for_its_own_computing(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    synthetic(work_seconds=0.01).compute(chunk(0, 1000), 1)
    assert len(waits) == 1
    assert 9 < waits[0] < 10
    synthetic().compute(chunk(0, 1000), 1)
    assert len(waits) == 1


def test_a_signal_handler_that_raises_ends_synthetic_work():
    class Stop(BaseException):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.perf_counter()
        with pytest.raises(Stop):
            synthetic(work_seconds=60).compute(chunk(0, 1), 1)
        assert time.perf_counter() - started < 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fails(workload: Workload, chunk_id: int, attempt: int) -> bool:
    try:
        workload.compute(chunk(0, 1, chunk_id=chunk_id), attempt)
    except SimulatedFault:
        return True
    return False


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_simulated_faults_come_at_their_rate_whatever_the_chunk_and_attempt(rate):
    workload = synthetic(fault_rate=rate, seed=3)
    for attempt in (1, 2):
        faults = sum(fails(workload, chunk_id, attempt) for chunk_id in range(5000))
        assert abs(faults / 5000 - rate) <= 0.02


def test_simulated_faults_depend_on_seed_chunk_and_attempt_alone():
    def faults(seed: int, attempt: int) -> list[bool]:
        return [fails(synthetic(fault_rate=0.5, seed=seed), chunk_id, attempt) for chunk_id in range(64)]

    assert faults(1, 1) == faults(1, 1)
    assert faults(1, 1) != faults(2, 1)
    assert faults(1, 1) != faults(1, 2)


def test_simulated_faults_strike_a_users_function_too():
    with pytest.raises(SimulatedFault, match="chunk 0, attempt 1"):
        loaded("math:sqrt", fault_rate=1.0).compute(chunk(0, 1), 1)
