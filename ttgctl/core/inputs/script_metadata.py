"""What a script says it needs, in its inline metadata (``# /// script``, PEP 723)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The expression of PEP 723 itself.
_BLOCK: Final = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class ScriptMetadataError(ValueError):
    """Metadata that can't be read; names the file and what is wrong."""


@dataclass(frozen=True)
class ScriptMetadata:
    """``dependencies`` are requirements as pip takes them; ``requires_python`` is a version specifier."""

    dependencies: tuple[str, ...]
    requires_python: str | None


def read_script_metadata(path: Path) -> ScriptMetadata | None:
    """None where the file has none. Raises :class:`ScriptMetadataError`, and :class:`OSError`."""
    text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if not blocks:
        return None
    if len(blocks) > 1:
        raise ScriptMetadataError(f"{path}: two blocks of script metadata; make one of them")
    lines = (line.removeprefix("#").removeprefix(" ") for line in blocks[0]["content"].splitlines())
    try:
        document = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise ScriptMetadataError(f"{path}: its script metadata is no TOML: {error}") from None
    dependencies, python = document.get("dependencies", []), document.get("requires-python")
    if not isinstance(dependencies, list) or not all(isinstance(each, str) for each in dependencies):
        raise ScriptMetadataError(f'{path}: script metadata: expected  dependencies = ["numpy>=2", …]')
    if python is not None and not isinstance(python, str):
        raise ScriptMetadataError(f'{path}: script metadata: expected  requires-python = ">=3.11"')
    return ScriptMetadata(tuple(dependencies), python)
