"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """``1 run``, ``1,234 runs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def chunks(number: int) -> str:
    return counted(number, "chunk")


def duration(seconds: float | None) -> str:
    """``12 ms``, ``1.2 s``, ``3 min 04 s``, ``2 h 05 min``, ``3 d 04 h``; ``-`` for None."""
    if seconds is None:
        return "-"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def eta(seconds: float | None) -> str:
    """A rough time to go, in whole seconds below a minute; ``-`` when nothing is known."""
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


def rate(per_second: float, *, of: str = "") -> str:
    """``0.43/s``, ``2.9/s``, ``1,234/s``, or ``2.9 chunks/s`` for those ``of="chunks"``."""
    if per_second >= 99.95:
        figure = f"{per_second:,.0f}"
    elif per_second >= 0.995 or per_second <= 0:
        figure = f"{max(per_second, 0):.1f}"
    else:
        figure = f"{per_second:.2f}"
    return f"{figure} {of}/s" if of else f"{figure}/s"


def percent(fraction: float) -> str:
    """Whole percent, rounded down: 100 % means all."""
    # The small addition undoes binary rounding: 0.29 * 100 is 28.999….
    return f"{int(fraction * 100 + 1e-9)} %"


def age(seconds: float) -> str:
    """As kubectl writes it: ``45s``, ``5m30s``, ``12m``, ``3h5m``, ``2d4h``, ``40d``, ``2y``."""
    seconds_total = max(0, int(seconds))
    if seconds_total < 120:
        return f"{seconds_total}s"
    minutes = seconds_total // 60
    if minutes < 10:
        return _two(minutes, "m", seconds_total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def old_workers(age_seconds: float) -> str:
    """How old the list of workers is, once that is worth a word; else empty."""
    return f"workers as of {duration(age_seconds)} ago" if age_seconds > 3.0 else ""


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def ids(numbers: Sequence[int], *, most: int = 20) -> str:
    """``4, 17, 31``; of many the first ``most`` and how many more there are."""
    text = ", ".join(map(str, numbers[:most]))
    return text if len(numbers) <= most else f"{text} and {len(numbers) - most:,} more"


def one_line(text: str) -> str:
    """Text from elsewhere made safe for one line of a terminal: no control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
