from __future__ import annotations

import io
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import docx
import msgspec
import pytest

from ttgctl.core.ports import MissingRequirement
from ttgctl.core.records.comparison import compare
from ttgctl.core.records.event_log import EventLog
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import RunRecord, read_record
from ttgctl.domain.events import Finished, Interrupted, Started
from ttgctl.domain.verdict import Recovery
from ttgctl.ui.reports.document import Bullets, Document, Grid, Paragraph, Section, TemplateError
from ttgctl.ui.reports.markdown_document import markdown_document
from ttgctl.ui.reports.markdown_text import to_markdown
from ttgctl.ui.reports.report_file import report_bytes, report_document, write_report
from ttgctl.ui.reports.run_report import write_run_report
from ttgctl.ui.reports.template_report import template_document
from ttgctl.ui.views.comparison_view import ComparisonView, comparison_json


@pytest.fixture
def folder(tmp_path: Path, story) -> RunFolder:
    folder = RunFolder(tmp_path / "demo-3f9a2c")
    folder.write_spec(story.spec(faults=("kill-worker at=30%",), work_ms=100.0, seed=7))
    with EventLog(folder.events) as log:
        for event in story.events():
            log.append(event)
    with sqlite3.connect(folder.ledger) as db:
        db.execute("CREATE TABLE results (chunk_id INTEGER PRIMARY KEY, worker_id TEXT)")
        db.executemany(
            "INSERT INTO results VALUES (?, ?)", [(n, "w-00" if n < 60 else "w-02") for n in range(100)]
        )
    return folder


@pytest.fixture
def record(folder: RunFolder) -> RunRecord:
    return read_record(folder)


def runs(record: RunRecord) -> list[RunRecord]:
    """A matrix of three backends without and with a fault, the static one losing chunks."""
    found = []
    for number, (backend, faulted, seconds) in enumerate(
        [
            ("static", False, 34.0),
            ("static", True, 40.0),
            ("rabbitmq", False, 34.2),
            ("rabbitmq", False, 34.4),
            ("rabbitmq", False, 39.0),
            ("rabbitmq", True, 36.0),
        ]
    ):
        verdict = replace(
            record.verdict,
            backend=backend,
            seconds=seconds,
            faults=record.verdict.faults if faulted else (),
            recovery=Recovery(p50_seconds=0.3, p99_seconds=0.6, max_seconds=0.6) if faulted else None,
        )
        if backend == "static" and faulted:
            chunks = replace(verdict.chunks, ok=91, lost=9)
            verdict = replace(
                verdict, lossless=False, chunks=chunks, lost_chunks=tuple(range(9)), recovery=None
            )
        spec = replace(
            record.spec, run_id=f"run-{number}", backend=backend, faults=record.spec.faults if faulted else ()
        )
        found.append(
            replace(
                record,
                spec=spec,
                verdict=verdict,
                faults=verdict.faults,
                started_at=record.started_at + 100 * number,
            )
        )
    return found


def test_a_record_holds_what_the_folder_tells(record, story):
    assert record.spec.seed == 7
    assert record.faulted
    assert record.commands == 1
    assert record.progress[0] == (0.0, 0)
    assert record.progress[-1] == (10.0, 100)
    assert len(record.progress) == 41
    assert record.chunks_by_worker == {"w-00": 60, "w-02": 40}
    assert record.verdict == story.verdict()
    assert [phase.name for phase in record.phases] == ["broker", "workers"]
    assert [(at, notice.message) for at, notice in record.notices] == [
        (4.25, "worker w-01 is gone"),
        (5.5, "worker w-77 replaced it"),
    ]


def test_a_resumed_run_has_the_last_word_alone(folder, story):
    with EventLog(folder.events) as log:
        log.append(Started(at=story.started_at + 60, spec=story.spec(), resumed=True))
        log.append(Interrupted(at=story.started_at + 61, reason="Ctrl-C"))
    interrupted = read_record(folder)
    assert interrupted.verdict is None
    assert interrupted.interrupted == "Ctrl-C"
    with EventLog(folder.events) as log:
        log.append(Started(at=story.started_at + 70, spec=story.spec(), resumed=True))
        log.append(Finished(at=story.started_at + 71, verdict=story.verdict()))
    finished = read_record(folder)
    assert finished.commands == 3
    assert finished.interrupted is None
    assert finished.started_at == story.started_at


def test_a_run_that_has_only_begun_can_be_reported(tmp_path, story):
    folder = RunFolder(tmp_path / "demo-3f9a2c")
    folder.write_spec(story.spec())
    text = write_run_report(folder)
    assert "NO VERDICT YET: 0 of 100 chunks accounted for" in text
    assert report_bytes(report_document([read_record(folder)]), format="html").startswith(b"<!doctype html>")


def test_the_report_of_a_run_is_in_its_folder(folder):
    text = write_run_report(folder)
    assert folder.report.read_text() == text
    assert text.startswith("# Run demo-3f9a2c\n")
    assert "**LOSSLESS: 100 of 100 chunks accounted for exactly once**" in text
    assert "| ttg.results | 100 |" in text
    assert (
        "| 4.2 s | kill-worker w-01 on ttg-sandbox-worker2 | SIGKILL | 31 | uid changed | 0.4 s | 1.1 s | - |"
        in text
    )
    assert "| w-00 | 60 | 60 % |" in text
    assert "--fault 'kill-worker at=30%'" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_cells_are_medians_of_repeats_in_the_order_of_the_backends(record):
    cells = compare(runs(record))
    assert [(cell.backend, cell.faulted, cell.runs, cell.seconds) for cell in cells] == [
        ("static", False, 1, 34.0),
        ("static", True, 1, 40.0),
        ("rabbitmq", False, 3, 34.4),
        ("rabbitmq", True, 1, 36.0),
    ]
    assert (cells[1].ok, cells[1].attempted, cells[1].lost, cells[1].lossless) == (91, 100, 9, 0)
    assert cells[3].recovery_seconds == 0.6
    assert cells[0].recovery_seconds is None


def test_the_report_over_several_speaks_of_these_runs_alone(record):
    text = to_markdown(report_document(runs(record)))
    for part in ("Summary", "Results", "Queues after completion", "Runs", "Again"):
        assert f"\n## {part}\n" in text
    assert "ilestone" not in text
    assert "4 of 4 runs through a queue are lossless" in text
    assert "6 runs judged, 5 of them lossless; 600 chunks attempted, 9 lost." in text
    (loss,) = re.findall(r"^\| Data loss .*$", text, re.M)
    assert loss == "| Data loss | none | 9 chunks | none | none |"
    (runtime,) = re.findall(r"^\| Runtime .*$", text, re.M)
    assert runtime == "| Runtime | 34.0 s | 40.0 s | 34.4 s | 36.0 s |"


STATUS_REPORT = Path(__file__).parents[3] / "docs" / "status-report.md.j2"


def test_the_status_report_is_a_template_whose_figures_are_of_runs(record):
    document = template_document(STATUS_REPORT, runs(record))
    text = to_markdown(document)
    for part in (
        "Summary",
        "Deliverables",
        "Test results",
        "Why RabbitMQ",
        "Commands",
        "Risks and mitigations",
        "Next steps",
    ):
        assert f"\n## {part}\n" in text
    assert document.title.startswith("Status report, milestones 1 to 3")
    assert ("Runs", "6") in document.facts
    assert "4 of 4 runs through a queue are lossless" in text
    assert "6 runs judged, 5 of them lossless; 600 chunks attempted, 9 lost." in text
    (loss,) = re.findall(r"^\| Data loss .*$", text, re.M)
    assert loss == "| Data loss | none | 9 chunks | none | none |"
    assert "Redis Streams with leases, delayed retry and DLQ | not shown by these runs" in text
    assert "Run the redis backend; no run of it is in this report." in text
    kinds = {type(block).__name__ for section in document.sections for block in section.blocks}
    assert {"Grid", "Bullets", "Code", "ProgressPicture", "BarPicture"} <= kinds
    assert report_bytes(document, format="docx").startswith(b"PK")


def test_the_status_report_over_no_run_says_so():
    assert "there is nothing to report" in to_markdown(template_document(STATUS_REPORT, []))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A\n\n{% if %}", "line 3"),
        ("# A\n\n{{ nobody }}", "line 3: 'nobody' is undefined"),
        ("{{ runs | nothing }}", "line 1: No filter named 'nothing'"),
        ("{{ 1 / 0 }}", "line 1: division by zero"),
        ("{{ runs.__class__.__mro__ }}", "unsafe"),
        ("![x](ttgctl:nothing)", "no picture 'nothing'"),
    ],
)
def test_a_template_that_can_not_be_rendered_is_named_with_its_line(record, tmp_path, text, said):
    template = tmp_path / "own.md.j2"
    template.write_text(text)
    with pytest.raises(TemplateError, match=re.escape(said)) as caught:
        template_document(template, runs(record))
    assert str(template) in str(caught.value)


def test_a_report_over_no_run_says_so():
    assert "No run with a verdict yet" in to_markdown(report_document([]))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[name] for name in ("src", "href") if name in found]
        if tag == "img":
            self.images.append(found)
        elif tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("several", [False, True])
def test_the_html_is_one_file_with_its_pictures(record, several):
    html = report_bytes(report_document(runs(record) if several else [record]), format="html").decode()
    page = Page()
    page.feed(html)
    assert page.open == []
    assert len(page.images) >= 3
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert all(image["alt"] for image in page.images)
    assert "kill-worker" in " ".join(page.text)


def test_names_from_elsewhere_are_text_in_every_format(record):
    evil = "<script>alert(1)</script> | **x**"
    document = Document(
        title=evil,
        facts=[("f", evil)],
        sections=[Section(evil, [Paragraph(evil), Grid(("a", "b"), [(evil, "1")])])],
    )
    html = report_bytes(document, format="html").decode()
    assert "<script>" not in html
    row = next(line for line in to_markdown(document).splitlines() if line.endswith("| 1 |"))
    assert row == r"| \<script>alert(1)\</script> \| \*\*x\*\* | 1 |"
    assert docx.Document(io.BytesIO(report_bytes(document, format="docx"))).tables[0].cell(1, 0).text == evil


def test_the_docx_holds_the_same_figures_and_pictures(record):
    document = report_document(runs(record))
    file = docx.Document(io.BytesIO(report_bytes(document, format="docx")))
    headings = [p.text for p in file.paragraphs if p.style.name == "Heading 1"]
    assert headings == [section.title for section in document.sections]
    grids = [block for section in document.sections for block in section.blocks if isinstance(block, Grid)]
    for grid, table in zip(grids, file.tables, strict=True):
        assert [[cell.text for cell in row.cells] for row in table.rows] == [
            list(row) for row in (grid.headers, *grid.rows)
        ]
        assert sum(column.width.cm for column in table.columns) == pytest.approx(17.0, abs=0.1)
    assert len(file.inline_shapes) >= 3


def test_the_same_run_gives_the_same_html(record):
    document = report_document([record])
    assert report_bytes(document, format="html") == report_bytes(document, format="html")


@pytest.mark.parametrize(
    ("missing", "format"), [("matplotlib", "html"), ("docx", "docx"), ("matplotlib", "docx")]
)
def test_a_missing_extra_is_named_and_leaves_the_old_file(record, tmp_path, monkeypatch, missing, format):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    out = tmp_path / "report"
    out.write_text("old")
    with pytest.raises(MissingRequirement, match=r"pip install 'ttgctl\[reports\]'"):
        write_report(report_document([record]), out, format=format)
    assert out.read_text() == "old"


def test_the_report_at_a_runs_end_loads_nothing_heavy():
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, ttgctl.ui.reports.run_report, ttgctl.ui.reports.report_file;"
            "print({'matplotlib', 'docx', 'jinja2', 'rich'} & sys.modules.keys())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_comparison_names_each_kind_of_run_its_time_and_its_loss(record, drawn, width):
    lines = drawn(ComparisonView(compare(runs(record))), width=width)
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines[1:5]]
    assert [row[0] for row in rows] == ["static", "static", "rabbitmq", "rabbitmq"]
    assert "40.0 s" in lines[2]
    assert lines[2].endswith("9 chunks")
    assert lines[4].endswith("none")
    assert any(line.split() == ["rabbitmq", "yes", "0", "100", "0", "0"] for line in lines)


def test_a_comparison_as_json(record):
    cells = msgspec.json.decode(comparison_json(compare(runs(record))))
    assert cells[1]["lost"] == 9
    assert cells[2]["runs"] == 3


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("- a\n  - b\n  - c\n- d", Bullets(["a", "– b", "– c", "d"])),
        ("3. a\n4. b", Bullets(["3. a", "4. b"])),
        ("see [this](http://x.y) and `code`", Paragraph("see this (http://x.y) and code")),
        ("![a plot](plot.png)", Paragraph("a plot (plot.png)")),
        ("| a | b |\n|---|---|\n| 1 | *2* |", Grid(["a", "b"], [["1", "2"]])),
    ],
)
def test_markdown_of_a_template_loses_nothing_on_its_way_to_blocks(text, block):
    document = markdown_document(f"# T\n\n## S\n\n{text}\n", pictures=lambda name: [])
    assert (document.title, [list(section.blocks) for section in document.sections]) == ("T", [[block]])
