"""Everything about a run in one tar, for a bug report, without its secrets."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ttgctl.core.account.out_file import whole_file
from ttgctl.core.records.run_folder import RunFolder

# A URL's password, wherever one slipped into a text that we did not write.
_PASSWORD: Final = re.compile(rb"(\w+://[^\s:/@]*:)[^\s@]+@")


def write_bundle(out: Path, folder: RunFolder, texts: Mapping[str, str]) -> list[str]:
    """Writes ``RUN/…`` with the run's files and the given texts by name; returns the names.

    The ledger's values and ``input/`` are the user's own data and stay out, as do all secrets.
    Raises :class:`~ttgctl.core.account.out_file.OutFileError`.
    """
    members: dict[str, bytes] = {}
    for path in (folder.run_json, folder.events, folder.report):
        if path.is_file():
            members[path.name] = path.read_bytes()
    members |= {name: text.encode() for name, text in texts.items()}
    with whole_file(out) as part, tarfile.open(part, "w:gz") as tar:
        for name, content in sorted(members.items()):
            clean = _PASSWORD.sub(rb"\1***@", content)
            entry = tarfile.TarInfo(f"{folder.run_id}/{name}")
            entry.size, entry.mtime = len(clean), int(time.time())
            tar.addfile(entry, io.BytesIO(clean))
    return sorted(members)
