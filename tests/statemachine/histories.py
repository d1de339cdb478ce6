"""How many history events an execution of a definition has at most, counted from its graph.

Step Functions ends a Standard execution that has more than 25,000 ("Service quotas"). The worst that can come: every call is retried as
often as its retriers allow, every launch finds no capacity, and every attempt is lost. A way through the graph is a path on which no
state comes twice, and cycles; each cycle passes a state that counts (``rounds``, ``looks``), and the definition bounds what is counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import networkx as nx  # type: ignore[import-untyped]  # brings no types

from tests.statemachine.definitions import states, ways

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 25_000
FRAME = 2
"""An execution's beginning and its end."""
PASSAGE = 2
"""A state is entered and exited."""
EVALUATION = 1
"""EvaluationFailed, where an expression fails. That leads out of every cycle."""
TRY = 3
"""TaskScheduled, TaskStarted, and how it ended."""
TRY_AND_WAIT = 4
"""TaskSubmitted as well, where Step Functions waits for a token or for the end of a job."""
USUAL_TRIES = 3
"""A retrier's ``MaxAttempts`` unless it says otherwise."""


def graph(machine: Mapping[str, Any]) -> nx.DiGraph[str]:
    """Return the states and the ways between them."""
    return nx.DiGraph([(origin, target) for origin, _, target in ways(machine)])


def most_tries(state: Mapping[str, Any]) -> int:
    """Return how often a state's call is made at most."""
    tries: int = 1 + sum(retrier.get("MaxAttempts", USUAL_TRIES) for retrier in state.get("Retry", []))
    return tries if state["Type"] == "Task" else 0


def events_of_visit(state: Mapping[str, Any], tries: int) -> int:
    """Return how many events one visit of a state adds when its call is made so often."""
    waits = state.get("Resource", "").endswith((".waitForTaskToken", ".sync", ".sync:2"))
    return PASSAGE + tries * (TRY_AND_WAIT if waits else TRY)


def most_events(state: Mapping[str, Any]) -> int:
    """Return how many events one visit of a state adds at most."""
    return events_of_visit(state, most_tries(state))


def counters(state: Mapping[str, Any]) -> set[str]:
    """Return the variables that a state counts up by one."""
    return {name for name, value in state.get("Assign", {}).items() if value == f"{{% ${name} + 1 %}}"}


def cycles(machine: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the ways that lead from a state back to it."""
    yield from nx.simple_cycles(graph(machine))


def most_events_per_count(machine: Mapping[str, Any], counter: str) -> float:
    """Return how many events a cycle has at most for each time that it counts."""
    return max(_events(machine, cycle) / times for cycle in cycles(machine) if (times := _times(machine, cycle, counter)))


def most_events_of_execution(machine: Mapping[str, Any], bounds: Mapping[str, int]) -> float:
    """Return how many events an execution has at most, when it counts no further than these bounds."""
    once = sum(most_events(state) + EVALUATION for state in states(machine).values())
    return FRAME + once + sum(bound * most_events_per_count(machine, counter) for counter, bound in bounds.items())


def _events(machine: Mapping[str, Any], names: list[str]) -> int:
    return sum(most_events(states(machine)[name]) for name in names)


def _times(machine: Mapping[str, Any], names: list[str], counter: str) -> int:
    return sum(counter in counters(states(machine)[name]) for name in names)


def bound_of_rounds(machine: Mapping[str, Any]) -> int:
    """Return how far ``rounds`` counts at most.

    GoOn looks at it; after its last look come the launches of one attempt, Spot and On-Demand, and the reading before the next look.
    """
    (rounds,) = _numbers(machine, "GoOn", r"\$rounds > (\d+)")
    spot, on_demand = _numbers(machine, "IsLaunched", r"\$launches < \(\$market = 'spot' \? (\d+) : (\d+)\)")
    return rounds + spot + on_demand + 1


def bound_of_looks(machine: Mapping[str, Any]) -> int:
    """Return how far ``looks`` counts at most: CanResume gives up at the look after those that it allows."""
    (looks,) = _numbers(machine, "CanResume", r"\$looks > (\d+)")
    return looks + 1


def attempts_per_execution(machine: Mapping[str, Any]) -> int:
    """Return how many attempts an execution runs before another goes on, when each is launched at once and interrupted."""
    (rounds,) = _numbers(machine, "GoOn", r"\$rounds > (\d+)")
    interrupted = [cycle for cycle in cycles(machine) if {"Run", "HowItWent"} <= set(cycle) and "EndInstance" not in cycle]
    (per_attempt,) = {_times(machine, cycle, "rounds") for cycle in interrupted}
    return rounds // per_attempt


def _numbers(machine: Mapping[str, Any], choice: str, pattern: str) -> list[int]:
    """Return the numbers of the one condition of a choice that fits a pattern."""
    (found,) = [match for branch in states(machine)[choice]["Choices"] if (match := re.search(pattern, branch["Condition"]))]
    return [int(number) for number in found.groups()]
