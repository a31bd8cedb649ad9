"""Which of a run's dead letters a command is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ttg_worker.wire import CAUSES
from ttgctl.core.account.dead_letters import LetterFilter
from ttgctl.domain.run import SpecError


@dataclass(frozen=True, kw_only=True)
class LetterOptions:
    """All dead letters that every option given fits; without one, all there are."""

    number: Annotated[
        list[int] | None, typer.Option("--number", min=1, help="By its number in the list; repeatable.")
    ] = None
    chunk: Annotated[
        list[int] | None, typer.Option("--chunk", min=0, help="Those of a chunk; repeatable.")
    ] = None
    cause: Annotated[
        list[str] | None, typer.Option("--cause", help=f"Only {', '.join(CAUSES)}; repeatable.")
    ] = None
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, metavar="SECONDS", help="Only those of such an age.")
    ] = 0.0

    def choice(self) -> LetterFilter:
        """Raises :class:`SpecError` for a cause that there is not."""
        unknown = set(self.cause or ()) - set(CAUSES)
        if unknown:
            raise SpecError(f"--cause {unknown.pop()!r}: expected one of {', '.join(CAUSES)}")
        return LetterFilter(
            numbers=self.number or (),
            chunks=self.chunk or (),
            causes=self.cause or (),
            older_than_seconds=self.older_than,
        )
