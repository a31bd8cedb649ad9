"""Draws a report's pictures with matplotlib, which is an extra and loaded when first needed."""

from __future__ import annotations

import io
from typing import Any, Final, Literal

from ttgctl.core.ports import MissingRequirement
from ttgctl.ui.reports.document import BarPicture, Picture, ProgressPicture
from ttgctl.ui.text import formats

_WIDTH_INCHES: Final = 7.0
# Okabe and Ito's, which people who see few colours tell apart as well.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_FAULT_COLOUR: Final = "#B00020"
_HATCHES: Final = ("", "//", "..", "xx")
_MOST_BARS: Final = 28
_MOST_NAMED_FAULTS: Final = 8


def draw(picture: Picture, *, format: Literal["svg", "png"]) -> bytes:
    """The picture as a file's bytes; the same picture gives the same bytes.

    Raises :class:`MissingRequirement` when matplotlib is not there.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingRequirement(
            "pictures need matplotlib: pip install 'ttgctl[reports]' (or take --format md)"
        ) from error
    style = {
        "svg.hashsalt": "ttgctl",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        if isinstance(picture, ProgressPicture):
            figure = Figure(figsize=(_WIDTH_INCHES, 3.2), layout="constrained")
            _progress(figure.subplots(), picture)
        else:
            figure = Figure(figsize=(_WIDTH_INCHES, _bars_height(picture)), layout="constrained")
            _bars(figure.subplots(), picture)
        buffer = io.BytesIO()
        metadata = {"Date": None} if format == "svg" else {"Software": None}
        figure.savefig(buffer, format=format, dpi=160, metadata=metadata)
    return buffer.getvalue()


def describe(picture: Picture) -> str:
    """What the picture shows in words, for those who cannot see it."""
    if isinstance(picture, ProgressPicture):
        ends = [
            f"{curve.label} reaches {curve.points[-1][1]:,} of {formats.chunks(picture.chunks_total)} "
            f"after {formats.duration(curve.points[-1][0])}"
            for curve in picture.curves
            if curve.points
        ]
        return f"{picture.title} over time: {'; '.join(ends)}"
    parts = []
    for name, values in picture.groups.items():
        said = [
            f"{label} {value:,.4g}"
            for label, value in zip(picture.labels, values, strict=True)
            if value is not None
        ]
        parts.append(f"{name + ': ' if name else ''}{', '.join(said[:_MOST_BARS])}")
    return f"{picture.title} in {picture.unit}: {'; '.join(parts)}"


def _progress(axes: Any, picture: ProgressPicture) -> None:
    marked = False
    colours: dict[str, str] = {}
    for curve in picture.curves:
        colour = colours.setdefault(curve.kin, _COLOURS[len(colours) % len(_COLOURS)])
        seconds = [at for at, _ in curve.points]
        chunks = [number for _, number in curve.points]
        axes.plot(
            seconds,
            chunks,
            drawstyle="steps-post",
            color=colour,
            linestyle="--" if curve.faults and len(picture.curves) > 1 else "-",
            linewidth=1.6,
            label=curve.label,
        )
    # After all curves, so that they lie on top and come last in the legend.
    for curve in picture.curves:
        for at, kind in curve.faults:
            height = max((number for second, number in curve.points if second <= at), default=0)
            # One entry in the legend stands for all of them.
            label = None if marked else "fault"
            marked = True
            axes.plot(
                [at], [height], marker="X", markersize=8, color=_FAULT_COLOUR, linestyle="none", label=label
            )
            if len(picture.curves) == 1 and len(curve.faults) <= _MOST_NAMED_FAULTS:
                axes.annotate(
                    f"{kind} {formats.duration(at)}",
                    (at, height),
                    xytext=(8, -10),
                    textcoords="offset points",
                    color=_FAULT_COLOUR,
                    fontsize=8,
                )
    axes.axhline(picture.chunks_total, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xlabel("seconds since the first delivery")
    axes.set_ylabel("chunks")
    axes.set_ylim(0, picture.chunks_total * 1.06)
    axes.set_xlim(left=0)
    axes.set_title(picture.title, loc="left", fontweight="bold")
    if len(picture.curves) > 1:
        axes.legend(loc="lower right")


def _most_labels(picture: BarPicture) -> int:
    """So many that the picture is not higher than a page."""
    return _MOST_BARS // max(1, len(picture.groups))


def _bars_height(picture: BarPicture) -> float:
    labels = min(len(picture.labels), _most_labels(picture))
    return (1.35 if any(picture.groups) else 1.1) + labels * (0.2 * len(picture.groups) + 0.08)


def _bars(axes: Any, picture: BarPicture) -> None:
    labels, groups = _shortened(picture)
    thickness = 0.8 / len(groups)
    greatest = max(
        (value for values in groups.values() for value in values if value is not None), default=0.0
    )
    for index, (name, values) in enumerate(groups.items()):
        places = [row + (index - (len(groups) - 1) / 2) * thickness for row in range(len(labels))]
        axes.barh(
            places,
            [value or 0.0 for value in values],
            height=thickness * 0.9,
            color=_COLOURS[index % len(_COLOURS)],
            hatch=_HATCHES[index % len(_HATCHES)],
            edgecolor="white",
            linewidth=0,
            label=name or None,
        )
        for place, value in zip(places, values, strict=True):
            text = "-" if value is None else _figure(value, greatest)
            axes.text((value or 0.0) + greatest * 0.01, place, text, va="center", fontsize=8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, greatest * 1.12 or 1)
    axes.set_xlabel(picture.unit)
    left = len(picture.labels) - len(labels)
    title = (
        f"{picture.title}, the first {len(labels):,} of {len(picture.labels):,}" if left else picture.title
    )
    axes.set_title(title, loc="left", fontweight="bold")
    if any(groups):
        axes.figure.legend(loc="outside lower center", ncols=len(groups))


def _shortened(picture: BarPicture) -> tuple[list[str], dict[str, list[float | None]]]:
    most = _most_labels(picture)
    labels = [label if len(label) <= 34 else f"{label[:33]}…" for label in picture.labels[:most]]
    return labels, {name: list(values[:most]) for name, values in picture.groups.items()}


def _figure(value: float, greatest: float) -> str:
    whole = value == int(value) and greatest >= 10
    return f"{value:,.0f}" if whole else f"{value:,.1f}" if greatest >= 3 else f"{value:,.2f}"
