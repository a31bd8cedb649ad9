"""Reads a fault plan from YAML: a list of faults, each a mapping, or the line that ``--fault`` takes.

- kind: kill-worker
  at: 30%
  count: 1
- stop-worker every=10s duration=3s
"""

from __future__ import annotations

from pathlib import Path

from ttgctl.core.inputs.yaml_document import YamlError, read_yaml
from ttgctl.domain.fault_kinds import FAULT_KINDS
from ttgctl.domain.faults import FaultPlan, FaultPlanError, FaultSpec, build_fault, parse_fault


class FaultPlanFileError(ValueError):
    """A plan file that can't be read or makes no sense; names the file and the place in it."""


def read_fault_plan(path: Path) -> FaultPlan:
    """The plan in the file, which may be empty; raises :class:`FaultPlanFileError`."""
    try:
        document = read_yaml(path)
        if not isinstance(document, list):
            raise FaultPlanError("expected a list of faults, such as: - {kind: kill-worker, at: 30%}")
        return FaultPlan(tuple(_fault(entry, f"fault {n}") for n, entry in enumerate(document, 1)))
    except OSError as error:
        raise FaultPlanFileError(f"{path}: {error.strerror or error}") from error
    except (YamlError, FaultPlanError) as error:
        raise FaultPlanFileError(f"{path}: {error}") from error


def _fault(entry: object, place: str) -> FaultSpec:
    if isinstance(entry, str):
        return parse_fault(entry, place=place)
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise FaultPlanError(f"{place}: expected a mapping with a kind, one of {', '.join(FAULT_KINDS)}")
    settings = [(str(key), _text(value, f"{place}: {key}")) for key, value in entry.items() if key != "kind"]
    return build_fault(entry["kind"], settings, place=place)


def _text(value: object, place: str) -> str:
    """A value as it would stand in a line."""
    if isinstance(value, list):
        return ",".join(_scalar(item, place) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{_scalar(key, place)}={_scalar(item, place)}" for key, item in value.items())
    return _scalar(value, place)


def _scalar(value: object, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FaultPlanError(f"{place}: expected text or a number")
    try:
        return str(value)
    except ValueError:  # Python refuses to print numbers of thousands of digits.
        raise FaultPlanError(f"{place}: that number is far too large") from None
