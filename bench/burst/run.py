"""The designs, each through each burst, and the figures of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

from bench.burst.account import Account
from bench.burst.limits import Quotas, Seconds
from bench.burst.others import HUNDRED, TEN, PerEvent, Queued
from bench.burst.ours import Ours
from bench.burst.warnings import DEADLINE, burst

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.burst.warnings import Commanded, Warned
    from bench.results import Row

SIZES = (1, 10, 100, 1000, 10_000, 100_000)
SEED = 1
MORE_COMMANDS = 50.0
"""SendCommand a second, where AWS has raised the quota."""


class Stack(Protocol):
    """A design, deployed into a simulated account."""

    commanded: Commanded

    @property
    def dead_letters(self) -> int:
        """How many events or records were given up."""

    def warn(self, warned: Warned) -> None:
        """Put a warning on the bus."""


@dataclass(frozen=True, slots=True)
class Design:
    """A way to answer warnings, and the bursts for which it is worth a look."""

    name: str
    deploy: Callable[[Account], Stack]
    bursts: tuple[int, ...] = SIZES
    quotas: Quotas = field(default_factory=Quotas)
    seconds: Seconds = field(default_factory=Seconds)


OURS = Design("ours", Ours)
PER_EVENT = Design("one call for each event", PerEvent)
LARGE = SIZES[-2:]
DESIGNS = (
    OURS,
    Design("ours, all twice as slow", Ours, LARGE[:1], seconds=Seconds().times(2)),
    Design("ours, 2 shards", lambda account: Ours(account, 2), LARGE[:1]),
    Design("ours, 10 shards", lambda account: Ours(account, 10), LARGE),
    Design("ours, 10 shards, quota x10", lambda account: Ours(account, 10), LARGE, Quotas(send_command=(MORE_COMMANDS, MORE_COMMANDS))),
    PER_EVENT,
    Design("queue, batches of 10", lambda account: Queued(account, TEN)),
    Design("queue, batches of 100", lambda account: Queued(account, HUNDRED)),
)


def horizon(warnings: int) -> float:
    """Return when to stop, in seconds: after the last deadline nothing helps, but up to 10,000 it is worth knowing how late they are."""
    return 600.0 if warnings <= LARGE[0] else 130.0


def simulate(design: Design, warnings: int, seed: int = SEED) -> Row:
    """Return the figures of one burst."""
    account = Account(design.quotas, design.seconds, seed)
    stack = design.deploy(account)
    warned = burst(warnings, account.chance)
    for one in warned:
        stack.warn(one)
    account.engine.run(horizon(warnings))
    return figures(design.name, account, stack, warned)


def figures(design: str, account: Account, stack: Stack, warned: Sequence[Warned]) -> Row:
    """Return a row of ``out/bench.json``. Seconds count from the event's own time, which has whole ones; None is never."""
    took = sorted(stack.commanded.at.get(one.instance_id, inf) - one.event_time for one in warned)
    return {
        "design": design,
        "warnings": len(warned),
        "calls": dict(sorted(account.calls.items())),
        "throttled": account.throttled,
        "event_to_command_seconds": {"median": of(took, 0.5), "p99": of(took, 0.99), "worst": of(took, 1.0)},
        "before_deadline": sum(seconds < DEADLINE for seconds in took) / len(took),
        "without_command": sum(seconds == inf for seconds in took),
        "commands_too_many": sum(times - 1 for times in stack.commanded.times.values()),
    }


def of(ascending: Sequence[float], share: float) -> float | None:
    """Return the value that this share does not exceed, by nearest rank; None where that is never."""
    value = ascending[max(ceil(share * len(ascending)), 1) - 1]
    return None if value == inf else round(value, 3)
