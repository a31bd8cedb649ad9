"""A report as a Word file, through python-docx, which is an extra and loaded when first needed."""

from __future__ import annotations

import io
import re
from itertools import zip_longest
from typing import Any, Final

from ttgctl.core.ports import MissingRequirement
from ttgctl.ui.reports.document import Block, Bullets, Code, Document, Grid, Paragraph
from ttgctl.ui.reports.pictures import describe, draw

_TEXT_WIDTH_CM: Final = 17.0
_ROWS_KEPT_TOGETHER: Final = 15
_INK: Final = (0x1C, 0x24, 0x30)
_TONES: Final = {"plain": _INK, "good": (0x0A, 0x6B, 0x3D), "bad": (0xB0, 0x00, 0x20)}


def to_docx(document: Document) -> bytes:
    """Raises :class:`MissingRequirement` when python-docx or matplotlib is not there."""
    try:
        import docx
    except ImportError as error:
        raise MissingRequirement(
            "a DOCX report needs python-docx: pip install 'ttgctl[reports]' (or take --format html)"
        ) from error
    from docx.shared import Cm

    file = docx.Document()
    page = file.sections[0]
    page.page_width, page.page_height = Cm(21.0), Cm(29.7)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(2.0)
    _set_styles(file)
    _number_pages(page)
    file.core_properties.title = document.title
    file.core_properties.author = "ttgctl"
    file.core_properties.comments = ""
    file.add_heading(document.title, level=0)
    facts = file.add_paragraph()
    for number, (name, value) in enumerate(document.facts):
        if number:
            facts.add_run("   ")
        facts.add_run(f"{name}: ").bold = True
        facts.add_run(value)
    for section in document.sections:
        file.add_heading(section.title, level=1)
        for block, following in zip_longest(section.blocks, section.blocks[1:]):
            _add(file, block)
            if isinstance(block, Paragraph) and isinstance(following, Grid):
                # What a table is about stays with it.
                file.paragraphs[-1].paragraph_format.keep_with_next = True
    buffer = io.BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def _set_styles(file: Any) -> None:
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    sizes = {"Normal": 10, "Title": 20, "Heading 1": 13, "List Bullet": 10}
    for name, points in sizes.items():
        style = file.styles[name]
        style.font.name = "Calibri"
        # Headings take the theme's font for some scripts unless it is taken away.
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for script in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{script}"), None)
        fonts.set(qn("w:hAnsi"), "Calibri")
        style.font.size = Pt(points)
        style.font.color.rgb = RGBColor(*_INK)
    file.styles["Normal"].paragraph_format.space_after = Pt(6)
    file.styles["Heading 1"].paragraph_format.space_before = Pt(16)
    file.styles["Heading 1"].paragraph_format.space_after = Pt(6)


def _number_pages(page: Any) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    paragraph = page.footer.paragraphs[0]
    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), "PAGE")
    paragraph._p.append(field)


def _add(file: Any, block: Block) -> None:
    from docx.shared import Cm, Pt, RGBColor

    match block:
        case Paragraph(text=text, tone=tone):
            run = file.add_paragraph().add_run(text)
            run.bold = tone != "plain"
            run.font.color.rgb = RGBColor(*_TONES[tone])
            if tone != "plain":
                run.font.size = Pt(12)
        case Bullets(items=items):
            for item in items:
                file.add_paragraph(item, style="List Bullet")
        case Code(lines=lines):
            paragraph = file.add_paragraph()
            _shade(paragraph._p.get_or_add_pPr(), "F3F5F7")
            for number, line in enumerate(lines):
                run = paragraph.add_run(line)
                run.font.name = "Consolas"
                run.font.size = Pt(8.5)
                if number < len(lines) - 1:
                    run.add_break()
        case Grid():
            _add_table(file, block)
        case _:
            picture = file.add_picture(io.BytesIO(draw(block, format="png")), width=Cm(_TEXT_WIDTH_CM))
            picture._inline.docPr.set("descr", describe(block))


def _add_table(file: Any, grid: Grid) -> None:
    from docx.enum.table import WD_TABLE_ALIGNMENT
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Cm, Pt

    table = file.add_table(rows=0, cols=len(grid.headers))
    table.style = "Table Grid"
    table.alignment = WD_TABLE_ALIGNMENT.LEFT
    table.autofit = False
    _soften(table)
    widths = _widths(grid)
    for number, row in enumerate((grid.headers, *grid.rows)):
        line = table.add_row()
        # A row is not torn apart by the end of a page.
        line._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
        if number == 0:
            repeated = OxmlElement("w:tblHeader")
            repeated.set(qn("w:val"), "true")
            line._tr.get_or_add_trPr().append(repeated)
        for index, text in enumerate(row):
            cell = line.cells[index]
            cell.width = Cm(widths[index])
            paragraph = cell.paragraphs[0]
            paragraph.paragraph_format.space_before = Pt(1.5)
            paragraph.paragraph_format.space_after = Pt(1.5)
            # A short table stays on one page, with the heading above it.
            paragraph.paragraph_format.keep_with_next = len(
                grid.rows
            ) <= _ROWS_KEPT_TOGETHER and number < len(grid.rows)
            run = paragraph.add_run(text)
            run.font.size = Pt(9)
            run.bold = number == 0
            if grid.right[index]:
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
            if number == 0:
                _shade(cell._tc.get_or_add_tcPr(), "E8ECF0")
    for index, width in enumerate(widths):
        table.columns[index].width = Cm(width)
    file.add_paragraph().paragraph_format.space_after = Pt(2)


def _widths(grid: Grid) -> list[float]:
    """Centimetres a column, together the width of the text: figures get what they need, text the rest."""
    least, wanted = [], []
    for index, header in enumerate(grid.headers):
        cells = [header, *(row[index] for row in grid.rows)]
        # Word goes on with the next line after a hyphen too.
        longest_word = max((len(word) for cell in cells for word in re.split(r"\s+|(?<=-)", cell)), default=1)
        least.append(0.5 + 0.21 * max(4, min(longest_word, 30)))
        wanted.append(0.5 + 0.21 * max(4, min(60, max(len(cell) for cell in cells))))
    room = _TEXT_WIDTH_CM - sum(least)
    if room <= 0:
        return [width * _TEXT_WIDTH_CM / sum(least) for width in least]
    # What is left goes first to where text wraps, then to the columns of words alike.
    more = [want - have for want, have in zip(wanted, least, strict=True)]
    share = min(1.0, room / sum(more)) if sum(more) else 0.0
    widths = [have + share * extra for have, extra in zip(least, more, strict=True)]
    words = [index for index, right in enumerate(grid.right) if not right] or list(range(len(widths)))
    left = (_TEXT_WIDTH_CM - sum(widths)) / len(words)
    return [width + (left if index in words else 0.0) for index, width in enumerate(widths)]


def _soften(table: Any) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    borders = OxmlElement("w:tblBorders")
    for edge in ("top", "left", "bottom", "right", "insideH", "insideV"):
        border = OxmlElement(f"w:{edge}")
        border.set(qn("w:val"), "none" if edge in ("left", "right", "insideV") else "single")
        border.set(qn("w:sz"), "4")
        border.set(qn("w:color"), "C8CFD6")
        borders.append(border)
    table._tbl.tblPr.append(borders)


def _shade(properties: Any, colour: str) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    shade = OxmlElement("w:shd")
    shade.set(qn("w:val"), "clear")
    shade.set(qn("w:fill"), colour)
    properties.append(shade)
