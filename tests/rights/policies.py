"""IAM's evaluation of identity-based policies, as far as this project's policies use it; what it does not know is an error.

An explicit denial wins, else a statement that allows, else it is denied ("Policy evaluation logic", IAM User Guide,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html). No library was found that evaluates
conditions: moto's knows none, PrincipalMapper's does not run on Python 3.13.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}
"""What a statement of an identity-based policy may have here: neither NotAction nor NotResource, which grant what nobody named."""
ARN_PARTS = 6
FOR_ALL = "ForAllValues:"
IF_EXISTS = "IfExists"

type Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One question to IAM: an action on one resource, and the condition keys that the request has.

    A key that may have many values (``dynamodb:Attributes``) has them all. Keys do not depend on case; values do.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def values(self, key: str) -> Sequence[str] | None:
        """Return the values of a condition key; None where the request has no such key."""
        return next((values for name, values in self.context.items() if name.lower() == key.lower()), None)

    def __str__(self) -> str:
        shown = "".join(f", {key}={'|'.join(values)}" for key, values in self.context.items())
        return f"{self.action} on {self.resource}{shown}"


def is_allowed(statements: Iterable[Statement], request: Request) -> bool:
    """Tell whether these statements together allow a request."""
    effects = {str(statement["Effect"]) for statement in applying(statements, request)}
    return effects == {"Allow"}


def applying(statements: Iterable[Statement], request: Request) -> list[Statement]:
    """Return the statements that speak of a request, whichever their effect."""
    return [statement for statement in statements if _applies(statement, request)]


def listed(value: Any) -> list[Any]:
    """Return IAM's one or many as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def actions(statements: Iterable[Statement]) -> set[str]:
    """Return the actions that statements name."""
    return {action for statement in statements for action in listed(statement["Action"])}


def _applies(statement: Statement, request: Request) -> bool:
    unknown = statement.keys() - ELEMENTS
    if unknown:
        raise NotImplementedError(f"a statement with {', '.join(sorted(unknown))}")
    return (
        any(_is_like(request.action.lower(), action.lower()) for action in listed(statement["Action"]))
        and any(_is_like(request.resource, resource) for resource in listed(statement["Resource"]))
        and all(_holds(operator, keys, request) for operator, keys in statement.get("Condition", {}).items())
    )


def _holds(operator: str, keys: Mapping[str, Any], request: Request) -> bool:
    """Tell whether a block of a condition holds: every key of it, with any of the key's values.

    "Condition operators" and "Multivalued context keys" in the IAM User Guide: a missing key fails, but for ``...IfExists`` and for
    ``ForAllValues:``, which hold then.
    """
    name = operator.removeprefix(FOR_ALL).removesuffix(IF_EXISTS)
    if name not in _OPERATORS:
        raise NotImplementedError(f"the condition operator {operator}")
    matches = _OPERATORS[name]
    for key, expected in keys.items():
        wanted = [_text(value) for value in listed(expected)]
        found = request.values(key)
        if found is None:
            if not operator.endswith(IF_EXISTS) and not operator.startswith(FOR_ALL):
                return False
            continue
        if len(found) > 1 and not operator.startswith(FOR_ALL):
            raise NotImplementedError(f"{operator} with many values of {key}")
        if not all(any(matches(value, pattern) for pattern in wanted) for value in found):
            return False
    return True


def _text(value: object) -> str:
    """Return a condition's value as IAM reads it: JSON's true is the word."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "${" in text:
        raise NotImplementedError(f"the policy variable in {text}")
    return text


def _is_like(value: str, pattern: str) -> bool:
    """Match ``*`` and ``?``, which reach over every character."""
    return _wildcards(pattern).fullmatch(value) is not None


@cache
def _wildcards(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern), re.DOTALL)


def _is_arn_like(value: str, pattern: str) -> bool:
    """Match each of an ARN's six parts by itself, so that a wildcard ends at a colon but for the last part."""
    parts, patterns = value.split(":", ARN_PARTS - 1), pattern.split(":", ARN_PARTS - 1)
    return len(parts) == len(patterns) == ARN_PARTS and all(_is_like(part, one) for part, one in zip(parts, patterns, strict=True))


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, pattern: value == pattern,
    "StringLike": _is_like,
    "ArnEquals": _is_arn_like,  # the same as ArnLike, says the IAM User Guide
    "ArnLike": _is_arn_like,
    "Bool": lambda value, pattern: value.lower() == pattern,
}
