"""A report as one HTML file that opens offline: style and pictures are inside."""

from __future__ import annotations

import base64

from ttgctl.ui.reports.document import Document, Picture
from ttgctl.ui.reports.pictures import describe, draw


def to_html(document: Document) -> bytes:
    """Raises :class:`~ttgctl.core.ports.MissingRequirement` without matplotlib, if there are pictures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ttgctl.ui.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["image"] = _image
    environment.filters["describe"] = describe
    return environment.get_template("report.html.j2").render(document=document).encode()


def _image(picture: Picture) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(draw(picture, format='svg')).decode()}"
