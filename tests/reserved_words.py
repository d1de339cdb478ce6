"""The words that DynamoDB's expressions may not have bare ("Reserved words in DynamoDB", DynamoDB Developer Guide); moto keeps the list."""

from __future__ import annotations

import re

from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

GRAMMAR = {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN"}
"""Reserved words that are an expression's own ("Condition and filter expressions", "Using update expressions")."""
EXPRESSIONS = ("UpdateExpression", "ConditionExpression", "KeyConditionExpression", "FilterExpression", "ProjectionExpression")
RESERVED = frozenset(word.upper() for word in ReservedKeywords.get_reserved_keywords()) - GRAMMAR


def reserved_in(expression: str) -> set[str]:
    """Return the reserved words that an expression uses as names: not as a placeholder (``#name``, ``:value``), nor as a function."""
    words = re.findall(r"(?<![#:\w])[A-Za-z_]\w*(?!\w|\s*\()", expression)
    return {word for word in words if word.upper() in RESERVED}
