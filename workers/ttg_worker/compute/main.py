"""``python main.py RING SOCKET``: the compute process; the two are numbers of inherited file descriptors.

Frames come by the socket, each a length of four bytes and JSON: first what to load, then lists of
assignments. An assignment is ``[serial, start, size, offsets or null, parameters or null]``; without
parameters they are the indices ``start + offset``, without offsets all from ``start`` on. Outcomes go by the
ring. It ends when the socket does.

What the function does to this process is its own business: it forks, exits, leaves threads behind as in a
script of its own. A child that it forks never speaks here.
"""

from __future__ import annotations

import sys

# Under any interpreter this package alone is needed, and beside it lie modules with names of the library's.
_HERE = __file__.rpartition("/")[0]
_ROOT = __file__.rsplit("/", 3)[0]
sys.path[:] = [_ROOT, *(path for path in sys.path if path != _HERE)]

import contextlib  # noqa: E402
import faulthandler  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import struct  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from typing import Any, Callable, Iterator, NoReturn, Sequence  # noqa: E402, UP035

from ttg_worker.compute import functions, synthetic, values  # noqa: E402
from ttg_worker.compute.ring import RingWriter  # noqa: E402

sys.path.remove(_ROOT)

# Shorter calls are not timed one by one.
TIMED_SECONDS = 0.001
TEXT_BYTES = 64 * 1024
_OURS = os.path.abspath(_HERE)  # noqa: PTH100


class _Channel:
    """The socket to the worker."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")

    def frames(self) -> Iterator[Any]:
        while True:
            head = self._file.read(4)
            if len(head) < 4:
                return
            body = self._file.read(struct.unpack("!I", head)[0])
            yield json.loads(body)

    def wake(self) -> None:
        # One may be on its way already, or the worker be gone.
        with contextlib.suppress(OSError):
            self._socket.send(b"w", socket.MSG_DONTWAIT)


class _Forked:
    """Whether this is a child that the user's function forked."""

    def __init__(self) -> None:
        self.here = False
        os.register_at_fork(after_in_child=self._mark)

    def _mark(self) -> None:
        self.here = True


def main() -> int:
    ring_fd, socket_fd = int(sys.argv[1]), int(sys.argv[2])
    for fd in (ring_fd, socket_fd):
        os.set_inheritable(fd, False)
    _die_with_worker()
    # Where a crash was is told on stderr, of which the worker keeps the last lines.
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    channel = _Channel(socket_fd)
    ring = RingWriter(ring_fd, wake=channel.wake)
    forked = _Forked()
    frames = channel.frames()
    task = next(frames)
    try:
        function = _load(task)
    except functions.FunctionError as error:
        ring.write(b"?%s\n" % json.dumps(str(error)).encode())
        # A thread that its import left behind must not keep this process.
        os._exit(2)
    if forked.here:
        return 0
    ring.write(b"=\n")
    call_all = _whole if task["chunk_function"] else _one_by_one
    for frame in frames:
        for serial, start, size, offsets, parameters in frame:
            ring.begin(serial, 0)
            if ring.passes_over(serial):
                ring.write(b"~%d\n" % serial)
                continue
            if parameters is None:
                parameters = range(start, start + size) if offsets is None else [start + o for o in offsets]
            started_at, started = time.time(), time.perf_counter()
            call_all(function, parameters, serial, ring, forked)
            ring.write(b"<%.6f %.6f\n" % (started_at, time.perf_counter() - started))
    return 0


def _load(task: Any) -> Callable[[Any], Any]:
    if task["workload"] == synthetic.REFERENCE:
        return synthetic.synthetic(work_seconds=task["work_seconds"], seed=task["seed"])
    return functions.load(task["workload"])


def _one_by_one(
    function: Callable[[Any], Any],
    parameters: Sequence[Any],
    serial: int,
    ring: RingWriter,
    forked: _Forked,
) -> None:
    clock, encode, write, begin = time.perf_counter, values.encode, ring.write, ring.begin
    for position, parameter in enumerate(parameters):
        begin(serial, position)
        began = clock()
        try:
            value = function(parameter)
            seconds = clock() - began
            if forked.here:
                _leave()
            line = encode(value) + b"\n"
        except BaseException as error:
            if forked.here:
                raise
            seconds = clock() - began
            line = _error_line(error)
        if seconds >= TIMED_SECONDS:
            line = b"@%.6f\n%b" % (seconds, line)
        write(line)


def _whole(
    function: Callable[[Any], Any],
    parameters: Sequence[Any],
    serial: int,
    ring: RingWriter,
    forked: _Forked,
) -> None:
    """The same for a function of a list: all its values, or one error that stands for all of them."""
    began = time.perf_counter()
    try:
        returned = function(list(parameters))
        seconds = time.perf_counter() - began
        if forked.here:
            _leave()
        lines = [values.encode(value) for value in _listed(returned, len(parameters))]
    except BaseException as error:
        if forked.here:
            raise
        ring.write(_error_line(error))
        return
    each = seconds / len(lines)
    timed = b"@%.6f\n" % each if each >= TIMED_SECONDS else b""
    for line in lines:
        ring.write(b"%b%b\n" % (timed, line))


def _listed(returned: Any, size: int) -> list[Any]:
    if not isinstance(returned, (list, tuple)) and hasattr(returned, "tolist"):
        returned = returned.tolist()
    if not isinstance(returned, (list, tuple)):
        raise values.ValueRefused(
            f"the function returned {values.type_name(returned)}; a chunk function must return a list "
            "with one value for each parameter"
        )
    if len(returned) != size:
        raise values.ValueRefused(
            f"the function was given {size} parameters and gave {len(returned)} values; "
            "it must return a list with one for each"
        )
    return list(returned)


def _leave() -> NoReturn:
    """The end of a child that returned from the function: the script that it thinks it is ends here."""
    sys.exit(0)


def _error_line(error: BaseException) -> bytes:
    kind = "value" if isinstance(error, values.ValueRefused) else type(error).__name__
    text = str(error) if kind == "value" else _traceback(error)
    return b"!%s\n" % json.dumps([kind[:200], _cut(text)]).encode()


def _traceback(error: BaseException) -> str:
    """From the function's own frames on; ours say nothing to its author."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames)).strip()
    # The error's own text, or that of one behind it, can't be had.
    except BaseException as second:
        name, why = type(error).__name__, type(second).__name__
        return f"{name}: (its text can't be had: asking for it raised {why})"


def _cut(text: str) -> str:
    """Head and tail of a text that is too long, and valid Unicode."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) > TEXT_BYTES:
        half = TEXT_BYTES // 2
        left_out = f"\n[{len(encoded) - 2 * half:,} bytes left out]\n".encode()
        encoded = encoded[:half] + left_out + encoded[-half:]
    return encoded.decode("utf-8", "replace")


def _die_with_worker() -> None:
    """Has the kernel end this process when the worker that started it dies, in whatever way."""
    parent: int | None = os.getppid()
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        return  # Then it ends with the socket, after the call in hand.
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
