from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import reduce

import pytest

from ttgctl.domain.events import Fault, Interrupted, Notice, Phase, Started
from ttgctl.ui.live.frame import Frame
from ttgctl.ui.live.live import LiveView
from ttgctl.ui.live.run_state import RunState

SIZES = [(120, 40), (120, 24), (80, 24), (50, 20), (40, 20), (40, 8), (20, 3)]


def picture_of(events) -> RunState:
    return reduce(RunState.after, events, RunState())


def until(events, kind, number: int):
    """The events up to the ``number``-th of a kind."""
    for event in events:
        yield event
        number -= isinstance(event, kind)
        if not number:
            return


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("workers", [1, 3, 40])
def test_a_frame_never_takes_more_than_the_terminal_has(story, drawn, width, height, workers):
    picture = RunState()
    for event in story.events(workers=workers):
        picture = picture.after(event)
        lines = drawn(Frame(picture, now=event.at, height=height), width=width)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [40, 50, 80, 120])
def test_a_frame_says_all_that_matters_of_a_running_run(story, drawn, width):
    events = list(story.events())
    picture = picture_of(events[:-1])
    picture = replace(picture, snapshot=story.snapshot(accounted=40))
    text = "\n".join(drawn(Frame(picture, now=events[-1].at, height=40), width=width))
    for word in ("demo-3f9a2c", "rabbitmq on kind", "40/100", "40 %", "10.0/s", "ETA 6 s"):
        assert word in text
    assert "redelivered 1" in text
    assert "duplicates 2" in text
    for role in ("ttg.tasks ", "ttg.tasks.retry", "ttg.tasks.dlq", "ttg.results"):
        assert role in text
    for worker in ("w-00", "w-01", "w-02"):
        assert re.search(rf"{worker} +busy", text)
    flat = " ".join(text.split())
    assert "kill-worker w-01" in flat
    assert "worker w-77 replaced it" in flat


def test_columns_of_less_worth_go_first(story, drawn):
    picture = picture_of([story.progress(story.snapshot())])

    def titles(width: int) -> list[str]:
        lines = drawn(Frame(picture, now=0, height=40), width=width)
        return next(line.split() for line in lines if line.startswith("worker"))

    assert titles(100) == ["worker", "state", "chunk", "done", "rate", "seen", "node"]
    assert titles(50) == ["worker", "state", "chunk", "done", "rate", "seen"]
    assert titles(30) == ["worker", "state", "done", "rate"]
    assert titles(20) == ["worker", "state", "done"]


def test_workers_that_do_not_fit_are_counted_and_those_in_trouble_are_shown(story, drawn):
    rows = list(story.workers(40))
    rows[33] = replace(rows[33], state="gone", chunk_id=None)
    picture = picture_of([story.progress(story.snapshot(workers=0))])
    picture = replace(picture, snapshot=replace(picture.snapshot, workers=tuple(rows)))
    lines = drawn(Frame(picture, now=0, height=23), width=80)
    shown = [line for line in lines if line.startswith("w-")]
    assert any(line.startswith("w-33") and "gone" in line for line in shown)
    assert f"… and {40 - len(shown)} more ({40 - len(shown)} busy)" in lines


def test_phases_are_shown_with_their_time_until_chunks_move(story, drawn):
    at = story.started_at
    events = [
        Started(at=at, spec=story.spec(), resumed=False),
        Phase(at=at, name="broker", detail="RabbitMQ", seconds=2.5),
        Phase(at=at + 2.5, name="workers", detail="starting three"),
    ]
    lines = drawn(Frame(picture_of(events), now=at + 4.0, height=24), width=60)
    assert re.search(r"✓ broker +RabbitMQ +2.5 s$", lines[1])
    assert re.search(r"\S workers +starting three +1.5 s$", lines[2])
    moving = picture_of([*events, story.progress(story.snapshot())])
    text = "\n".join(drawn(Frame(moving, now=at + 8, height=24), width=60))
    assert "RabbitMQ " not in text
    assert "starting three" in text


def test_a_step_that_says_more_lines_is_timed_from_its_first(story, drawn):
    at = story.started_at
    events = [
        Started(at=at, spec=story.spec(), resumed=False),
        Phase(at=at, name="broker", detail="pulling the image"),
        Phase(at=at + 5, name="broker", detail="waiting for it"),
    ]
    lines = drawn(Frame(picture_of(events), now=at + 8.0, height=24), width=60)
    assert len(lines) == 2
    assert re.search(r"broker +waiting for it +8.0 s$", lines[1])


def test_a_fault_is_one_line_that_grows_with_its_proof(story):
    picture = picture_of(story.events())
    faults = [line for line in picture.log if line.level == "fault"]
    assert [line.text for line in faults] == [
        "kill-worker w-01 on ttg-sandbox-worker2; held chunk 31; uid changed; "
        "delivered again after 0.4 s; replacement working after 1.1 s"
    ]
    assert picture.seconds_of(faults[0]) == 4.2


def test_time_counts_from_the_earliest_delivery_that_is_known_by_now(story):
    late = story.snapshot(elapsed_seconds=1.0)
    picture = picture_of([story.progress(late)])
    # A result tells of a delivery a second before the first that was seen.
    picture = picture.after(replace(story.progress(late), snapshot=replace(late, elapsed_seconds=2.0)))
    assert picture.offset(picture.news_at) == pytest.approx(2.0)


def test_silence_of_a_run_that_another_process_drives_is_said(story, drawn):
    picture = picture_of([story.progress(story.snapshot())])
    fresh = drawn(Frame(picture, now=picture.news_at + 1, height=24), width=80)[0]
    stale = drawn(Frame(picture, now=picture.news_at + 90, height=24), width=80)[0]
    assert "no news" not in fresh
    assert "no news for 1 min 30 s" in stale


def test_a_broker_in_trouble_is_said_in_the_first_line(story, drawn):
    picture = picture_of([story.progress(story.snapshot(broker_state="unreachable"))])
    assert "broker unreachable" in drawn(Frame(picture, now=picture.news_at, height=24), width=80)[0]


def test_an_interrupted_run_that_is_resumed_is_running_again(story):
    picture = picture_of([*until(story.events(), Phase, 2), Interrupted(at=9.0, reason="Ctrl-C")])
    assert picture.interrupted == "Ctrl-C"
    resumed = picture.after(Started(at=20.0, spec=story.spec(), resumed=True))
    assert not resumed.ended
    assert resumed.log[-1].text == "resumed"


def test_what_is_left_of_a_stopped_run_promises_nothing(story, drawn):
    picture = picture_of(
        [*until(story.events(), Fault, 1), Interrupted(at=story.started_at + 9, reason="Ctrl-C")]
    )
    lines = drawn(Frame(picture, now=picture.news_at, height=24, final=True), width=80)
    text = "\n".join(lines)
    assert lines[0].endswith("stopped: Ctrl-C")
    assert "42/100 chunks" in text
    assert "kill-worker w-01" in text
    assert "ETA" not in text
    assert "busy" not in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_view_leaves_the_last_state_and_the_cursor_behind(story, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    terminal = Terminal()
    view = LiveView(terminal)
    for event in story.events():
        view.show(event)
    view.show(Notice(at=event.at, level="error", message="evil \x1b[2J text"))
    view.close()
    written = terminal.getvalue()
    assert written.index("\x1b[?25l") < written.rindex("\x1b[?25h")
    assert "\x1b[2J" not in written
    assert not re.search(r"\x1b\[(3|4|9)\d", written), "colour under NO_COLOR"
    left = written[written.rindex("demo-3f9a2c") :]
    assert "100/100 chunks 100 %" in left
    assert "w-00" not in left, "what was of the moment goes"
