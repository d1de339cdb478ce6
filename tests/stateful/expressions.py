"""DynamoDB's conditions and updates, as far as the product writes them (DynamoDB, "Condition and filter expressions").

Every expression is read once and kept: a history of the world evaluates thousands. test_expressions.py compares with moto's.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

type Item = Mapping[str, Mapping[str, Any]]
type Given = tuple[Item, Mapping[str, str], Mapping[str, Any]]
"""An item, and the names and values of the expression's placeholders."""
type Condition = Callable[[Given], bool]
type Operand = Callable[[Given], Mapping[str, Any] | None]

TOKENS = re.compile(r"\s*(<=|>=|[=<>(),]|[#:]?\w+)")
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}


@cache
def condition(text: str) -> Condition:
    """Return a condition expression as a function."""
    reader = _Reader(TOKENS.findall(text))
    holds = reader.alternatives()
    assert not reader.tokens, f"{text}: not read: {reader.tokens}"
    return holds


@cache
def update(text: str) -> Callable[[Given], dict[str, Mapping[str, Any]]]:
    """Return an update expression, ``SET`` and ``REMOVE``, as a function that returns the item as it is then."""
    clauses = re.fullmatch(r"SET (?P<sets>.*?)(?: REMOVE (?P<removes>.*))?", text, re.DOTALL)
    assert clauses, text
    sets = [_assignment(*part) for part in re.findall(r"([#\w]+) = (if_not_exists\([^)]*\)|[:#]?\w+)", clauses["sets"])]
    assert len(sets) == clauses["sets"].count(" = "), text
    removes = [name.strip() for name in clauses["removes"].split(",")] if clauses["removes"] else []

    def apply(given: Given) -> dict[str, Mapping[str, Any]]:
        item, names, _ = given
        changed = {name: value for name, value in item.items() if name not in [names.get(removed, removed) for removed in removes]}
        return changed | {names.get(name, name): value for name, value in ((name, of(given)) for name, of in sets) if value is not None}

    return apply


def _assignment(name: str, value: str) -> tuple[str, Operand]:
    if value.startswith("if_not_exists"):
        there, other = (_operand(part.strip()) for part in value.removeprefix("if_not_exists(").removesuffix(")").split(","))
        return name, lambda given: there(given) or other(given)
    return name, _operand(value)


def _operand(token: str) -> Operand:
    if token.startswith(":"):
        return lambda given: given[2][token]
    return lambda given: given[0].get(given[1].get(token, token))


def _plain(value: Mapping[str, Any] | None) -> tuple[str, Any] | None:
    if value is None:
        return None
    ((kind, plain),) = value.items()
    return kind, float(plain) if kind == "N" else plain


class _Reader:
    """Reads a condition; what binds loosest comes first."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def alternatives(self) -> Condition:
        """``a OR b``."""
        parts = [self._conjunction()]
        while self._took("OR"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else lambda given: any(part(given) for part in parts)

    def _conjunction(self) -> Condition:
        parts = [self._term()]
        while self._took("AND"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else lambda given: all(part(given) for part in parts)

    def _term(self) -> Condition:
        if self._took("("):
            inner = self.alternatives()
            assert self._took(")")
            return inner
        token = self.tokens.pop(0)
        if self.tokens and self.tokens[0] == "(":
            return self._call(token)
        return self._comparison(_operand(token))

    def _call(self, function: str) -> Condition:
        arguments = [_operand(token) for token in self._list()]
        match function:
            case "attribute_exists":
                return lambda given: arguments[0](given) is not None
            case "attribute_not_exists":
                return lambda given: arguments[0](given) is None
            case "begins_with":
                return lambda given: str((arguments[0](given) or {"S": ""})["S"]).startswith((arguments[1](given) or {})["S"])
        raise AssertionError(function)

    def _comparison(self, left: Operand) -> Condition:
        operator = self.tokens.pop(0)
        if operator == "IN":
            others = [_operand(token) for token in self._list()]
            return lambda given: left(given) is not None and _plain(left(given)) in [_plain(other(given)) for other in others]
        compare, right = ORDER[operator], _operand(self.tokens.pop(0))

        def holds(given: Given) -> bool:
            one, other = _plain(left(given)), _plain(right(given))
            return one is not None and other is not None and one[0] == other[0] and compare(one[1], other[1])

        return holds

    def _list(self) -> list[str]:
        assert self._took("(")
        found = []
        while not self._took(")"):
            found.append(self.tokens.pop(0))
            self._took(",")
        return found

    def _took(self, token: str) -> bool:
        if not self.tokens or self.tokens[0] != token:
            return False
        del self.tokens[0]
        return True
