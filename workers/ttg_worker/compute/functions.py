"""Finds and loads the user's function, as ``python FILE.py`` would load its file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable  # noqa: UP035 (Python 3.9)

from ttg_worker.compute.values import type_name


class FunctionError(Exception):
    """There is no such function, or it is none that a parameter can be given to."""


def load(reference: str) -> Callable[[Any], Any]:
    """The function that ``PATH.py:FUNCTION`` or ``MODULE:FUNCTION`` names.

    A file's folder, for a module the working folder, goes to the front of ``sys.path``, as when
    Python runs a script. Raises :class:`FunctionError`, in one line.
    """
    place, name = _parts(reference)
    try:
        module = _file_module(Path(place)) if place.endswith(".py") else _named_module(place)
    except FunctionError as error:
        raise FunctionError(f"workload {reference!r}: {error}") from error
    # User code runs here: whatever it raises, nothing can go on without it.
    except BaseException as error:
        what = " ".join(f"{type(error).__name__}: {_text(error)}".split())
        raise FunctionError(f"workload {reference!r}: importing {place} failed: {what}") from error
    try:
        function = getattr(module, name)
    except AttributeError:
        there = ", ".join(_functions(module)) or "none"
        raise FunctionError(
            f"workload {reference!r}: {place} has no function {name!r}; its functions: {there}"
        ) from None
    problem = _problem(function)
    if problem is not None:
        raise FunctionError(f"workload {reference!r}: {name} {problem}")
    return function  # type: ignore[no-any-return]


def _parts(reference: str) -> tuple[str, str]:
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise FunctionError(f"workload {reference!r}: expected FILE.py:FUNCTION or MODULE:FUNCTION")
    return place, name


def _problem(function: Any) -> str | None:
    """Why it can't be called with a parameter and give its value, None if it can."""
    if inspect.isclass(function):
        return "is a class; it must be a function (one that makes an instance and returns a value of it)"
    if not callable(function):
        return f"is {type_name(function)}, not a function"
    # Objects that are called like functions do what their class says.
    for code in (function, type(function).__call__):
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            return "is async; it must be a plain function (asyncio.run(...) within one)"
        if inspect.isgeneratorfunction(code):
            return "is a generator, with yield; it must return one value"
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        return f"must take one argument, the parameter: {error}"
    except ValueError:  # Some functions written in C don't say what they take.
        pass
    return None


def _file_module(path: Path) -> ModuleType:
    path = path.absolute()
    if not path.is_file():
        raise FunctionError(f"there is no file {path}")
    name = path.stem
    if name in getattr(sys, "stdlib_module_names", ()) and name not in ("this", "antigravity"):
        # Whoever asks for the library's module by this name gets that.
        importlib.import_module(name)
    # What is at hand already stays what it is for everybody: a file never takes another's place.
    if name in sys.modules:
        name = f"ttg_workload_{name}"
    put_on_path(path.parent)
    sys.argv = [str(path)]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FunctionError(f"{path} can't be imported")
    module = importlib.util.module_from_spec(spec)
    # Under its own name, so that dataclasses and pickle find it.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _named_module(name: str) -> ModuleType:
    put_on_path(Path.cwd())
    sys.argv = [name]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # Found, and missing something itself.
        raise FunctionError(
            f"there is no module {error.name!r} on Python's path; for a file write FILE.py:FUNCTION"
        ) from None


def put_on_path(folder: Path) -> None:
    """First, as the folder of a script is."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _functions(module: ModuleType) -> list[str]:
    """Names of the functions that the module itself defines."""
    members = inspect.getmembers(module, inspect.isfunction)
    return [name for name, member in members if member.__module__ == module.__name__]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:
        return f"(its text can't be had: {type(second).__name__})"
