"""Which files a workload consists of: its own, the modules of its folder that it imports, and what it reads
there while it is loaded."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

_INSTALLED: Final = [
    Path(path)
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
]
_PACKAGES: Final = {"site-packages", "dist-packages"}


def workload_files(file: Path, loaded: Iterable[ModuleType], read: Iterable[Path] = ()) -> list[Path]:
    """Relative to the folder of ``file``, which comes first itself.

    ``loaded`` are the modules that were imported along with it. Those that any of them names in an
    import which was not executed yet, within a function say, are found as well. ``read`` are files that
    were opened meanwhile; what Python makes of modules for itself is left out. What is installed
    does not belong to it, even where a virtual environment lies in that folder.
    """
    folder = file.absolute().parent
    first = Path(file.name)
    files = [getattr(module, "__file__", None) for module in loaded]
    found = {first}.union(*(_inside(Path(path), folder) for path in files if isinstance(path, str)))
    unread = set(found)
    found |= {f for path in read for f in _inside(path, folder) if "__pycache__" not in f.parts}
    while unread:
        unread = {named for path in unread for named in _named(path, folder)} - found
        found |= unread
    return [first, *sorted(found - {first})]


def _inside(path: Path, folder: Path) -> set[Path]:
    """The path relative to the folder, if it belongs to it."""
    for inner, outer in ((path.absolute(), folder), (path.resolve(), folder.resolve())):
        if inner.is_relative_to(outer) and inner.is_file():
            relative = inner.relative_to(outer)
            return set() if _is_installed(inner, outer) or _PACKAGES & set(relative.parts) else {relative}
    return set()


def _is_installed(path: Path, folder: Path) -> bool:
    return any(path.is_relative_to(p) for p in _INSTALLED if not folder.is_relative_to(p))


def _named(path: Path, folder: Path) -> Iterator[Path]:
    """Files of the folder that stand for a module which the one in ``path`` imports anywhere."""
    try:
        tree = ast.parse((folder / path).read_bytes())
    # Compiled from another language, or never to be imported: whoever does will hear of it.
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            places = [Path(*alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[min(node.level, len(path.parents)) - 1] if node.level else Path()
            base = base.joinpath(*(node.module or "").split("."))
            places = [base, *(base / alias.name for alias in node.names)]
        else:
            continue
        # Importing a module runs the packages that it is in.
        for each in [each for place in places for each in (place, *place.parents) if each.name]:
            for candidate in (each.with_name(f"{each.name}.py"), each / "__init__.py"):
                if (folder / candidate).is_file():
                    yield candidate
