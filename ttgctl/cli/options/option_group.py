"""Options that several commands have, as one value: a dataclass whose fields are options."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter


def with_option_groups(command: Callable[..., int], **defaults: object) -> Callable[..., int]:
    """Gives Typer a command whose parameters are all options of their own.

    A parameter whose type is a dataclass stands for the fields of it, each with its default or the
    one of that name in ``defaults``; the command is called with the dataclass made of them.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    options: list[Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            options += _options_of(groups[parameter.name], defaults)
        else:
            options.append(parameter.replace(annotation=hints[parameter.name], kind=Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def call(**given: object) -> int:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **made)

    call.__signature__ = inspect.Signature(options, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options}
    # Typer would follow it back to the command's own signature.
    del call.__wrapped__
    return call


def _options_of(group: type, defaults: dict[str, object]) -> list[Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=defaults.get(field.name, field.default),
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
