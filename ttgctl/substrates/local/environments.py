"""Environments of Python packages on this machine: resolved and installed by uv, kept by the lock's hash."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from ttgctl.core.ports import MissingRequirement

_READY: Final = "ready"
_LOCK: Final = "requirements.lock"
# The first line of a lock, before the version.
_PYTHON: Final = b"# Python "
# Of what uv says, the end has the reason.
_REASON_LINES: Final = 12


@dataclass(frozen=True)
class Environment:
    """``python`` is its interpreter, ``lock`` what is installed there, with versions and hashes."""

    python: Path
    lock: bytes
    packages: int


def build_environment(requirements: Sequence[str], files: Sequence[Path], *, python: str) -> Environment:
    """An environment with what the requirements and files of requirements ask for; made once and used again.

    ``python`` is an interpreter, or a version specifier. Wheels only. Raises
    :class:`MissingRequirement` with uv's reason: no such interpreter, no such package, a conflict, no wheel.
    """
    base = _uv("python", "find", "--no-project", python, what=f"Python {python}").decode().strip()
    version = _uv("python", "find", "--no-project", "--show-version", base, what=f"Python {base}")
    packages = _uv(
        "pip", "compile", "-", *map(str, files), "--generate-hashes", "--no-header", "--no-annotate",
        "--python", base, "--only-binary", ":all:",
        what="the packages", given="\n".join(requirements).encode(),
    )  # fmt: skip
    return restore_environment(b"%b%b\n%b" % (_PYTHON, version.strip(), packages))


def restore_environment(lock: bytes) -> Environment:
    """The environment of a lock; nothing is resolved again. Raises :class:`MissingRequirement`."""
    head = lock.split(b"\n", 1)[0]
    if not head.startswith(_PYTHON):
        raise MissingRequirement(
            f"the lock of packages begins with {head[:60]!r}; expected {_PYTHON.decode()}…"
        )
    python = head.removeprefix(_PYTHON).decode()
    mark = hashlib.sha256(lock + os.uname().machine.encode()).hexdigest()[:24]
    folder = user_cache_path("ttgctl") / "environments" / mark
    packages = sum(line[:1] not in (b"", b" ", b"#") for line in lock.splitlines())
    environment = Environment(folder / "bin" / "python", lock, packages)
    with _locked(folder):
        if (folder / _READY).exists():
            return environment
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--no-project", "--python", python, str(folder), what="the environment")
        (folder / _LOCK).write_bytes(lock)
        if packages:
            _uv(
                "pip", "sync", "--require-hashes", "--python", str(environment.python),
                "--only-binary", ":all:", str(folder / _LOCK),
                what="the packages",
            )  # fmt: skip
        (folder / _READY).touch()
    return environment


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two commands that want the same environment make it once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _uv(*arguments: str, what: str, given: bytes = b"") -> bytes:
    from uv import find_uv_bin

    try:
        done = subprocess.run(
            [find_uv_bin(), *arguments, "--no-progress"], input=given, capture_output=True, check=False
        )
    except OSError as error:
        raise MissingRequirement(f"uv can't be run: {error}; install it: pip install uv") from None
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        reason = "\n       ".join(lines[-_REASON_LINES:])
        raise MissingRequirement(f"{what} can't be had here: {reason}")
    return done.stdout
