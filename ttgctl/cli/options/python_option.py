"""The interpreter that computes on this machine: the user's, in which nothing of ttgctl has to be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from ttgctl.cli.status import say
from ttgctl.domain.run import SpecError

_OLDEST: Final = (3, 9)
_VERSION: Final = re.compile(r"\d+(\.\d+)*")
# Where a project ends, as far as one looks for its environment.
_PROJECT_MARKS: Final = ("pyproject.toml", ".git")
_ASK_SECONDS: Final = 20.0
_ASK: Final = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"


def choose_python(asked: str | None, workload: str) -> str | None:
    """The interpreter's path; None for the one that ttgctl itself runs under.

    The one ``asked`` for, a path or a version; else that of the active environment, else of the environment
    ``.venv`` of the workload's project. Says which it is and why. Raises :class:`SpecError`.
    """
    if asked is not None:
        return _checked(_named(asked), f"--python {asked}")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = os.environ.get(variable)
        if folder and (python := Path(folder) / "bin" / "python").is_file():
            return _unless_own(python, f"{variable} is active")
    found = _of_project(workload)
    return None if found is None else _unless_own(found, "the environment of the workload's project")


def _named(asked: str) -> Path:
    path = Path(asked)
    if path.is_dir():
        path = path / "bin" / "python"
    if path.is_file():
        return path.absolute()
    found = shutil.which(f"python{asked}" if _VERSION.fullmatch(asked) else asked)
    if found is None:
        raise SpecError(
            f"--python {asked}: there is no such interpreter; give its path, or a version on PATH"
        )
    return Path(found)


def _of_project(workload: str) -> Path | None:
    place = workload.rpartition(":")[0]
    folder = Path(place).absolute().parent if place.endswith(".py") else Path.cwd()
    for each in (folder, *folder.parents):
        python = each / ".venv" / "bin" / "python"
        if python.is_file():
            return python
        if any((each / mark).exists() for mark in _PROJECT_MARKS):
            return None
    return None


def _unless_own(python: Path, why: str) -> str | None:
    if Path(sys.prefix).resolve() == python.parent.parent.resolve():
        return None
    checked = _checked(python, why)
    say(f"python: {checked} ({why})")
    return checked


def _checked(python: Path, why: str) -> str:
    """Its path, once it has answered and is not too old."""
    try:
        answer = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
        version = tuple(map(int, answer.stdout.split(".")))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SpecError(f"{why}: {python} can't be run as Python: {error}") from None
    if version < _OLDEST:
        least, found = (".".join(map(str, each)) for each in (_OLDEST, version))
        raise SpecError(f"{why}: {python} is Python {found}; expected {least} or newer")
    return str(python)
