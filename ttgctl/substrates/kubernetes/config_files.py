"""Files as a ConfigMap holds them: under keys that Kubernetes takes, mounted where they were."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ttgctl.core.ports import SubstrateError

_NO_KEY: Final = re.compile(r"[^-._a-zA-Z0-9]")


@dataclass(frozen=True)
class ConfigFiles:
    """``data`` and ``binary_data`` by key; ``items`` say where below the mount each key belongs."""

    data: dict[str, str] = field(default_factory=dict)
    binary_data: dict[str, str] = field(default_factory=dict)
    items: list[dict[str, str]] = field(default_factory=list)


def config_files(folder: Path, *, below: str) -> ConfigFiles:
    """All files of the folder; ``below`` is put before their paths. Raises :class:`SubstrateError`
    when one can't be read."""
    found = ConfigFiles()
    for number, path in enumerate(_files(folder)):
        relative = path.relative_to(folder).as_posix()
        # Numbered, as two paths may come to the same; a key has at most 253 characters.
        key = f"{number}-{_NO_KEY.sub('_', relative)[-200:]}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SubstrateError(f"{path} can't be read: {error}") from error
        try:
            found.data[key] = content.decode()
        except UnicodeDecodeError:
            found.binary_data[key] = base64.b64encode(content).decode()
        found.items.append({"key": key, "path": f"{below}/{relative}"})
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        # What Python compiled for itself here is of no use there.
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
