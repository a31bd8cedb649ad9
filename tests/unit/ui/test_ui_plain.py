from __future__ import annotations

import io

import pytest

from ttgctl.core.records.event_log import decode_event
from ttgctl.domain.events import Interrupted, Notice
from ttgctl.ui.live.ndjson import NdjsonView
from ttgctl.ui.live.plain import PlainView
from ttgctl.ui.live.view import choose_mode, open_view


def plain_lines(events, **options) -> list[str]:
    stream = io.StringIO()
    view = PlainView(stream, **options)
    for event in events:
        view.show(event)
    view.close()
    return stream.getvalue().splitlines()


def test_lines_tell_the_run_from_start_to_end(story):
    lines = plain_lines(story.events())
    assert "run demo-3f9a2c started: rabbitmq on kind, 1,000 parameters in 100 chunks, 3 workers" in lines[0]
    assert lines[1] == "     0.0 s  broker: RabbitMQ 4.1"
    assert lines[2] == "     2.5 s  broker: done in 2.5 s"
    assert any("warning: worker w-01 is gone" in line for line in lines)
    assert any("fault 0: kill-worker w-01" in line and "after 1.1 s" in line for line in lines)
    assert "100/100 chunks 100 %" in lines[-1]


def test_progress_is_said_every_two_seconds_of_the_run_and_at_its_end(story):
    times = [float(line.split()[0]) for line in plain_lines(story.events()) if "/100 chunks" in line]
    assert times == [4.0, 6.0, 8.0, 10.0, 12.0, 14.0]


def test_nothing_in_a_line_is_a_control_character(story):
    events = [*story.events(), Notice(at=story.started_at + 20, level="error", message="a\x1b[31m\nb\tc")]
    lines = plain_lines(events)
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith("error: a [31m b c")


def test_a_fault_without_news_is_not_said_twice(story):
    events = list(story.events())
    once, twice = plain_lines(events), plain_lines(e for event in events for e in (event, event))
    assert sum("fault 0" in line for line in once) == sum("fault 0" in line for line in twice) == 2


def test_an_interrupted_run_ends_with_its_progress_and_the_reason(story):
    events = list(story.events())[:10]
    lines = plain_lines([*events, Interrupted(at=events[-1].at, reason="Ctrl-C; go on with: ttgctl resume")])
    assert "/100 chunks" in lines[-2]
    assert lines[-1].endswith("stopped: Ctrl-C; go on with: ttgctl resume")


def test_the_quiet_view_says_trouble_alone(story):
    assert [line.split("s  ")[1] for line in plain_lines(story.events(), trouble_only=True)] == [
        "warning: worker w-01 is gone"
    ]


def test_ndjson_is_the_stream_of_events_itself(story):
    stream = io.BytesIO()
    view = NdjsonView(stream)
    for event in story.events():
        view.show(event)
    assert [decode_event(line) for line in stream.getvalue().splitlines()] == list(story.events())


@pytest.mark.parametrize(
    ("output", "terminal", "monitor", "mode"),
    [
        ("text", True, "cli", "live"),
        ("text", True, "both", "live"),
        ("text", True, "web", "plain"),
        ("text", False, "cli", "plain"),
        ("text", True, "none", "none"),
        ("json", True, "cli", "live"),
        ("json", False, "cli", "plain"),
        ("ndjson", True, "cli", "ndjson"),
        ("ndjson", False, "none", "ndjson"),
    ],
)
def test_the_mode_follows_from_output_terminal_and_monitor(output, terminal, monitor, mode):
    assert choose_mode(output, stream_is_terminal=terminal, monitor=monitor) == mode


def test_status_goes_to_stderr_and_stdout_stays_empty(story, capsys):
    for mode in ("plain", "live", "none"):
        with open_view(mode) as view:
            for event in story.events():
                view.show(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100/100 chunks" in captured.err


def test_the_view_is_closed_when_the_run_breaks(story, capsys):
    class Broken(Exception):
        pass

    def break_in_the_middle() -> None:
        with open_view("plain") as view:
            for event in list(story.events())[:8]:
                view.show(event)
            raise Broken

    with pytest.raises(Broken):
        break_in_the_middle()
    assert "/100 chunks" in capsys.readouterr().err.splitlines()[-1]
