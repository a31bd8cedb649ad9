"""The packages that a function says it needs, and the interpreter that has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ttgctl.cli.status import say
from ttgctl.core.inputs.script_metadata import ScriptMetadataError, read_script_metadata
from ttgctl.domain.run import SpecError


@dataclass(frozen=True)
class Dependencies:
    """``requirements`` and ``files`` together; ``sources`` say in words where they are from."""

    requirements: tuple[str, ...]
    files: tuple[Path, ...]
    requires_python: str | None
    sources: tuple[str, ...]


def declared_dependencies(
    workload: str, requirements: Path | None, packages: Sequence[str]
) -> Dependencies | None:
    """What the workload's file declares, and ``--requirements`` and ``--with`` add; None where nobody says
    anything. Raises :class:`SpecError`."""
    place = workload.rpartition(":")[0]
    metadata = None
    if place.endswith(".py") and Path(place).is_file():
        try:
            metadata = read_script_metadata(Path(place))
        except ScriptMetadataError as error:
            raise SpecError(str(error)) from None
    if requirements is not None and not requirements.is_file():
        raise SpecError(f"--requirements {requirements}: there is no such file")
    sources = []
    if metadata is not None:
        sources.append(f"the script metadata of {place}")
    if requirements is not None:
        sources.append(f"--requirements {requirements}")
    if packages:
        sources.append("--with")
    if not sources:
        return None
    return Dependencies(
        (*(metadata.dependencies if metadata is not None else ()), *packages),
        () if requirements is None else (requirements,),
        None if metadata is None else metadata.requires_python,
        tuple(sources),
    )


def python_with(dependencies: Dependencies, asked: str | None) -> tuple[str, bytes]:
    """An interpreter that has them, and their lock; says which. ``asked`` is what ``--python`` names."""
    from ttgctl.substrates.local.environments import build_environment

    base = asked or dependencies.requires_python or sys.executable
    environment = build_environment(dependencies.requirements, dependencies.files, python=base)
    count = "1 package" if environment.packages == 1 else f"{environment.packages} packages"
    say(f"python: {environment.python} ({count}, by {' and '.join(dependencies.sources)})")
    return str(environment.python), environment.lock
