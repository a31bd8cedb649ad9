"""A report as Markdown; pictures are left to the formats that can hold them."""

from __future__ import annotations

from ttgctl.ui.reports.document import Block, Bullets, Code, Document, Grid, Paragraph


def to_markdown(document: Document) -> str:
    parts = [f"# {document.title}"]
    parts.append("  \n".join(f"**{name}:** {_inline(value)}" for name, value in document.facts))
    for section in document.sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks:
            parts += [f"## {section.title}", *blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text=text, tone=tone):
            return _inline(text) if tone == "plain" else f"**{_inline(text)}**"
        case Bullets(items=items):
            return "\n".join(f"- {_inline(item)}" for item in items)
        case Code(lines=lines):
            return "\n".join(["```bash", *lines, "```"])
        case Grid(headers=headers, rows=rows):
            rule = ["---:" if right else "---" for right in block.right]
            table = [[_cell(cell) for cell in row] for row in (headers, *rows)]
            return "\n".join(f"| {' | '.join(row)} |" for row in (table[0], rule, *table[1:]))
        case _:
            return ""


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    """Text from elsewhere stays text: no markup, no line of its own."""
    flat = " ".join(text.split())
    for sign in ("\\", "`", "*", "<", "["):
        flat = flat.replace(sign, f"\\{sign}")
    # Names such as dead_letters are safe: an underscore inside a word marks nothing up.
    return flat
