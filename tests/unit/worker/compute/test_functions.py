"""Finding and loading a user's function, as Python would run its file."""

from __future__ import annotations

import sys

import pytest

from ttg_worker.compute.functions import FunctionError, load


@pytest.fixture(autouse=True)
def _forget_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def of_file(folder, source: str):
    (folder / "user_code.py").write_text(source)
    return load(f"{folder / 'user_code.py'}:f")


def test_a_function_of_a_file(tmp_path):
    assert of_file(tmp_path, "def f(p): return p['a'] * 2")({"a": 2.5}) == 5.0


def test_a_file_imports_its_siblings_and_its_dataclasses_know_their_module(tmp_path):
    (tmp_path / "sibling_of_it.py").write_text("FACTOR = 3")
    f = of_file(
        tmp_path,
        "from __future__ import annotations\n"
        "import dataclasses, sibling_of_it\n"
        "@dataclasses.dataclass\n"
        "class Point: x: int\n"
        "def f(p): return Point(p * sibling_of_it.FACTOR)",
    )
    assert f(2).x == 6
    assert type(f(2)).__module__ == "user_code"


@pytest.mark.parametrize("name", ["json", "queue", "random", "logging", "this"])
def test_a_file_named_as_a_module_of_python_does_not_take_its_place(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("def f(p): return 'mine'")
    before = sys.modules.get(name)
    assert load(f"{tmp_path / name}.py:f")(1) == "mine"
    if before is not None:
        assert sys.modules[name] is before


def test_a_module_is_found_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "inner.py").write_text("def f(p): return -p")
    monkeypatch.chdir(tmp_path)
    assert load("package_here.inner:f")(1) == -1


def test_the_arguments_are_those_of_the_file(tmp_path):
    source = "import argparse, sys\nargparse.ArgumentParser().parse_args()\ndef f(p): return sys.argv"
    assert of_file(tmp_path, source)(1) == [str(tmp_path / "user_code.py")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "has no function 'f'; its functions: none"),
        ("def g(p): pass\ndef h(p): pass", "its functions: g, h"),
        ("f = 3", "f is int, not a function"),
        ("def f(): pass", "f must take one argument, the parameter: too many positional arguments"),
        ("def f(a, b): pass", "f must take one argument, the parameter: missing a required argument: 'b'"),
        ("async def f(p): pass", "f is async"),
        ("async def f(p): yield p", "f is async"),
        ("def f(p): yield p", "f is a generator"),
        ("class f: pass", "f is a class"),
        ("class C:\n async def __call__(self, p): pass\nf = C()", "f is async"),
        ("class C:\n def __call__(self, p): yield p\nf = C()", "f is a generator"),
        ("import functools\nasync def g(a, p): pass\nf = functools.partial(g, 1)", "f is async"),
        ("import not_there_at_all", "failed: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("def f(p:", "failed: SyntaxError: "),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit('two\\nlines')", "failed: SystemExit: two lines"),
        ("raise KeyboardInterrupt", "failed: KeyboardInterrupt"),
        (
            "class E(Exception):\n def __str__(self): raise ValueError\nraise E",
            "failed: E: (its text can't be had: ValueError)",
        ),
    ],
)
def test_a_file_without_a_usable_function_is_an_error_of_one_line(tmp_path, source, said):
    with pytest.raises(FunctionError) as caught:
        of_file(tmp_path, source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "failed:" not in said or "user_code" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("math", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("math:", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        (":f", "expected FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("nowhere/pi.py:f", "there is no file /"),
        ("no_such_package:f", "there is no module 'no_such_package'"),
        ("no_such_package.sub:f", "there is no module 'no_such_package'"),
        ("json.nothing:f", "there is no module 'json.nothing'"),
        ("math:pi", "pi is float, not a function"),
        (".relative:f", "importing .relative failed: TypeError"),
    ],
)
def test_a_reference_to_nothing_is_an_error(reference, said):
    with pytest.raises(FunctionError) as caught:
        load(reference)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_optional_arguments_and_functions_in_c_are_fine(tmp_path):
    assert of_file(tmp_path, "def f(p, scale=2, *more, **names): return p * scale")(4) == 8
    assert load("math:sqrt")(4) == 2.0
