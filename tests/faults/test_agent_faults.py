"""AWS at its worst, as the agents see it: half of all their calls fail, or a whole service is out of order from the warning on.

Their clients try once, as in production (``Clients.client``): patience is the agent's own. Every timeout passes in the world's time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest

from spot_agent.decisions import NOTICE_SECONDS
from spot_agent.wiring import STORE_READ_SECONDS
from tests.faults.agents import BOOT_SECONDS, AgentsWorld
from tests.faults.cloud import EFFECTIVE, Blow
from tests.faults.test_agent_crashes import MOST_SECONDS, all_is_well
from tests.faults.weather import Half
from tests.unit.agent.world import WARNING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.aws import Call
    from tests.faults.cloud import Strike

WORKED_SECONDS = 10.0
PROGRAM_SECONDS = 40.0
LONG_PROGRAM_SECONDS = 200.0
AFTER_THE_END = WARNING_SECONDS + 30.0
SERVICES = ("s3", "dynamodb", "sfn")
BLOWS = (Blow.SLOW_BEFORE, Blow.THROTTLED, Blow.BROKEN, Blow.RESET_BEFORE, Blow.RESET_AFTER, Blow.SLOW_AFTER)
EVERY_TIME = BLOWS[:1]
"""What holds up most, in every run; the others in the slow one."""


@dataclass
class OutOfOrder:
    """A service fails in one way, from the warning on, for so many seconds."""

    world: AgentsWorld
    service: str
    blow: Blow
    seconds: float

    def __call__(self, call: Call) -> Blow | None:
        """Strike while it lasts."""
        is_down = self.world.warned_at <= self.world.now < self.world.warned_at + self.seconds
        return self.blow if is_down and call.operation.startswith(self.service) else None


def live(strikes: Callable[[AgentsWorld], Strike], program_seconds: float = PROGRAM_SECONDS) -> AgentsWorld:
    """Let a job pass that is interrupted when it has worked for ten seconds, and all its instances end."""
    world = AgentsWorld(program_seconds=program_seconds)
    world.aws.strikes = strikes(world)
    first = world.launch()
    world.run(lambda _: first.program.is_running(), MOST_SECONDS)
    world.run_for(WORKED_SECONDS)
    world.warned_at = world.now
    first.warn()
    world.run(lambda _: is_over(world), MOST_SECONDS)
    return world


def is_over(world: AgentsWorld) -> bool:
    """Tell whether all is over; until then, never do two attempts work."""
    assert sum(instance.program.is_running() for instance in world.instances) <= 1
    return world.result is not None and not any(instance.is_alive for instance in world.instances)


def went_well(world: AgentsWorld) -> None:
    """The job is done by two attempts, and nobody was told anything twice."""
    all_is_well(world)
    assert len(world.launches) == 2
    assert [output["result"] for output in world.told] in (["interrupted", "finished"], ["interrupted", "gone"], ["gone", "finished"])


def was_saved_in_time(world: AgentsWorld) -> bool:
    """Tell whether the attempt that was warned had saved its last checkpoint, or the result, by its end."""
    return world.finals.get(1, float("inf")) <= world.warned_at + WARNING_SECONDS


def done_twice(world: AgentsWorld) -> float:
    """Return the work done twice, in percent."""
    return sum(record.get("previous_percent", 0.0) - record["resumed_percent"] for record in world.records_told() if "resumed_percent" in record)


@pytest.mark.parametrize("seeds", [range(10), pytest.param(range(10, 210), marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=len)
def test_half_of_all_calls_fail(seeds: range) -> None:
    """With half of all calls throttled, broken, cut off or slow, the job is handed over and done. Who saves nothing at the end says why."""
    lost = 0
    struck: set[tuple[str, Blow]] = set()
    for seed in seeds:
        half = Half(Random(seed))
        world = live(lambda _, half=half: half)  # type: ignore[misc]
        went_well(world)
        if not was_saved_in_time(world):
            lost += 1
            assert "s3:" in world.troubles_told(1) or "dynamodb:" in world.troubles_told(1), seed
        struck |= half.struck.keys()
    assert lost <= len(seeds) // 50
    assert {service for service, _ in struck} == set(SERVICES)
    assert {blow for service, blow in struck if service == "s3"} >= set(BLOWS)


def blows(*others: object) -> list[object]:
    """Return the blows with each of these: some in every run, the others in the slow one."""
    cases = list(itertools.product(BLOWS, others))
    return [pytest.param(*case, marks=() if case[0] in EVERY_TIME else pytest.mark.slow, id=f"{case[0].name}, {case[1]}") for case in cases]


@pytest.mark.parametrize(("blow", "service"), blows(*SERVICES))
def test_service_that_comes_back(blow: Blow, service: str) -> None:
    """S3, the table or Step Functions out of order for 20 s from the warning on: the hand-over waits for it, the program does not."""
    world = live(lambda world: OutOfOrder(world, service, blow, 20.0), LONG_PROGRAM_SECONDS)
    went_well(world)
    assert done_twice(world) == 0.0
    # A call that hangs when the service works again is given up, and made again; a replacement that could not be asked for has to boot.
    assert world.finals[1] < world.warned_at + 20 + STORE_READ_SECONDS + BOOT_SECONDS + 10


@pytest.mark.parametrize(("blow", "seconds"), blows(40.0, AFTER_THE_END))
def test_table_out_of_order(blow: Blow, seconds: float) -> None:
    """Without the table, the state machine is told of the interruption all the same; nobody takes the silence that follows for the owner's end.

    After the deadline, too: then the last checkpoint that the item names is the one that counts, and only the agent's log can say why.
    """
    world = live(lambda world: OutOfOrder(world, "dynamodb", blow, seconds), LONG_PROGRAM_SECONDS)
    went_well(world)
    assert world.launches[1][0] <= world.warned_at + 2 * NOTICE_SECONDS + 3.0
    is_back = seconds < WARNING_SECONDS
    assert not is_back or not any("silent" in message for message in world.messages("claimed"))
    if is_back or blow not in EFFECTIVE:
        assert was_saved_in_time(world) == is_back
        assert (done_twice(world) == 0.0) == is_back
    assert any("dynamodb:" in message for at, attempt, _, message in world.lines if attempt == 1 and at > world.warned_at)


@pytest.mark.parametrize(("blow", "seconds"), blows(AFTER_THE_END))
def test_store_out_of_order_to_the_end(blow: Blow, seconds: float) -> None:
    """Without S3 until the deadline, the checkpoint before stays good: the next attempt goes on from it, and the record of the first says why."""
    world = live(lambda world: OutOfOrder(world, "s3", blow, seconds), LONG_PROGRAM_SECONDS)
    went_well(world)
    assert not was_saved_in_time(world)
    checkpoint, _ = world.resumes[-1]
    assert checkpoint is not None
    assert checkpoint.at <= world.warned_at
    assert "s3:PutObject" in world.troubles_told(1)
    assert 0 < done_twice(world) <= 100 * (WARNING_SECONDS + WORKED_SECONDS) / LONG_PROGRAM_SECONDS


@pytest.mark.parametrize(("blow", "seconds"), blows(AFTER_THE_END))
def test_step_functions_out_of_order_to_the_end(blow: Blow, seconds: float) -> None:
    """With nobody to tell, there is no replacement in time: the program works to the last moment, and its last checkpoint is saved before the end."""
    world = live(lambda world: OutOfOrder(world, "sfn", blow, seconds), LONG_PROGRAM_SECONDS)
    went_well(world)
    assert was_saved_in_time(world)
    assert done_twice(world) == 0.0
    assert blow in EFFECTIVE or "states:SendTaskSuccess" in world.troubles_told(1)
