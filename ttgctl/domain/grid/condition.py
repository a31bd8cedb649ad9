"""A condition on the points of a grid, such as ``rate < strike and model != "heston"``.

Names of parameters, numbers, texts, lists of them; ``< <= > >= == != in``, ``and or not``, ``+ - * / // %``,
and ``abs``, ``min``, ``max``. Nothing else of Python: a parameter file is data and runs no code.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ttgctl.domain.grid.errors import INTEGER_MOST, GridError

Evaluate = Callable[[Mapping[str, Any]], Any]

_LENGTH_MOST: Final = 2000
_COMPARE: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_ARITHMETIC: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"abs": abs, "min": min, "max": max}


class Condition:
    """Raises :class:`GridError` for what is not of the form in this module's docstring, or has a name that is
    none of ``names``."""

    def __init__(self, text: object, names: Collection[str]) -> None:
        if not isinstance(text, str) or len(text) > _LENGTH_MOST:
            raise GridError(f"where: expected a condition as text, such as  where: {'rate < strike'!r}")
        self._text = text
        self._names = names
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._evaluate = self._compiled(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, GridError):
                raise
            raise GridError(f"where: {text!r} is no condition; write one such as  rate < strike") from None

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Raises :class:`GridError` where the point's values can't be compared so."""
        try:
            return bool(self._evaluate(point))
        except (TypeError, ArithmeticError) as error:
            used = {name: point[name] for name in point if name in self._text}
            raise GridError(f"where: {self._text}: {error}, at {used}") from None

    def _compiled(self, node: ast.expr) -> Evaluate:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, type(None))):
            value = node.value
            return lambda point: value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, (ast.List, ast.Tuple)):
            items = [self._compiled(item) for item in node.elts]
            return lambda point: [item(point) for item in items]
        if isinstance(node, ast.BoolOp):
            parts = [self._compiled(part) for part in node.values]
            decide = all if isinstance(node.op, ast.And) else any
            return lambda point: decide(part(point) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            operand = self._compiled(node.operand)
            undo = operator.not_ if isinstance(node.op, ast.Not) else operator.neg
            return lambda point: undo(operand(point))
        if isinstance(node, ast.Compare) and all(type(each) in _COMPARE for each in node.ops):
            return self._comparison(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            act, left, right = (
                _ARITHMETIC[type(node.op)],
                self._compiled(node.left),
                self._compiled(node.right),
            )
            return lambda point: act(_number(left(point)), _number(right(point)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            function = _FUNCTIONS.get(node.func.id)
            given = [self._compiled(each) for each in node.args]
            if function is not None and given:
                return lambda point: function(*[each(point) for each in given])
        raise GridError(
            f"where: {ast.unparse(node)!r} can't be part of a condition; there are names, numbers, texts, "
            "comparisons, and, or, not, + - * / // %, abs, min and max"
        )

    def _name(self, name: str) -> Evaluate:
        if name in ("true", "false", "null"):
            value = {"true": True, "false": False, "null": None}[name]
            return lambda point: value
        if name not in self._names:
            raise GridError(f"where: {name!r} is no parameter; there are {', '.join(self._names)}")
        return lambda point: point[name]

    def _comparison(self, node: ast.Compare) -> Evaluate:
        sides = [self._compiled(side) for side in (node.left, *node.comparators)]
        acts = [_COMPARE[type(each)] for each in node.ops]

        def compare(point: Mapping[str, Any]) -> bool:
            values = [side(point) for side in sides]
            return all(act(left, right) for act, left, right in zip(acts, values, values[1:], strict=False))

        return compare


def _number(value: Any) -> Any:
    # A text times a billion is no comparison.
    if not isinstance(value, (int, float)) or abs(value) >= INTEGER_MOST**2:
        raise TypeError(f"{value!r} is no number to reckon with")
    return value
