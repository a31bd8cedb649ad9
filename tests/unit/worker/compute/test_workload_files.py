"""Which files travel with a workload: all that it imports from its folder, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from ttg_worker.compute import check
from ttg_worker.errors import WorkloadError
from ttgctl.cli.options import workload_option
from ttgctl.cli.options.workload_option import check_workload
from ttgctl.core.records.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workload is; the working folder is another."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "work"
    path.mkdir()
    return path


def written(folder: Path, **files: str) -> str:
    """The reference to ``f`` of ``work.py``; ``__`` in a name stands for a folder."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"{folder / 'work.py'}:f"


def test_a_file_alone_is_a_workload(folder: Path) -> None:
    checked = check_workload(written(folder, work="def f(x): return x", another="1 / 0"))
    assert (checked.reference, list(checked.files)) == ("work.py:f", ["work.py"])


def test_modules_and_packages_beside_it_belong_to_it(folder: Path) -> None:
    reference = written(
        folder,
        work="import helper\nfrom pack.inner import deep\ndef f(x): return helper.g(x)",
        helper="import json, msgspec\ndef g(x): return x",
        pack__inner="from . import sibling\ndeep = 1",
        pack__sibling="",
        pack__unused="1 / 0",
    )
    (folder / "pack" / "__init__.py").write_text("")
    assert tuple(check_workload(reference).files) == (
        "work.py",
        "helper.py",
        "pack/__init__.py",
        "pack/inner.py",
        "pack/sibling.py",
    )


def test_what_is_imported_only_later_belongs_to_it_as_well(folder: Path) -> None:
    reference = written(
        folder,
        work="def f(x):\n    import late\n    return late.g(x)",
        late="def g(x):\n    from later import h\n    return h(x)",
        later="def h(x): return x",
    )
    assert tuple(check_workload(reference).files) == ("work.py", "late.py", "later.py")


def test_imports_of_all_forms_are_found(folder: Path) -> None:
    reference = written(
        folder,
        work="def f(x):\n    from one import two\n    import three.four as five\n    import os.path, six",
        one__two="from ..three import *\nfrom . import seven\nfrom .eight.nine import ten",
        one__seven="from __future__ import annotations",
        one__eight__nine="from .. import seven\nfrom ....beyond import nothing",
        three__four="",
        six="not python",
    )
    (folder / "three" / "__init__.py").write_text("")
    assert tuple(check_workload(reference).files) == (
        "work.py",
        "one/eight/nine.py",
        "one/seven.py",
        "one/two.py",
        "six.py",
        "three/__init__.py",
        "three/four.py",
    )


def test_folders_below_that_it_puts_on_the_path_itself_keep_their_place(folder: Path) -> None:
    work = (
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent / 'lib'))\n"
        "import tools\ndef f(x): return x"
    )
    assert tuple(check_workload(written(folder, work=work, lib__tools="")).files) == (
        "work.py",
        "lib/tools.py",
    )


def test_what_is_installed_in_that_folder_does_not(folder: Path) -> None:
    place = ".venv/lib/python3/site-packages"
    work = f"import sys\nsys.path.insert(0, {str(folder / place)!r})\nimport installed\ndef f(x): return x"
    reference = written(folder, work=work)
    (folder / place).mkdir(parents=True)
    (folder / place / "installed.py").write_text("")
    assert tuple(check_workload(reference).files) == ("work.py",)


def test_a_module_by_name_has_no_files(folder: Path) -> None:
    checked = check_workload("math:sqrt")
    assert (checked.reference, checked.files) == ("math:sqrt", {})


def test_what_only_the_working_folder_has_is_missed_at_once(folder: Path) -> None:
    Path("only_here.py").write_text("")
    with pytest.raises(WorkloadError, match="No module named 'only_here'"):
        check_workload(written(folder, work="import only_here\ndef f(x): return x"))


def test_what_it_prints_is_no_part_of_the_answer(folder: Path) -> None:
    work = "import os\nprint('[\"x\"]')\nos.write(1, b'noise')\ndef f(x): return x"
    assert tuple(check_workload(written(folder, work=work)).files) == ("work.py",)
    with pytest.raises(WorkloadError, match="has no function 'f'"):
        check_workload(written(folder, work="print('noise')"))


def test_a_link_leads_to_its_own_folder(folder: Path) -> None:
    reference = written(folder, work="import helper\ndef f(x): return x", helper="")
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert check_workload(f"{link / 'work.py'}:f").files == check_workload(reference).files


def test_files_are_copied_as_they_are_in_place_of_earlier_ones(folder: Path) -> None:
    run = RunFolder(folder.parent / "run")
    first = written(folder, work="import old\ndef f(x): return x", old="")
    check_workload(first).copy_to(run)
    second = written(folder, work="import pack.new\ndef f(x): return x", pack__new="# \u00e9")
    check_workload(second).copy_to(run)
    copies = {p.relative_to(run.workload).as_posix(): p for p in run.workload.rglob("*") if p.is_file()}
    assert copies.keys() == {"work.py", "pack/new.py"}
    assert copies["pack/new.py"].read_text() == "# \u00e9"


def test_too_much_is_refused_with_the_largest_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload_option, "FILES_BYTES", 2000)
    reference = written(folder, work="import big\ndef f(x): return x", big="#" * 1999)
    with pytest.raises(WorkloadError, match=r"2,0\d\d bytes and may have 2,000; the largest: big.py"):
        check_workload(reference)


def test_the_check_says_its_answer_on_stdout_alone(folder: Path) -> None:
    import subprocess

    reference = written(folder, work="print('noise')\ndef f(x): return x")
    argv = [sys.executable, check.__file__, reference]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert msgspec.json.decode(done.stdout) == ["work.py"]


def test_it_is_loaded_from_a_copy_as_well(folder: Path) -> None:
    """What is there when it is looked at, but not among what can be seen to be read."""
    work = (
        "import os, pathlib\nhere = pathlib.Path(__file__).parent\n"
        "assert (here / 'table.csv').exists(), 'no table'\ndef f(x): return x"
    )
    (folder / "table.csv").write_text("1")
    with pytest.raises(WorkloadError, match=r"no table \(in a copy with the files .*: work\.py"):
        check_workload(written(folder, work=work))


def test_a_load_that_never_ends_is_ended_with_what_it_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, until
) -> None:
    monkeypatch.setattr(workload_option, "LOAD_SECONDS", 1.0)
    work = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "(pathlib.Path(__file__).parent / 'child').write_text(str(child.pid))\n"
        "time.sleep(1000)\ndef f(x): return x"
    )
    with pytest.raises(WorkloadError, match="loading it did not end in 1 s"):
        check_workload(written(folder, work=work))
    child = int((folder / "child").read_text())

    def is_gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    until(is_gone)


def test_what_loading_left_behind_keeps_nobody_waiting(folder: Path) -> None:
    work = "import subprocess\nsubprocess.Popen(['sleep', '1000'])\ndef f(x): return x"
    assert list(check_workload(written(folder, work=work)).files) == ["work.py"]
