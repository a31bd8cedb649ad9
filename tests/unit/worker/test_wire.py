"""The wire format: what goes out comes back, and nothing else passes for a message."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker import wire
from ttg_worker.errors import Undeliverable
from ttg_worker.wire import CAUSES, Chunk, ChunkResult, DeadLetter, Failure, Heartbeat, ParameterError

# Lone surrogates are no text that UTF-8 could carry.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
numbers = st.integers(0, 2**62)
times = st.floats(0, 4e9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
raws = st.lists(values, min_size=1, max_size=5).map(lambda v: msgspec.Raw(msgspec.json.encode(v)))
failures = st.builds(Failure, attempt=numbers, worker_id=texts, reason=texts, at=times)


@st.composite
def chunks(draw) -> Chunk:
    start = draw(st.integers(0, 2**61))
    size = draw(st.integers(1, 10**6))
    parameters = draw(st.none() | raws)
    offsets = draw(st.sets(st.integers(0, size - 1), max_size=5))
    return Chunk(
        run_id=draw(names),
        chunk_id=draw(numbers),
        start=start,
        stop=start + size,
        offsets=tuple(sorted(offsets)),
        retries=draw(st.integers(0, 99)),
        history=tuple(draw(st.lists(failures, max_size=3))),
        **({} if parameters is None else {"parameters": parameters}),
    )


results = st.builds(
    ChunkResult,
    run_id=names,
    chunk_id=numbers,
    worker_id=names,
    attempt=numbers,
    redelivered=numbers,
    started_at=times,
    finished_at=times,
    digest=texts,
    values=raws,
    offsets=st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
    seconds=st.lists(times, max_size=5).map(tuple),
)
errors = st.builds(
    ParameterError,
    offsets=st.lists(numbers, min_size=1, max_size=3).map(tuple),
    kind=texts,
    text=texts,
)
dead_letters = st.builds(
    DeadLetter,
    run_id=texts,
    cause=st.sampled_from(CAUSES),
    detail=texts,
    attempt=numbers,
    worker_id=texts,
    at=times,
    chunk=st.none() | chunks(),
    body=texts,
    errors=st.lists(errors, max_size=3).map(tuple),
)
heartbeats = st.builds(
    Heartbeat,
    run_id=names,
    worker_id=st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,30}", fullmatch=True),
    state=st.sampled_from(["starting", "idle", "busy", "reconnecting", "stopping"]),
    chunk_id=st.none() | numbers,
    held=st.lists(numbers, max_size=5).map(tuple),
    done=numbers,
    failed=numbers,
    started_at=times,
    at=times,
    index=st.none() | numbers,
)


def chunk(**changes) -> Chunk:
    return Chunk(**{"run_id": "r", "chunk_id": 3, "start": 30, "stop": 40} | changes)


class TestRoundTrips:
    @given(chunks())
    def test_chunk(self, sent):
        body = wire.encode(sent)
        received = wire.decode_chunk(body, run_id=sent.run_id)
        assert wire.encode(received) == body
        assert (received.size, received.history) == (len(sent.indices), sent.history)

    @given(results)
    def test_result(self, sent):
        body = wire.encode(sent)
        received = wire.decode_result(body)
        assert wire.encode(received) == body
        assert bytes(received.values) == bytes(sent.values)

    @given(dead_letters)
    def test_dead_letter(self, sent):
        body = wire.encode(sent)
        received = wire.decode_dead_letter(body)
        assert wire.encode(received) == body
        assert (received.chunk is None) == (sent.chunk is None)

    @given(heartbeats)
    def test_beat(self, sent):
        assert wire.decode_heartbeat(wire.encode(sent)) == sent

    def test_a_plain_chunk_is_short(self):
        assert wire.encode(chunk()) == b'{"run_id":"r","chunk_id":3,"start":30,"stop":40}'


class TestWhatIsNoChunk:
    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_are_undeliverable_and_nothing_else(self, body):
        with pytest.raises(Undeliverable) as caught:
            wire.decode_chunk(body, run_id="r")
        assert caught.value.cause == "malformed"
        assert caught.value.detail

    @given(values)
    def test_so_is_arbitrary_json(self, value):
        with pytest.raises(Undeliverable) as caught:
            wire.decode_chunk(msgspec.json.encode(value), run_id="r")
        assert caught.value.cause == "malformed"

    @given(chunks(), st.data())
    def test_a_damaged_chunk_is_undeliverable_or_a_whole_chunk(self, sent, data):
        body = bytearray(wire.encode(sent))
        for at in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
            body[at] = data.draw(st.integers(0, 255))
        problem = None
        try:
            received = wire.decode_chunk(bytes(body), run_id=sent.run_id)
        except Undeliverable as error:
            problem = error
        if problem is None:
            assert 0 <= received.start < received.stop
        else:
            assert problem.cause in ("malformed", "foreign-run")

    @given(chunks())
    def test_a_cut_off_chunk_is_malformed(self, sent):
        body = wire.encode(sent)
        for end in {0, 1, len(body) // 2, len(body) - 1}:
            with pytest.raises(Undeliverable) as caught:
                wire.decode_chunk(body[:end], run_id=sent.run_id)
            assert caught.value.cause == "malformed"

    @given(chunks(), texts)
    def test_a_chunk_of_another_run_is_foreign(self, sent, run_id):
        if run_id == sent.run_id:
            run_id += "x"
        with pytest.raises(Undeliverable) as caught:
            wire.decode_chunk(wire.encode(sent), run_id=run_id)
        assert caught.value.cause == "foreign-run"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40,"priority":1}',
            b'{"run_id":"r","chunk_id":"3","start":30,"stop":40}',
            b'{"run_id":"r","chunk_id":3.5,"start":30,"stop":40}',
            b'{"run_id":"r","chunk_id":3,"start":30}',
            b'{"run_id":"r","chunk_id":3,"start":40,"stop":40}',
            b'{"run_id":"r","chunk_id":-1,"start":30,"stop":40}',
            b'{"run_id":"r","chunk_id":3,"start":-30,"stop":40}',
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40,"retries":-1}',
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40,"history":[{}]}',
            b'{"run_id":"\xff","chunk_id":3,"start":30,"stop":40}',
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40} {}',
            b'{"run_id":"r","chunk_id":3,"start":0,"stop":1000000000000}',
            b'{"run_id":"r","chunk_id":9223372036854775808,"start":30,"stop":40}',
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40,"offsets":[1,1]}',
            b'{"run_id":"r","chunk_id":3,"start":30,"stop":40,"offsets":[10]}',
        ],
    )
    def test_named_cases(self, body):
        with pytest.raises(Undeliverable) as caught:
            wire.decode_chunk(body, run_id="r")
        assert caught.value.cause == "malformed"

    @given(st.binary(max_size=200))
    def test_other_messages_fail_in_the_way_they_say(self, body):
        for decode in (wire.decode_result, wire.decode_dead_letter, wire.decode_heartbeat):
            with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
                decode(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": 30}, {"stop": 29}, {"stop": 10**12}, {"offsets": (10,)}, {"offsets": (-1,)},
        {"offsets": (3, 3)}, {"offsets": (3, 2)},
    ],
)  # fmt: skip
def test_a_chunk_that_makes_no_sense_can_not_be_made(changes):
    with pytest.raises(ValueError, match="expected"):
        chunk(**changes)


def test_a_part_of_a_chunk_has_the_indices_of_its_offsets():
    assert (chunk().size, list(chunk().indices)) == (10, list(range(30, 40)))
    part = chunk(offsets=(0, 7))
    assert (part.size, list(part.indices)) == (2, [30, 37])


@given(st.text(max_size=200), st.integers(8, 100))
def test_a_text_that_is_cut_is_unicode_and_short(text, most):
    cut = wire.cut(text, most_bytes=most)
    assert len(cut.encode()) <= most + 60
    if len(text.encode("utf-8", "backslashreplace")) <= most:
        assert cut == text.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("ValueError", "Traceback\n  File x\nValueError: no rate", "ValueError: no rate"),
        ("ValueError", "Traceback\nValueError: one\ntwo\nthree", "ValueError: one"),
        ("Stop", "Traceback\nzoo.Stop: now", "zoo.Stop: now"),
        ("SIGSEGV", "Fatal error\n\ndied by SIGSEGV\n", "died by SIGSEGV"),
        ("timeout", "", "timeout"),
    ],
)
def test_an_error_in_one_line(kind, text, said):
    assert ParameterError((0,), kind, text).summary == said


def test_an_error_of_one_long_line_is_cut():
    assert len(ParameterError((0,), "ValueError", "ValueError: " + "x" * 9000).summary) < 310


def test_digest_is_of_exactly_the_bytes():
    assert wire.digest(b"[1,2]") == hashlib.blake2b(b"[1,2]", digest_size=16).hexdigest()
    assert wire.digest(b"[1,2]") != wire.digest(b"[1, 2]")


@given(st.binary(max_size=500))
def test_printable_is_fit_for_a_log_line(body):
    text = wire.printable(body)
    assert text.isprintable()
    text.encode()


def test_printable_shows_what_was_there():
    assert wire.printable(b"a\n\x00\xff\xc3\xa4") == "a\\n\\x00\\xff\u00e4"
    assert wire.printable(b"x" * 500, limit=20) == "x" * 20
