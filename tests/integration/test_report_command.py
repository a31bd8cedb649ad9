"""Reports written by the installed command, in every format, on one run and on several."""

from __future__ import annotations

import zipfile

import pytest


@pytest.fixture
def runs(ttgctl) -> list[str]:
    """Two quick ones without a queue: a report does not care where its figures come from."""
    names = ["first", "second"]
    for name in names:
        arguments = ttgctl.demo(backend="static", name=name, parameters_total=12, chunk_size=2, work_ms=1)
        done = ttgctl(*arguments)
        assert done.code == 0, done.err
    return names


def test_the_newest_run_on_stdout_is_the_one_that_the_run_wrote_itself(ttgctl, runs):
    done = ttgctl("report")
    assert done.code == 0, done.err
    assert done.out.startswith("# Run second")
    assert "LOSSLESS: 6 of 6 chunks" in done.out
    assert ttgctl.folder("second").report.read_text() == done.out
    assert ttgctl("report", "first").out.startswith("# Run first")


@pytest.mark.parametrize(("suffix", "start"), [("md", b"# "), ("html", b"<!doctype html>"), ("docx", b"PK")])
def test_writes_each_format_by_the_suffix(ttgctl, runs, tmp_path, suffix, start):
    out = tmp_path / f"status.{suffix}"
    done = ttgctl("report", "--compare", "--out", str(out))
    assert done.code == 0, done.err
    assert "2 runs" in done.err
    assert out.read_bytes().startswith(start)
    read = zipfile.ZipFile(out).read("word/document.xml") if suffix == "docx" else out.read_bytes()
    assert b"first" in read
    assert b"second" in read


def test_named_runs_alone_are_put_side_by_side(ttgctl, runs):
    assert "2 runs side by side" in ttgctl("report", "first", "second").out.splitlines()[0]
    one = ttgctl("report", "first", "--compare")
    assert "1 run side by side" in one.out.splitlines()[0]
    assert "second" not in one.out


def test_a_template_of_ones_own_is_rendered_over_the_runs(ttgctl, runs, tmp_path):
    template, out = tmp_path / "own.md.j2", tmp_path / "own.docx"
    template.write_text("# Mine\n\n{% for run in runs %}\n- {{ run.spec.run_id }}\n{% endfor %}\n")
    assert ttgctl("report", "--template", str(template)).out.startswith("# Mine")
    done = ttgctl("report", "--template", str(template), "--format", "docx", "--out", str(out))
    assert done.code == 0, done.err
    assert b"second" in zipfile.ZipFile(out).read("word/document.xml")
    template.write_text("{{ nobody }}")
    broken = ttgctl("report", "--template", str(template))
    assert (broken.code, broken.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "docx"], "--out"),
        (["--out", "report.pdf"], ".docx"),
        (["nobody"], "nobody"),
        (["--out", "no/where.md"], "no folder"),
    ],
)
def test_what_can_not_be_written_is_said(ttgctl, runs, arguments, said):
    done = ttgctl("report", *arguments)
    assert done.code == 2
    assert said in done.err
