"""The JSONata of a definition: that it parses, which variables it needs, and which are assigned on the way to a state.

Variables in Step Functions: "Passing data between states with variables" (Step Functions Developer Guide). All expressions of a state are
evaluated with the variables as they were when the state was entered; a catcher's or a choice's ``Assign`` takes the place of the state's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jsonata import Jsonata

from tests.statemachine.calls import is_expression
from tests.statemachine.definitions import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FUNCTIONS = (set(Jsonata.static_frame.bindings) - {"eval"}) | {"hash", "parse", "partition", "range", "uuid"}
"""JSONata's functions without the one that Step Functions does not have, and its own ("Transforming data with JSONata")."""
OWN = "states"
"""The variable that Step Functions provides."""
CONTENTS = {"context", "errorOutput", "input", "result"}
"""What that one has."""
_PARTS = (
    "expression", "expressions", "steps", "lhs", "rhs", "lhs_object", "rhs_object", "condition", "then", "_else", "body", "procedure",
    "predicate", "stages", "group", "terms", "rhs_terms", "pattern", "update", "delete", "expr",
)  # fmt: skip


def expressions(part: Any) -> Iterator[str]:
    """Yield the JSONata in a part of a definition."""
    if is_expression(part):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from expressions(inner)


@functools.cache
def free_names(expression: str) -> frozenset[str]:
    """Return the variables and functions that an expression takes from outside; raise JSONata's own error where it does not parse."""
    return frozenset(_free(_tree(expression), frozenset({"", "$"})))


@functools.cache
def contents(expression: str) -> frozenset[str]:
    """Return what an expression reads of ``$states``."""
    return frozenset(_contents(_tree(expression)))


def needed(state: Mapping[str, Any]) -> set[str]:
    """Return the variables that a state's expressions need."""
    return {name for expression in expressions(state) for name in free_names(expression)} - FUNCTIONS - {OWN}


def assigned(machine: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return, by state, the variables that are assigned whichever way it is reached; a state that is not reached is left out."""
    found: dict[str, set[str]] = {machine["StartAt"]: set()}
    waiting = [machine["StartAt"]]
    while waiting:
        name = waiting.pop()
        for target, names in _leaving(states(machine)[name]):
            now = found[name] | names
            if target not in found or not found[target] <= now:
                found[target] = found.get(target, now) & now
                waiting.append(target)
    return found


def _leaving(state: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """Yield each way out of a state: where to, and the variables that it assigns."""
    for how in ("Next", "Default"):
        if how in state:
            yield state[how], set(state.get("Assign", {}))
    for branch in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield branch["Next"], set(branch.get("Assign", {}))


def _tree(expression: str) -> Any:
    return Jsonata.jsonata(expression.removeprefix("{%").removesuffix("%}")).ast


def _free(part: Any, bound: frozenset[str]) -> Iterator[str]:
    """Yield the names that a part of an expression does not bind itself."""
    if isinstance(part, (list, tuple)):
        for inner in part:
            yield from _free(inner, bound)
    elif part is not None:
        match getattr(part, "type", None):
            case "variable":
                yield from {part.value} - bound
            case "lambda":
                yield from _free(part.body, bound | {parameter.value for parameter in part.arguments})
            case "block":
                yield from _free_in_block(part, bound)
            case _:
                for inner in _parts(part):
                    yield from _free(inner, bound)


def _free_in_block(block: Any, bound: frozenset[str]) -> Iterator[str]:
    for expression in block.expressions:
        yield from _free(expression.rhs if expression.type == "bind" else expression, bound)
        if expression.type == "bind":
            bound |= {expression.lhs.value}


def _contents(part: Any) -> Iterator[str]:
    if isinstance(part, (list, tuple)):
        for inner in part:
            yield from _contents(inner)
    elif part is not None:
        steps = getattr(part, "steps", None) or []
        if steps and (steps[0].type, steps[0].value) == ("variable", OWN):
            yield steps[1].value
        for inner in _parts(part):
            yield from _contents(inner)


def _parts(part: Any) -> Iterator[Any]:
    for name in _PARTS:
        yield getattr(part, name, None)
    if part.__class__.__name__ == "Symbol":
        yield part.arguments
