"""Which ways through a definition an execution took, read from its history.

A way is (state, how, next state), as ``definitions.ways`` names them, and (state, ``Retry 0``, the same state). Branches of a choice
that lead to the same state are told apart by the variables that they assign; catchers, by the error.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.statemachine.definitions import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

type Way = tuple[str, str, str]
type Event = Mapping[str, Any]

ANY = "States.ALL"


def taken(machine: Mapping[str, Any], history: Sequence[Event]) -> Iterator[Way]:
    """Yield the ways that an execution took."""
    all_visits = list(visits(history))
    following: list[str] = [name for name, _ in all_visits[1:]]
    for (name, events), then in zip(all_visits, [*following, ""], strict=True):
        state = states(machine)[name]
        yield from _retries(name, state, events)
        if then:
            yield name, _how(state, events, then), then


def visits(history: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    """Yield each visit of a state with what happened in it, the execution's end with the last."""
    entered = [number for number, event in enumerate(history) if "stateEnteredEventDetails" in event]
    for begin, end in pairwise([*entered, len(history)]):
        yield history[begin]["stateEnteredEventDetails"]["name"], list(history[begin:end])


def _retries(name: str, state: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Way]:
    """Yield the retriers that let a task be scheduled once more."""
    for again in calls(events)[1:]:
        number = _matching(state.get("Retry", []), _error(events[:again]))
        yield name, f"Retry {number}", name


def calls(events: Sequence[Event]) -> list[int]:
    """Return the places at which a visit's call was made."""
    return [number for number, event in enumerate(events) if event["type"] == "TaskScheduled"]


def _how(state: Mapping[str, Any], events: Sequence[Event], then: str) -> str:
    if state["Type"] == "Choice":
        return _branch(state, _assigned(events), then)
    error = _error(events) if not _has_succeeded(events) else ""
    return f"Catch {_matching(state.get('Catch', []), error)}" if error else "Next"


def _has_succeeded(events: Sequence[Event]) -> bool:
    outcomes = [event["type"] for event in events if event["type"].endswith(("Succeeded", "Failed", "TimedOut"))]
    return not outcomes or outcomes[-1].endswith("Succeeded")


def _error(events: Sequence[Event]) -> str:
    """Return the name of the last error."""
    for event in reversed(events):
        for details in ("taskFailedEventDetails", "taskTimedOutEventDetails", "evaluationFailedEventDetails"):
            if details in event:
                return str(event[details]["error"])
    return ""


def _matching(handlers: Sequence[Mapping[str, Any]], error: str) -> int:
    (number, *_) = [number for number, handler in enumerate(handlers) if {error, ANY} & set(handler["ErrorEquals"])]
    return number


def _branch(state: Mapping[str, Any], assigned: Mapping[str, Any], then: str) -> str:
    fitting = [
        f"Choices {number}" for number, choice in enumerate(state["Choices"]) if choice["Next"] == then and _fits(choice.get("Assign", {}), assigned)
    ]
    if not fitting and state.get("Default") == then:
        return "Default"
    (branch,) = fitting
    return branch


def _fits(assign: Mapping[str, Any], assigned: Mapping[str, Any]) -> bool:
    """Tell whether a branch assigns these variables: the same names, and the same values where they are not expressions."""
    plain = {name: value for name, value in assign.items() if not (isinstance(value, str) and value.startswith("{%"))}
    return assign.keys() == assigned.keys() and all(assigned[name] == value for name, value in plain.items())


def _assigned(events: Sequence[Event]) -> dict[str, Any]:
    (exited,) = [event["stateExitedEventDetails"] for event in events if "stateExitedEventDetails" in event]
    return {name: json.loads(value) for name, value in exited.get("assignedVariables", {}).items()}
