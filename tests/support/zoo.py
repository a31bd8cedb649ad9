"""Functions that misbehave, as the file of a user: each is right for most parameters, and wrong for some.

``EXPECTED`` has, by function, what must be told of the parameters that fail.
"""

import asyncio
import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

BAD = 2
shared = {}


class Stop(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")


def fine(p):
    return p["x"]


def segfault(p):
    if p["x"] == BAD:
        os.kill(os.getpid(), signal.SIGSEGV)
    return p["x"]


def segfault_at_40(p):
    if p["x"] == 40:
        os.kill(os.getpid(), signal.SIGSEGV)
    return p["x"]


def same_dict(p):
    shared["y"] = p["x"]
    return shared


def stop(p):
    if p["x"] == BAD:
        raise Stop("stop it")
    return p["x"]


def stop_late(p):
    if p["x"] == BAD:
        time.sleep(5.5)
        raise Stop("stop it")
    return p["x"]


def interrupt(p):
    if p["x"] == BAD:
        raise KeyboardInterrupt
    return p["x"]


def cancelled(p):
    if p["x"] == BAD:
        raise asyncio.CancelledError
    return p["x"]


def surrogate(p):
    if p["x"] == BAD:
        raise ValueError("\udce9")
    return p["x"]


def mute(p):
    if p["x"] == BAD:
        raise Mute
    return p["x"]


def long_text(p):
    if p["x"] == BAD:
        raise ValueError("x" * 7_000_000)
    return p["x"]


def exit_3(p):
    if p["x"] == BAD:
        os._exit(3)
    return p["x"]


def exit_in_c(p):
    if p["x"] == BAD:
        ctypes.CDLL(None).exit(1)
    return p["x"]


def abort(p):
    if p["x"] == BAD:
        os.abort()
    return p["x"]


def system_exit(p):
    if p["x"] == BAD:
        sys.exit(5)
    return p["x"]


def hang(p):
    if p["x"] == BAD:
        time.sleep(100_000)
    return p["x"]


def hang_deaf(p):
    if p["x"] == BAD:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    return p["x"]


def greedy(p):
    taken = []
    while p["x"] == BAD:
        taken.append(bytearray(10_000_000))
        time.sleep(0.01)
    return p["x"]


def terminated_child(p):
    child = multiprocessing.Process(target=time.sleep, args=(60,))
    child.start()
    child.join(0.3)
    child.terminate()
    child.join()
    return child.exitcode


def forked_exit(p):
    pid = os.fork()
    if not pid:
        sys.exit(0)
    os.waitpid(pid, 0)
    return p["x"]


def forked_return(p):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return p["x"]


def pool(p):
    with multiprocessing.Pool(2) as processes:
        return sum(processes.map(abs, range(-3, 1)))


def leave_a_child(p):
    subprocess.Popen(["sleep", "4321"])
    time.sleep(0.5)
    return p["x"]


def not_numbers(p):
    return [float("nan"), float("inf"), float("-inf"), -0.0, 1.5, {"a": float("nan")}][p["x"]]


def holds_gil(p):
    if p["x"] == BAD:
        ctypes.PyDLL(None).sleep(8)
    return p["x"]


def backtracks(p):
    if p["x"] == 19:
        re.match(r"(a+)+$", "a" * 26 + "b")
        os.kill(os.getpid(), 9)
    return p["x"]


def some_raise(p):
    if p["x"] % 83 == 7:
        raise ValueError(f"no rate for {p['x']}")
    return p["x"]


def a_set(p):
    return {1, 2} if p["x"] == BAD else p["x"]


def giant(p):
    return "x" * 20_000_000 if p["x"] == BAD else p["x"]


def whole_chunk(parameters):
    if any(p["x"] == BAD for p in parameters):
        raise ValueError("one of you is bad")
    return [p["x"] for p in parameters]


def generator(p):
    yield p["x"]


async def coroutine(p):
    return p["x"]


class AClass:
    pass


class AsyncCall:
    async def __call__(self, p):
        return p["x"]


async_call = AsyncCall()


def as_long_as_told(p):
    time.sleep(p["x"])
    return p["x"]


def wait_a_little(p):
    time.sleep(0.1)
    return {"y": 2 * p["x"]}


kept = []


def drawn(p):
    """Whatever kind of call the parameter asks for."""
    kind, x = p["kind"], p["x"]
    if kind == "nan":
        return [x, float("nan")]
    if kind == "aliasing":
        shared["y"] = x
        return shared
    if kind == "fork":
        return forked_exit(p)
    if kind == "leak":
        kept.append(bytearray(1_000_000))
        return x
    if kind == "slow":
        time.sleep(0.02)
        return x
    if kind == "fine":
        return x
    return globals()[kind]({"x": BAD})


# What is told of the parameter BAD.
EXPECTED = {
    "segfault": "died by SIGSEGV",
    "stop": "Stop: stop it",
    "interrupt": "KeyboardInterrupt",
    "cancelled": "CancelledError",
    "surrogate": "ValueError: \\udce9",
    "mute": "Mute",
    "long_text": "ValueError: xxxxx",
    "exit_3": "exit code 3",
    "exit_in_c": "exit code 1",
    "abort": "died by SIGABRT",
    "system_exit": "SystemExit: 5",
    "a_set": "a set has no order",
    "giant": "the value has 20,000,002 bytes",
}
