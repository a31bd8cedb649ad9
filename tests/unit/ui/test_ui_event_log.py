from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from ttgctl.core.records.event_log import (
    BadEvent,
    EventLog,
    UnknownEvent,
    decode_event,
    encode_event,
    follow,
    read_events,
)
from ttgctl.domain.events import Fault, Interrupted, Notice


def test_every_event_comes_back_as_it_was(story):
    for event in [*story.events(), Interrupted(at=1.5, reason="Ctrl-C")]:
        assert decode_event(encode_event(event)) == event


def test_an_event_is_one_line_of_json_with_its_type_first(story):
    line = encode_event(Notice(at=2.0, level="info", message="two\nlines"))
    assert line.count(b"\n") == 0
    assert list(msgspec.json.decode(line))[:2] == ["type", "at"]


def test_a_fault_of_a_version_that_did_not_say_how_is_read(story):
    fault = Fault(at=1.0, record=story.fault(method=None))
    line = encode_event(fault)
    assert b'"method":null,' in line
    assert decode_event(line.replace(b'"method":null,', b"")) == fault


def test_unknown_keys_are_skipped_and_unknown_types_named():
    more = b'{"type":"notice","at":1.0,"level":"info","message":"x","colour":"blue"}'
    assert decode_event(more) == Notice(at=1.0, level="info", message="x")
    with pytest.raises(UnknownEvent, match="'weather'"):
        decode_event(b'{"type":"weather","at":1.0}')


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff", b"[]", b'{"type":"notice"}', b'{"type":"progress","at":1}']
)
def test_a_line_that_is_no_event_is_refused(line):
    with pytest.raises(BadEvent):
        decode_event(line)


def test_the_log_holds_each_event_as_soon_as_it_is_appended(tmp_path: Path, story):
    path = tmp_path / "events.ndjson"
    written = []
    with EventLog(path) as log:
        for event in story.events():
            log.append(event)
            written.append(event)
            if len(written) in (1, 20):
                assert list(read_events(path)) == written
    assert list(read_events(path)) == written


def test_a_torn_last_line_is_not_read_and_is_cut_off_by_the_next_writer(tmp_path: Path):
    path = tmp_path / "events.ndjson"
    first, second = (Notice(at=float(n), level="info", message=f"{n}") for n in (1, 2))
    path.write_bytes(encode_event(first) + b"\n" + encode_event(second)[:20])
    assert list(read_events(path)) == [first]
    with EventLog(path) as log:
        log.append(second)
    assert list(read_events(path)) == [first, second]


def test_a_torn_line_longer_than_a_block_is_cut_off_too(tmp_path: Path):
    path = tmp_path / "events.ndjson"
    event = Notice(at=1.0, level="info", message="x")
    path.write_bytes(encode_event(event) + b"\n" + b"y" * 200_000)
    EventLog(path).close()
    assert path.read_bytes() == encode_event(event) + b"\n"
    path.write_bytes(b"y" * 200_000)
    EventLog(path).close()
    assert path.read_bytes() == b""


def test_a_broken_line_in_the_middle_is_named_and_an_unknown_type_skipped(tmp_path: Path):
    path = tmp_path / "events.ndjson"
    good = encode_event(Notice(at=1.0, level="info", message="x")) + b"\n"
    path.write_bytes(good + b'{"type":"weather"}\n' + good)
    assert len(list(read_events(path))) == 2
    path.write_bytes(good + b"garbage\n" + good)
    with pytest.raises(BadEvent, match=r"events\.ndjson, line 2"):
        list(read_events(path))


def test_a_follower_sees_a_log_from_before_it_exists_to_its_end(tmp_path: Path, story):
    path = tmp_path / "events.ndjson"
    expected = list(story.events())
    ready = threading.Event()

    def write() -> None:
        ready.wait(10)
        with EventLog(path) as log:
            for event in expected:
                log.append(event)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    patience = iter(range(2000))

    def done() -> bool:
        return len(seen) == len(expected) or next(patience, None) is None

    for event in follow(path, stop=done, poll_seconds=0.005):
        if event is None:
            ready.set()
        else:
            seen.append(event)
    writer.join(10)
    assert seen == expected
