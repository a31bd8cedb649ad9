"""Carries fixed shares between the files of a run on this machine and those in its pods.

The plan goes to every pod as it grows; results, dead letters and heartbeats come back, each where it belongs
and once, however often the connection breaks. What a pod that is killed had not given yet is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final, Protocol

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.static.files import StaticFiles
from ttg_worker.brokers.static.pipe import BLOCK, Piece, read_piece
from ttgctl.core.ports import SubstrateError

TICK_SECONDS: Final = 0.05
AGAIN_SECONDS: Final = 0.5
# Workers send a heartbeat every second: who is silent for so long is stopped, or the connection is dead.
SILENT_SECONDS: Final = 20.0
# A pod that is said to run and can't be reached for so long will not be. Longer than a cluster takes
# to find that a node is gone: its pods are said to run until then.
GIVE_UP_SECONDS: Final = 90.0
JOIN_SECONDS: Final = 5.0


class Stream(Protocol):
    """A command that runs in a pod; every method raises :class:`SubstrateError` once it is gone."""

    def receive(self, seconds: float) -> str:
        """What it wrote since the last call; empty when nothing comes in time."""

    def send(self, text: str) -> None: ...

    def close(self) -> None: ...


# Starts a command in the pod of that name.
Connect = Callable[[str, Sequence[str]], Stream]


class ShareSync:
    """One thread for each pod of a run. Called by one thread."""

    def __init__(self, files: StaticFiles, connect: Connect, *, pod_folder: str) -> None:
        self._files = files
        self._connect = connect
        self._pod_folder = pod_folder
        self._carriers: dict[str, _Carrier] = {}

    def follow(self, pods: Mapping[str, str]) -> None:
        """``pods`` are all that run now, names by uid; to be told again and again.

        Raises :class:`SubstrateError` for one that runs and that nothing reaches, and whatever
        else kept a thread from its work.
        """
        for uid, name in pods.items():
            if uid not in self._carriers:
                self._carriers[uid] = _Carrier(name, self._files, self._connect, self._pod_folder)
        for uid, carrier in self._carriers.items():
            carrier.pod_runs = uid in pods
            if carrier.failure is not None:
                raise carrier.failure

    def hears(self, uid: str) -> bool:
        """Whether what this pod writes comes here at the moment."""
        return uid in self._carriers and self._carriers[uid].hears

    def close(self) -> None:
        """Ends all connections. Pods that have ended gave all they could before."""
        for carrier in self._carriers.values():
            carrier.stop()
        for carrier in self._carriers.values():
            carrier.join()


class _Carrier:
    """One pod's thread: it connects, carries, and connects again until the pod is gone."""

    def __init__(self, pod: str, files: StaticFiles, connect: Connect, pod_folder: str) -> None:
        self._pod = pod
        self._files = files
        self._connect = connect
        self._pod_folder = pod_folder
        # Up to where of the pod's files all is here, and of ours all is there.
        self._taken = {"results": 0, "dead_letters": 0}
        self._given = 0
        self._said = ""
        self._stop = threading.Event()
        self.pod_runs = True
        self.hears = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"static-relay-{pod}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        self._thread.join(timeout=JOIN_SECONDS)

    def _run(self) -> None:
        try:
            self._keep_connected()
        # The relay's owner must hear of it, whatever it is: it is raised there.
        except Exception as error:
            self.failure = error
        finally:
            self.hears = False

    def _keep_connected(self) -> None:
        heard_at, problem = time.monotonic(), ""
        while self.pod_runs and not self._stop.is_set():
            try:
                self._carry()
            except SubstrateError as error:
                problem = self._said or str(error)
            if self.hears:
                heard_at = time.monotonic()
                self.hears = False
            elif time.monotonic() - heard_at > GIVE_UP_SECONDS:
                raise SubstrateError(f"pod {self._pod} runs and gives no results: {problem}")
            self._stop.wait(AGAIN_SECONDS)

    def _carry(self) -> None:
        """Until the relay is closed; raises :class:`SubstrateError` when the connection ends."""
        places = [str(self._taken["results"]), str(self._taken["dead_letters"])]
        argv = ["python", "-m", "ttg_worker.brokers.static.pipe", self._pod_folder, *places]
        with closing(self._connect(self._pod, argv)) as stream:
            rest, last_at, wait_seconds = "", time.monotonic(), TICK_SECONDS
            while not self._stop.is_set():
                text = stream.receive(wait_seconds)
                *lines, rest = (rest + text).split("\n")
                for line in lines:
                    self._take(line)
                if text:
                    last_at = time.monotonic()
                elif time.monotonic() - last_at > SILENT_SECONDS:
                    raise SubstrateError(f"no word for {SILENT_SECONDS:g} s")
                # While the plan is long nobody waits between its pieces.
                wait_seconds = 0.0 if self.hears and self._give(stream) else TICK_SECONDS

    def _take(self, line: str) -> None:
        try:
            piece = read_piece(line)
        except msgspec.DecodeError:
            # Not the command's output but what went wrong with it; the last line says it.
            self._said = wire.printable(line.encode()) or self._said
            return
        if piece.file == "plan":
            self._given = piece.position
            self._said, self.hears = "", True
        elif piece.file == "heartbeat":
            self._files.write_heartbeat(wire.decode_heartbeat(piece.lines))
        else:
            file = self._files.results if piece.file == "results" else self._files.dead_letters
            if piece.position != self._taken[piece.file]:
                raise SubstrateError(f"pod {self._pod} skipped some of its {piece.file}")
            file.append(piece.lines.split(b"\n")[:-1])
            self._taken[piece.file] += len(piece.lines)

    def _give(self, stream: Stream) -> bool:
        """The next piece of the plan; False when there is none."""
        block = self._files.plan.block(self._given, most=BLOCK)
        if block:
            stream.send(Piece("plan", self._given, block).to_line().decode())
            self._given += len(block)
        return bool(block)
