"""Lines through shared memory: whole, in order, whatever their sizes."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttg_worker.compute import ring
from ttg_worker.compute.ring import RingReader, RingWriter, make_memory


@pytest.fixture
def ends():
    fd = make_memory()
    reader, writer = RingReader(fd), RingWriter(fd, wake=lambda: None)
    os.close(fd)
    yield reader, writer
    reader.close()
    writer.close()


def test_lines_come_whole_and_once(ends):
    reader, writer = ends
    assert reader.lines() == []
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert reader.has_news
    assert reader.lines() == [b"one", b"two"]
    assert reader.lines() == []


def test_what_is_in_hand_and_what_is_passed_over(ends):
    reader, writer = ends
    assert reader.in_hand == (0, 0)
    writer.begin(7, 2**32 - 1)
    assert reader.in_hand == (7, 2**32 - 1)
    reader.pass_over(8)
    assert writer.passes_over(8)
    assert not writer.passes_over(9)


def test_who_waits_is_woken_once():
    fd, woken = make_memory(), []
    reader, writer = RingReader(fd), RingWriter(fd, wake=lambda: woken.append(1))
    os.close(fd)
    writer.write(b"one\n")
    reader.waits(True)
    writer.write(b"two\n")
    writer.write(b"three\n")
    assert woken == [1]
    reader.close()
    writer.close()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2 * ring.SIZE) | st.integers(0, 200), max_size=30))
def test_any_lines_at_any_pace(sizes):
    fd = make_memory()
    reader, writer = RingReader(fd), RingWriter(fd, wake=lambda: None)
    os.close(fd)
    lines = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    thread = threading.Thread(target=lambda: [writer.write(line + b"\n") for line in lines])
    thread.start()
    read: list[bytes] = []
    while len(read) < len(lines):
        read += reader.lines()
    thread.join(20)
    assert read == lines
    reader.close()
    writer.close()
