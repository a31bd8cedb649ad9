from __future__ import annotations

import io

import msgspec
import pytest

from ttgctl.domain.verdict import ExitCode
from ttgctl.ui.text import wording
from ttgctl.ui.text.console import data_console
from ttgctl.ui.views.verdict_view import VerdictView, verdict_json


def test_a_lossless_run_says_so_first(story, drawn):
    lines = drawn(VerdictView(story.verdict()), width=80)
    assert lines[0] == "LOSSLESS: 100 of 100 chunks accounted for exactly once"
    flat = " ".join(" ".join(lines).split())
    assert "1,000 parameters in 34.9 s 28.7 parameters/s · checksum ok" in flat
    assert "kill-worker w-01 on ttg-sandbox-worker2 at 4.2 s" in flat
    assert "held chunk 31 · uid changed · by SIGKILL · delivered again after 0.4 s" in flat
    assert "exit code" not in flat


@pytest.mark.parametrize("width", [40, 80, 120])
def test_all_figures_are_there_at_any_width(story, drawn, width):
    verdict = story.verdict(
        chunks=story.account(attempted=111, ok=109, lost=3, dead_lettered=4, retried=5, unexpected=6),
        lossless=False,
        lost_chunks=(4, 17, 31),
        dead_lettered_chunks=(1, 2, 3, 5),
        dead_letter_causes={"failed": 3, "malformed": 1},
        notes=("a note that is long enough to need a second line on a terminal of forty columns",),
    )
    lines = drawn(VerdictView(verdict), width=width)
    assert max(map(len, lines)) <= width
    for word, number in (("attempted", 111), ("lost", 3), ("retried", 5), ("dead-lettered", 4)):
        assert any(line.split()[:2] == [word, str(number)] for line in lines)
    assert any("ttg.results" in line and "100" in line for line in lines)
    flat = " ".join(" ".join(lines).split())
    assert "LOSS: 3 chunks lost: 4, 17, 31" in flat
    assert "DEAD LETTERS: 4 chunks given up: 1, 2, 3, 5" in flat
    assert "failed 3" in flat
    assert "forty columns" in flat
    assert "exit code 7: loss or conflict" in flat


def test_many_lost_chunks_are_shortened_and_it_says_where_all_are(story):
    lost = tuple(range(100, 150))
    verdict = story.verdict(chunks=story.account(lost=50), lost_chunks=lost, lossless=False)
    (line,) = wording.headlines(verdict)
    assert line.startswith("LOSS: 50 chunks lost: 100, 101,")
    assert line.endswith("119 and 30 more (all: ttgctl verify demo-3f9a2c --output json)")


def test_other_ways_not_to_be_lossless_have_their_own_words(story):
    def said(**changes) -> str:
        return " | ".join(wording.headlines(story.verdict(lossless=False, **changes)))

    assert said(checksum="cd").startswith("CONFLICT: the results' checksum")
    assert said(chunks=story.account(ok=63), complete=False) == (
        "INCOMPLETE: 63 of 100 chunks have a result so far"
    )
    assert said(chunks=story.account(conflicting=1), conflicting_chunks=(7,)).startswith(
        "CONFLICT: 1 chunk with results that contradict each other or themselves: 7"
    )
    assert said().startswith("NOT PROVEN")


def test_a_fault_that_hit_nothing_is_said_to(story, drawn):
    idle = story.fault(
        victim=None,
        node=None,
        method=None,
        chunks_held=(),
        effect=None,
        redelivered_seconds=None,
        replaced_seconds=None,
    )
    flat = " ".join(drawn(VerdictView(story.verdict(faults=(idle,))), width=80))
    assert flat.endswith("no effect seen: it hit nothing")


def test_a_verdict_in_a_file_is_not_padded(story, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    data_console(stream).print(VerdictView(story.verdict(notes=("a note",))))
    assert max(map(len, stream.getvalue().splitlines())) < 200


def test_what_was_required_and_not_seen_is_said(story):
    lines = wording.headlines(story.verdict(unmet=("kill-worker hit nothing",)))
    assert [line.split(":")[0] for line in lines] == ["LOSSLESS", "NOT MET"]


def test_a_checksum_that_nobody_knows_is_unknown(story):
    assert wording.checksum_word(story.verdict(checksum_expected=None)) == "unknown"
    assert wording.checksum_word(story.verdict(checksum="x")) == "mismatch"


def test_every_exit_code_has_words():
    assert set(wording.EXIT_CODES) == set(ExitCode)


def test_the_json_has_the_promised_keys_in_their_order(story):
    text = verdict_json(story.verdict())
    verdict = msgspec.json.decode(text)
    assert list(verdict)[:11] == [
        "run_id",
        "backend",
        "substrate",
        "lossless",
        "chunks",
        "lost_chunks",
        "parameters",
        "seconds",
        "parameters_per_second",
        "queues_after",
        "faults",
    ]
    assert list(verdict["chunks"]) == [
        "attempted",
        "acknowledged",
        "ok",
        "lost",
        "duplicated",
        "recovered",
        "conflicting",
        "unexpected",
        "retried",
        "dead_lettered",
    ]
    assert list(verdict["queues_after"]) == ["ttg.tasks", "ttg.results", "ttg.tasks.retry", "ttg.tasks.dlq"]
    assert list(verdict["faults"][0])[:6] == [
        "kind",
        "victim",
        "at_seconds",
        "chunks_held",
        "redelivered_seconds",
        "replaced_seconds",
    ]
    assert verdict["faults"][0]["method"] == "SIGKILL"
    assert verdict["seconds"] == 34.912
    assert verdict["complete"] is True
    assert text.endswith(b"}\n")
