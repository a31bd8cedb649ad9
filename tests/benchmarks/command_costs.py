"""What the command itself costs, measured on ``ttgctl`` as a process of its own."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from benchmarks.throughput import Aim
from ttgctl.drain_rate.rates import BenchmarkError
from ttgctl.substrates.local import processes

COMMAND: Final = (sys.executable, "-c", "from ttgctl.cli.app import main; main()")
QUIET: Final = ("--substrate", "local", "--monitor", "none", "--output", "json")
HELP_SECONDS: Final = 0.2
FIRST_CHUNK_SECONDS: Final = 2.0
SMALL_SECONDS: Final = 34.5
SMALL_WITH_KILL_SECONDS: Final = 36.5
MEMORY_MB: Final = 200.0
MEMORY_CHUNKS: Final = 1_000_000
LOOK_SECONDS: Final = 0.05
STOP_SECONDS: Final = 15.0

_numbers = itertools.count(1)


def help_time() -> Aim:
    started = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return Aim(what="ttgctl --help", measured=seconds, wanted=HELP_SECONDS, unit="s", least=False)


def first_chunk_time(folder: Path) -> Aim:
    """From the command until a worker computes, on the server that comes with this project."""
    started_at = time.time()
    # An empty PATH: no server of the machine is found.
    run = _Demo("first-chunk", folder, environment={"PATH": ""})
    run.carry_out("--backend", "redis", "--work-ms", "0")
    with closing(sqlite3.connect(run.folder / "ledger.sqlite")) as ledger:
        (first_at,) = ledger.execute("SELECT min(started_at) FROM results").fetchone()
    return Aim(
        what="command to first chunk in a worker, embedded server",
        measured=first_at - started_at,
        wanted=FIRST_CHUNK_SECONDS,
        unit="s",
        least=False,
    )


def small_run_time(backend: str, *, kill: bool, folder: Path) -> Aim:
    """The small preset from first delivery to last result, as the verdict says."""
    run = _Demo(f"small-{backend}-{'kill' if kill else 'calm'}", folder)
    verdict = run.carry_out("--backend", backend, "--scale", "small", *(["--fault-demo"] if kill else []))
    return Aim(
        what=f"small preset on {backend}, 3 workers{', one killed' if kill else ''}",
        measured=verdict["seconds"],
        wanted=SMALL_WITH_KILL_SECONDS if kill else SMALL_SECONDS,
        unit="s",
        least=False,
    )


def memory_use(folder: Path) -> Aim:
    """The most memory that the command itself held; its broker and workers don't count."""
    peak = 0

    def look(process: psutil.Process) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    run = _Demo("memory", folder, watch=look)
    run.carry_out(
        *("--backend", "redis", "--parameters-total", str(MEMORY_CHUNKS)),
        *("--chunk-size", "1", "--work-ms", "0"),
    )
    return Aim(
        what=f"memory of the command with {MEMORY_CHUNKS:,} chunks",
        measured=peak / 1e6,
        wanted=MEMORY_MB,
        unit="MB",
        least=False,
    )


class _Demo:
    """One ``ttgctl demo`` with a state folder of the benchmark's own."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        watch: Callable[[psutil.Process], None] = lambda process: None,
    ) -> None:
        # A measurement that is repeated is another run.
        self._name = f"{name}-{next(_numbers)}"
        self.folder = folder / "state" / "ttgctl" / "runs" / self._name
        self._output = folder / f"{self._name}.out"
        self._errors = folder / f"{self._name}.err"
        # The mark, so that the command itself does not outlive the benchmark.
        marks = {"XDG_STATE_HOME": str(folder / "state"), processes.RUN_MARK: str(folder / self._name)}
        self._environment = {**os.environ, **marks, **(environment or {})}
        self._watch = watch

    def carry_out(self, *arguments: str) -> dict[str, Any]:
        """The verdict; :class:`BenchmarkError` when the run was not lossless. Nothing of it stays."""
        argv = [*COMMAND, "demo", "--name", self._name, *QUIET, *arguments]
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            process = subprocess.Popen(argv, env=self._environment, stdout=output, stderr=errors)
        try:
            code = self._wait(process)
        finally:
            self._end(process)
        if code != 0:
            said = self._errors.read_text(errors="replace").splitlines()[-10:]
            raise BenchmarkError("\n".join([f"ttgctl demo {' '.join(arguments)} ended with {code}:", *said]))
        verdict: dict[str, Any] = msgspec.json.decode(self._output.read_bytes())
        return verdict

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        while True:
            try:
                return process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                self._watch(psutil.Process(process.pid))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        processes.end(processes.find(self.folder), grace_seconds=STOP_SECONDS)
