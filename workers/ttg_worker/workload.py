"""What a worker computes: the user's function over a chunk's parameters, or the synthetic workload."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from ttg_worker.errors import WorkloadError
from ttg_worker.settings import SYNTHETIC
from ttg_worker.simulated_faults import SimulatedFault
from ttg_worker.wire import Chunk, digest

# One value for each of the chunk's parameters, in order.
ChunkFunction = Callable[[Chunk], list[Any]]


class Workload:
    """Computes chunks, each the same on every worker and at every attempt but for simulated faults."""

    def __init__(self, function: ChunkFunction, *, fault_rate: float, seed: int) -> None:
        self._function = function
        self._fault_below = int(fault_rate * 2**64)
        self._seed = seed

    def compute(self, chunk: Chunk, attempt: int) -> bytes:
        """The values of the chunk as a JSON array, one a parameter, in parameter order.

        Raises whatever the user's function raises, :class:`WorkloadError` when what it returned
        is not one value a parameter that JSON can hold, and :class:`SimulatedFault` for a share
        of the attempts that depends on seed, chunk and attempt alone.
        """
        if self._fault_below and _fault_draw(self._seed, chunk.chunk_id, attempt) < self._fault_below:
            raise SimulatedFault(
                f"chunk {chunk.chunk_id}, attempt {attempt}: the run's fault rate asked for it"
            )
        values = self._function(chunk)
        if len(values) != chunk.size:
            raise WorkloadError(
                f"chunk {chunk.chunk_id} has {chunk.size} parameters, the function gave {len(values)} "
                "values; it must return a list with one for each"
            )
        return _encoded(values, first=chunk.start)


def load(
    reference: str, *, work_seconds: float, fault_rate: float, seed: int, chunk_function: bool = False
) -> Workload:
    """The workload that ``PATH.py:FUNCTION`` or ``MODULE:FUNCTION`` names, or the synthetic one.

    A file's folder, for a module the working folder, goes to the front of ``sys.path``, as when
    Python runs a script. The function takes one parameter (an index where the run has no
    parameter file) and returns its value; with ``chunk_function`` it takes a list of them and
    returns a list, tuple or array as long. A value is anything that JSON holds: numbers, text,
    True, False, None, lists and dicts of these; dataclasses and NumPy values are converted. NaN
    and infinity are refused. Values must be equal at every attempt, so sets, whose order is not,
    do not belong in them.

    ``work_seconds`` a parameter belongs to the synthetic workload alone; ``fault_rate`` to all.
    Raises :class:`WorkloadError`, in one line, when there is no such function.
    """
    if reference == SYNTHETIC:
        function = _synthetic(work_seconds=work_seconds, seed=seed)
    else:
        user_function = _find(reference)
        function = _whole_chunk(user_function) if chunk_function else _one_by_one(user_function)
    return Workload(function, fault_rate=fault_rate, seed=seed)


def synthetic_value(seed: int, index: int) -> int:
    """What the synthetic workload gives for a parameter: 32 bits that look random."""
    mixed = ((index + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & _64_BITS
    return ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & _64_BITS) >> 32


def synthetic_digest(seed: int, indices: range) -> str:
    """The digest of the result that the synthetic workload gives for these parameters."""
    return digest(_encode([synthetic_value(seed, index) for index in indices]))


_64_BITS: Final = 2**64 - 1


def _fault_draw(seed: int, chunk_id: int, attempt: int) -> int:
    """64 bits, evenly spread, the same for the same three numbers (splitmix64 over them)."""
    state = 0
    for number in (seed, chunk_id, attempt):
        state = (state + number + 0x9E3779B97F4A7C15) & _64_BITS
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _64_BITS
        state ^= state >> 31
    return state


def _synthetic(*, work_seconds: float, seed: int) -> ChunkFunction:
    def compute(chunk: Chunk) -> list[int]:
        ready_at = time.monotonic() + work_seconds * chunk.size
        values = [synthetic_value(seed, index) for index in range(chunk.start, chunk.stop)]
        # One wait for all: each costs a wake-up's delay. A signal handler that raises ends it.
        if work_seconds:
            time.sleep(max(0.0, ready_at - time.monotonic()))
        return values

    return compute


def _one_by_one(function: Callable[[Any], Any]) -> ChunkFunction:
    def compute(chunk: Chunk) -> list[Any]:
        return [function(parameter) for parameter in _parameters(chunk)]

    return compute


def _whole_chunk(function: Callable[[list[Any]], Any]) -> ChunkFunction:
    def compute(chunk: Chunk) -> list[Any]:
        values = function(list(_parameters(chunk)))
        if not isinstance(values, (list, tuple)) and hasattr(values, "tolist"):
            values = values.tolist()
        if not isinstance(values, (list, tuple)):
            raise WorkloadError(
                f"the function returned {_type_name(values)}; a chunk function must return a list "
                "with one value for each parameter"
            )
        return list(values)

    return compute


def _parameters(chunk: Chunk) -> Iterable[Any]:
    if not len(chunk.parameters):  # An empty Raw is true all the same.
        return range(chunk.start, chunk.stop)
    parameters = msgspec.json.decode(chunk.parameters, type=list[Any])
    if len(parameters) != chunk.size:
        raise WorkloadError(
            f"chunk {chunk.chunk_id} came with {len(parameters)} parameters instead of {chunk.size}"
        )
    return parameters


def _find(reference: str) -> Callable[[Any], Any]:
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise WorkloadError(f"workload {reference!r}: expected FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        module = _file_module(Path(place)) if place.endswith(".py") else _named_module(place)
    except WorkloadError as error:
        raise WorkloadError(f"workload {reference!r}: {error}") from error
    # User code runs here: whatever it raises, a worker without its function can't go on.
    except (Exception, SystemExit) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise WorkloadError(f"workload {reference!r}: importing {place} failed: {what}") from error
    try:
        function = getattr(module, name)
    except AttributeError:
        there = ", ".join(_functions(module)) or "none"
        raise WorkloadError(
            f"workload {reference!r}: {place} has no function {name!r}; its functions: {there}"
        ) from None
    if not callable(function):
        raise WorkloadError(f"workload {reference!r}: {name} is {_type_name(function)}, not a function")
    if inspect.iscoroutinefunction(function):
        raise WorkloadError(f"workload {reference!r}: {name} is async; it must be a plain function")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise WorkloadError(
            f"workload {reference!r}: {name} must take one argument, the parameter: {error}"
        ) from None
    except ValueError:  # Some functions written in C don't say what they take.
        pass
    return function  # type: ignore[no-any-return]


def _file_module(path: Path) -> ModuleType:
    path = path.absolute()
    if not path.is_file():
        raise WorkloadError(f"there is no file {path}")
    _put_on_path(path.parent)
    # Under its own name, so that dataclasses and pickle find it, but never in another's place.
    name = path.stem if path.stem not in sys.modules else f"ttg_workload_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"{path} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _named_module(name: str) -> ModuleType:
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # Found, and missing something itself.
        raise WorkloadError(
            f"there is no module {error.name!r} on Python's path; for a file write FILE.py:FUNCTION"
        ) from None


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _functions(module: ModuleType) -> list[str]:
    """Names of the functions that the module itself defines."""
    members = inspect.getmembers(module, inspect.isfunction)
    return [name for name, member in members if member.__module__ == module.__name__]


def _converted(value: Any) -> Any:
    """What JSON can hold instead of an array's or a NumPy scalar's own type."""
    for conversion in ("tolist", "item"):
        if hasattr(value, conversion):
            return getattr(value, conversion)()
    raise TypeError(f"JSON can't hold {_type_name(value)}")


_encode = msgspec.json.Encoder(enc_hook=_converted).encode


def _encoded(values: list[Any], *, first: int) -> bytes:
    try:
        encoded = _encode(values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WorkloadError(
            _refusal(values, first=first) or f"JSON can't hold the values: {error}"
        ) from error
    # NaN and infinity become null without a word, so only where there is one do they need a look.
    if b"null" in encoded and (refusal := _refusal(values, first=first)) is not None:
        raise WorkloadError(refusal)
    return encoded


def _refusal(values: list[Any], *, first: int) -> str | None:
    """Why JSON can't hold these values, naming the first of them that it can't hold; None if it can."""
    for index, value in enumerate(values, start=first):
        try:
            _encode(value)
            number = _not_finite(msgspec.to_builtins(value, enc_hook=_converted))
        except RecursionError:
            return f"the value of parameter {index} contains itself or is nested too deeply"
        except (TypeError, ValueError, OverflowError) as error:
            return f"the value of parameter {index} can't be kept: {error}"
        if number is not None:
            return (
                f"the value of parameter {index} has {number} in it, which JSON can't hold; "
                "return None for no value, or a text"
            )
    return None


def _not_finite(value: Any) -> float | None:
    """The first NaN or infinity within, if there is one."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, dict):
        parts: Iterable[Any] = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    else:
        return None
    return next((found for part in parts if (found := _not_finite(part)) is not None), None)


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
