"""Options that several commands share, as one value of the command and as options of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from ttgctl.cli.options.option_group import with_option_groups


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(min=1)] = 2
    tags: Annotated[list[str] | None, typer.Option("--tag")] = None


@dataclass(frozen=True, kw_only=True)
class Place(Size):
    room: Annotated[str, typer.Option()] = "hall"


def command(name: Annotated[str, typer.Argument()], *, place: Place, loud: bool = False) -> int:
    typer.echo(f"{name} {place} {loud}")
    return 0


def run(*arguments: str, **defaults: object) -> str:
    app = typer.Typer()
    app.command()(with_option_groups(command, **defaults))
    done = CliRunner().invoke(app, arguments)
    return done.output.strip()


def test_each_field_is_an_option_and_the_command_gets_the_value():
    assert run("a", "--room", "attic", "--tag", "x", "--tag", "y", "--loud") == (
        "a Place(width=2, tags=['x', 'y'], room='attic') True"
    )


def test_defaults_are_the_fields_own_or_the_commands():
    assert run("a") == "a Place(width=2, tags=None, room='hall') False"
    assert run("a", width=7) == "a Place(width=7, tags=None, room='hall') False"


def test_an_options_own_rules_hold():
    assert "--width" in run("a", "--width", "0")
