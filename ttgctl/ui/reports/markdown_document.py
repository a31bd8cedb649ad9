"""Markdown as a document: what a template gives becomes the blocks that every format can hold.

The first heading is the title; paragraphs ``**Name:** value`` below it are the document's facts. Further
headings, of whatever level, begin sections. Tables, fenced code, paragraphs and lists are taken as they
are, a list within a list as items of the outer one. Inline marks are plain text, with addresses of links and
images in parentheses. An image whose address begins with ``ttgctl:`` stands for pictures that are drawn from
runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from ttgctl.ui.reports.document import Block, Bullets, Code, Document, Grid, Paragraph, Section, Tone

PICTURES: Final = "ttgctl:"
_FACT: Final = re.compile(r"\*\*([^*]+):\*\*\s*(.+)")


def markdown_document(text: str, *, pictures: Callable[[str], Sequence[Block]]) -> Document:
    """``pictures`` gives the blocks that ``ttgctl:NAME`` stands for; it may refuse a name."""
    parsed = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    title = ""
    facts: list[tuple[str, str]] = []
    sections: list[Section] = []
    found: list[Block] = []
    heading = ""
    for node in parsed.children:
        if node.type == "heading":
            if not title and not found:
                title = _text(node)
                continue
            if heading or found:
                sections.append(Section(heading or "Summary", found))
            heading, found = _text(node), []
        elif node.type == "paragraph" and not heading and (named := list(_facts(node))):
            facts += named
        else:
            found += _blocks(node, pictures)
    if heading or found:
        sections.append(Section(heading or "Summary", found))
    return Document(title=title or "Report", facts=facts, sections=[s for s in sections if s.blocks])


def _facts(node: SyntaxTreeNode) -> Iterator[tuple[str, str]]:
    for line in node.children[0].content.splitlines():
        match = _FACT.fullmatch(line.strip())
        if match is not None:
            yield match[1], match[2]


def _blocks(node: SyntaxTreeNode, pictures: Callable[[str], Sequence[Block]]) -> list[Block]:
    if node.type in ("fence", "code_block"):
        return [Code(node.content.rstrip("\n").splitlines())]
    if node.type in ("bullet_list", "ordered_list"):
        return [Bullets(list(_items(node)))]
    if node.type == "table":
        rows = [[_text(cell) for cell in row.children] for part in node.children for row in part.children]
        return [Grid(rows[0], rows[1:])]
    if node.type == "blockquote":
        return [block for child in node.children for block in _blocks(child, pictures)]
    if node.type != "paragraph":
        return []
    inline = node.children[0]
    names = [
        str(child.attrs["src"]).removeprefix(PICTURES)
        for child in inline.children
        if child.type == "image" and str(child.attrs["src"]).startswith(PICTURES)
    ]
    if names:
        return [block for name in names for block in pictures(name)]
    text = _text(node)
    strong = len(inline.children) == 1 and inline.children[0].type == "strong"
    tone: Tone = "plain" if not strong else "bad" if text.startswith("NOT ") else "good"
    return [Paragraph(text, tone=tone)] if text else []


def _items(node: SyntaxTreeNode, *, depth: int = 0) -> Iterator[str]:
    """The items of a list and of those within it, each by itself; numbers and depth are kept as text."""
    start = int(node.attrs.get("start", 1))
    for number, item in enumerate(node.children, start):
        inner = [child for child in item.children if child.type in ("bullet_list", "ordered_list")]
        own = " ".join(_text(child) for child in item.children if child not in inner)
        mark = f"{number}. " if node.type == "ordered_list" else ""
        yield "– " * depth + mark + own
        for each in inner:
            yield from _items(each, depth=depth + 1)


def _text(node: SyntaxTreeNode) -> str:
    if node.type in ("text", "code_inline"):
        return str(node.content)
    if node.type in ("softbreak", "hardbreak"):
        return " "
    if node.type == "image":
        return f"{node.content} ({node.attrs['src']})"
    if node.type == "link":
        text, address = "".join(map(_text, node.children)), str(node.attrs["href"])
        return text if text == address else f"{text} ({address})"
    return "".join(map(_text, node.children))
