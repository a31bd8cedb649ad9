"""What a report says, before it is Markdown, HTML or DOCX: sections of a few kinds of blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

# A number and its unit: ``1,000``, ``34.9 s``, ``3 min 04 s``, or that there is none.
_FIGURE: Final = re.compile(r"(-?|[-\d.,]+( ?[a-z%/]+( \d\d [a-z]+)?)?)")

Tone = Literal["plain", "good", "bad"]


class TemplateError(Exception):
    """A document's template can't be rendered; says which, in which line, and why."""


@dataclass(frozen=True)
class Paragraph:
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines of a shell."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def right(self) -> list[bool]:
        """For each column whether all its cells are figures, which belong to the right."""
        return [
            bool(self.rows) and all(_FIGURE.fullmatch(row[index]) for row in self.rows)
            for index in range(len(self.headers))
        ]


@dataclass(frozen=True)
class Curve:
    """Chunks accounted for over seconds, with the seconds of the faults and what they were.

    Curves of the same ``kin`` have one colour; those with faults are dashed among them.
    """

    label: str
    points: Sequence[tuple[float, int]]
    faults: Sequence[tuple[float, str]] = ()
    kin: str = ""


@dataclass(frozen=True)
class ProgressPicture:
    title: str
    curves: Sequence[Curve]
    chunks_total: int


@dataclass(frozen=True)
class BarPicture:
    """A group of bars a label; a missing bar is None. ``unit`` is written at the axis."""

    title: str
    unit: str
    labels: Sequence[str]
    groups: Mapping[str, Sequence[float | None]]


Picture = ProgressPicture | BarPicture
Block = Paragraph | Bullets | Code | Grid | ProgressPicture | BarPicture


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block] = field(default=())


@dataclass(frozen=True)
class Document:
    """``facts`` stand under the title as ``name: value``."""

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
