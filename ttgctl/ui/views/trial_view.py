"""What trying some parameters came to, and what that means for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.text import Text

from ttgctl.ui.text import formats


class Outcome(Protocol):
    """Of one parameter."""

    @property
    def index(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def size(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...


def trial_view(tried: Sequence[Outcome], *, total: int, workers: int) -> Text:
    """Times and sizes of those that worked, the errors of the others, and an estimate for ``total``."""
    good = [each for each in tried if each.size is not None]
    lines = []
    if good:
        seconds = [each.seconds for each in good]
        mean, size = sum(seconds) / len(good), sum(each.size or 0 for each in good) / len(good)
        between = f"{formats.duration(min(seconds))} to {formats.duration(max(seconds))}"
        lines += [
            f"tried {len(tried)} of them here: {between} each",
            f"all of them: about {formats.duration(mean * total / workers)} with {workers:,} workers as fast "
            f"as this machine, and {_size(size * total)} of values",
        ]
    for each in tried:
        if each.error is not None:
            lines.append(f"parameter {each.index:,}: {each.error}")
        elif each.size is None:
            lines.append(f"parameter {each.index:,}: not done after {formats.duration(each.seconds)}")
    return Text("\n".join(lines))


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:,.1f} {unit}"
