"""What can befall AWS as a whole: half of all calls fail, or some operations are out of order for a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.examples import EVENT_TIME
from tests.faults.cloud import Blow

if TYPE_CHECKING:
    from random import Random

    from tests.fakes.aws import Call
    from tests.faults.cloud import VirtualClock

FAULTS = (Blow.THROTTLED, Blow.BROKEN, Blow.RESET_BEFORE, Blow.RESET_AFTER, Blow.SLOW_BEFORE, Blow.SLOW_AFTER, Blow.DRAGGING)
IN_PARTS = ("dynamodb:BatchGetItem", "dynamodb:BatchExecuteStatement")


@dataclass
class Half:
    """Half of all calls fail, each in any way that its operation knows."""

    random: Random
    struck: Counter[tuple[str, Blow]] = field(default_factory=Counter)

    def __call__(self, call: Call) -> Blow | None:
        """Strike every other call, by chance."""
        blow = self.random.choice((*FAULTS, *[Blow.PARTLY] * len(FAULTS)) if call.operation in IN_PARTS else FAULTS)
        if self.random.random() < 0.5:
            return None
        self.struck[call.operation.split(":")[0], blow] += 1
        return blow


@dataclass
class Down:
    """The operations whose names begin so fail in one way, until so many seconds after the notices."""

    operations: tuple[str, ...]
    blow: Blow
    clock: VirtualClock
    seconds: float = 1e6

    def __call__(self, call: Call) -> Blow | None:
        """Strike while it lasts."""
        is_over = self.clock.now() >= EVENT_TIME + timedelta(seconds=self.seconds)
        return None if is_over or not call.operation.startswith(self.operations) else self.blow
