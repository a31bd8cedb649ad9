"""Values as JSON, at the moment of their return; documented in ``docs/results.md``.

Numbers that JSON has no word for are ``{"$float": "nan"}``, ``"inf"`` or ``"-inf"``; a dict of a user that
looks like one of these is within ``{"$dict": …}``. Bytes are base64, dates ISO 8601, enumerations their
values, dataclasses dicts, paths, decimals and UUIDs text; arrays and scalars of NumPy what their ``tolist``
or ``item`` gives.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any

# Room for the rest of a message of 16 MiB, the most that RabbitMQ takes.
VALUE_BYTES = 15 * 1024 * 1024
_FINITE = float("inf")


class ValueRefused(Exception):
    """The value can't be kept; says why."""


def encode(value: Any) -> bytes:
    """The value as one line of JSON in UTF-8, without a newline. Raises :class:`ValueRefused`."""
    kind = type(value)
    if kind is int:
        return b"%d" % value
    if kind is float and -_FINITE < value < _FINITE:
        return repr(value).encode()
    try:
        text = _dumps(_plain(value)).encode()
    except RecursionError:
        raise ValueRefused("the value contains itself or is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueRefused("the value has text in it that is no Unicode (a lone surrogate)") from None
    if len(text) > VALUE_BYTES:
        raise ValueRefused(
            f"the value has {len(text):,} bytes as JSON and may have {VALUE_BYTES:,}; "
            "write what is larger to a file and return its path"
        )
    return text


_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_SAME = (str, int, bool, type(None))
_TEXT = (pathlib.PurePath, decimal.Decimal, uuid.UUID)


def _plain(value: Any) -> Any:
    """The value in what JSON has: dicts with text as keys, lists, text, numbers, True, False, None."""
    kind = type(value)
    if kind in _SAME:
        return value
    if kind is float:
        if -_FINITE < value < _FINITE:
            return value
        return {"$float": "nan" if value != value else "inf" if value > 0 else "-inf"}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    # Subclasses: what they are and not how they print.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return _plain(float.__float__(value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, collections.abc.Mapping):
        return _mapping(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, _TEXT):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"PT{value.total_seconds()!r}S"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        raise ValueRefused("a set has no order that stays, so that two attempts differ; return sorted(...)")
    if isinstance(value, complex):
        raise ValueRefused("JSON has no complex numbers; return [z.real, z.imag]")
    if isinstance(
        value, (collections.abc.Generator, collections.abc.Coroutine, collections.abc.AsyncGenerator)
    ):
        raise ValueRefused(f"{type_name(value)} is no value yet; return what it gives")
    return _converted(value)


def _mapping(value: Any) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        plain[_key(key)] = _plain(item)
    if len(plain) != len(value):
        raise ValueRefused("two keys of a dict are the same text")
    if len(plain) == 1 and ("$float" in plain or "$dict" in plain):
        return {"$dict": plain}
    return plain


def _key(key: Any) -> str:
    plain = _plain(key)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, (int, float, bool)) or plain is None:
        return _dumps(plain)
    raise ValueRefused(f"a key of a dict is {type_name(key)}; JSON has text alone as keys")


def _converted(value: Any) -> Any:
    """Arrays and scalars of NumPy and their like; structs of attrs and msgspec."""
    for conversion in ("tolist", "item"):
        if hasattr(value, conversion) and not isinstance(value, type):
            converted = getattr(value, conversion)()
            if type(converted) is type(value):
                break
            return _plain(converted)
    names = getattr(type(value), "__struct_fields__", None)
    if names is None:
        names = [attribute.name for attribute in getattr(type(value), "__attrs_attrs__", ())]
    if names:
        return {name: _plain(getattr(value, name)) for name in names}
    raise ValueRefused(f"JSON can't hold {type_name(value)}")


def type_name(value: Any) -> str:
    """The name of its type, with the module's where that is not the builtins'."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
