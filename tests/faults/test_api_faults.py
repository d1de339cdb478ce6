"""AWS at its worst: half of all calls fail, or a whole service does. What can be asked in time is asked; the rest says why it was not."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import TYPE_CHECKING

import pytest

from spot_responder.domain.jobs import Attempt
from spot_responder.domain.lines import Happened
from spot_responder.use_cases.patience import LONGEST_PAUSE_SECONDS
from tests.examples import EVENT_TIME, INTERRUPTION, event, instance_id
from tests.faults.cloud import BACKOFF_SECONDS, READ_TIMEOUT_SECONDS, Blow, Cloud, Machine, unasked
from tests.faults.delivery import Delivery
from tests.faults.morning import going_well, later, save
from tests.faults.weather import Down, Half

if TYPE_CHECKING:
    from tests.faults.cloud import Stage, Strike

LONGEST_TRY_SECONDS = 2 * READ_TIMEOUT_SECONDS + BACKOFF_SECONDS + LONGEST_PAUSE_SECONDS
"""Two read timeouts, botocore's pause between them, and ours before the next try."""
WARNING_SECONDS = 120


def sort(number: int) -> str:
    """Every tenth did not opt in, has no agent, or is unknown to EC2."""
    return {7: "foreign", 8: "unmanaged", 9: "unknown"}.get(number % 10, "ours")


def ours(count: int) -> set[str]:
    """Return the instances, of so many, that can be asked for a checkpoint."""
    return {instance_id(number) for number in range(count) if sort(number) == "ours"}


def interrupt(stage: Stage, cloud: Cloud, strikes: Strike, *, count: int = 30) -> Delivery:
    """Interrupt so many instances at once, every fourth of which works on a job."""
    stage.begin(cloud).strikes = strikes
    delivery = Delivery(cloud)
    cloud.on_sent = lambda sent: save(delivery, sent)
    for number in range(count):
        one = instance_id(number)
        if sort(number) != "unknown":
            job = Attempt(f"job-{number}", 1, one) if number % 4 == 0 else None
            cloud.run(Machine(one, job, is_opted_in=sort(number) != "foreign", is_managed=sort(number) != "unmanaged"))
        warning = event(INTERRUPTION, instance_id=one, instance_action="terminate")
        delivery.event("record_notice", warning, EVENT_TIME + later(1))
    delivery.run()
    return delivery


def endings(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Return each instance's outcome and its reason, as its item says."""
    return {
        item["instance_id"]["S"]: (item.get("outcome", {}).get("S", ""), item.get("reason", {}).get("S", "")) for item in cloud.tables.of("notices")
    }


def nothing_is_forgotten(delivery: Delivery, count: int) -> None:
    """Each notice ends, with a reason, which the story tells; who was not asked in time failed, and not before everything was tried."""
    cloud = delivery.cloud
    ended = endings(cloud)
    assert delivery.dead_letters == []
    assert ended.keys() == {instance_id(number) for number in range(count)}
    assert all(outcome and reason for outcome, reason in ended.values())
    assert {line.instance_id for line in cloud.lines if line.event is Happened.NOTICE_CLOSED} == ended.keys()
    assert cloud.asked().keys() <= ours(count)
    left = unasked(cloud, ours(count))
    assert {ended[one][0] for one in left} <= {"failed", "late"}
    last_chance = EVENT_TIME + later(WARNING_SECONDS - LONGEST_TRY_SECONDS)
    assert not left or any(last_chance <= moment < EVENT_TIME + later(WARNING_SECONDS) for moment in cloud.times)


def jobs_are_told_once(cloud: Cloud) -> None:
    """No job is told twice."""
    told = [attempt.job_id for attempt, _ in cloud.resumed]
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("rounds", "count"),
    [
        (3, 30),
        pytest.param(200, 30, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
        pytest.param(10, 300, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
)
def test_half_of_all_calls_fail(stage: Stage, rounds: int, count: int) -> None:
    """With half of all calls throttled, broken, cut off or slow, everybody is asked inside the two minutes, and every other notice ends as it should.

    Should luck leave somebody unasked, it was tried to the end, and the item says why.
    """
    left = 0
    struck: set[tuple[str, Blow]] = set()
    for seed in range(rounds):
        half = Half(Random(seed))
        delivery = interrupt(stage, Cloud(), half, count=count)
        nothing_is_forgotten(delivery, count)
        jobs_are_told_once(delivery.cloud)
        left += len(unasked(delivery.cloud, ours(count)))
        struck |= half.struck.keys()
    assert {service for service, _ in struck} == {"dynamodb", "ec2", "sfn", "ssm"}
    assert {blow for service, blow in struck if service == "dynamodb"} > {Blow.PARTLY, Blow.SLOW_AFTER, Blow.RESET_AFTER, Blow.THROTTLED}
    assert left <= rounds * len(ours(count)) // 100


OPERATIONS = ("dynamodb:BatchGetItem", "dynamodb:Batch", "sfn:SendTaskSuccess")
BLOWS = (Blow.SLOW_BEFORE, Blow.THROTTLED, Blow.SLOW_AFTER, Blow.DRAGGING, Blow.RESET_AFTER)
EVERY_TIME = [*((operations, Blow.SLOW_BEFORE) for operations in OPERATIONS), ("dynamodb:Batch", Blow.THROTTLED)]
"""What holds up most comes in every run, the others in the slow one."""


@pytest.mark.parametrize(
    ("operations", "blow"),
    [*EVERY_TIME, *(pytest.param(*one, marks=pytest.mark.slow) for one in product(OPERATIONS, BLOWS) if one not in EVERY_TIME)],
)
def test_what_is_out_of_order_holds_up_no_checkpoint(stage: Stage, operations: str, blow: Blow) -> None:
    """However the table or the task tokens are out of order for the whole two minutes: as long as EC2 and SSM work, everybody is asked.

    Nobody waits for more than one timeout of the table's reading, and one of its writing.
    """
    count = 80
    cloud = Cloud()
    delivery = interrupt(stage, cloud, Down((operations,), blow, cloud.clock, 150), count=count)
    nothing_is_forgotten(delivery, count)
    assert unasked(cloud, ours(count)) == set()
    assert max(sent.at for sent in cloud.sent) < EVENT_TIME + later(2 * LONGEST_TRY_SECONDS)
    assert {endings(cloud)[one][0] for one in ours(count)} == {"saved"}
    if not operations.startswith("dynamodb:Batch"):
        assert {endings(cloud)[instance_id(number)][0] for number in (7, 8, 9)} == {"not opted in", "failed", "vanished"}


@pytest.mark.parametrize("blow", [Blow.THROTTLED, Blow.BROKEN, Blow.RESET_BEFORE, Blow.SLOW_BEFORE], ids=lambda blow: blow.name)
@pytest.mark.parametrize(("service", "operation"), [("ec2", "ec2:DescribeInstances"), ("ssm", "ssm:SendCommand")])
def test_a_service_that_is_gone(stage: Stage, service: str, operation: str, blow: Blow) -> None:
    """Where EC2 or SSM does nothing for the whole two minutes, nobody can be asked: it is tried to the end, and each notice says what failed."""
    cloud = Cloud()
    delivery = interrupt(stage, cloud, Down((service,), blow, cloud.clock, 200))
    nothing_is_forgotten(delivery, 30)
    assert cloud.sent == []
    ended = endings(cloud)
    assert {ended[one][0] for one in ours(30)} == {"failed"}
    assert all(ended[one][1].startswith(operation) for one in ours(30))


@pytest.mark.parametrize("service", ["ec2", "ssm"])
def test_a_service_that_comes_back(stage: Stage, service: str) -> None:
    """A service that works again 100 seconds after the notice is asked within one pause of that, in time for everybody."""
    cloud = Cloud()
    interrupt(stage, cloud, Down((service,), Blow.THROTTLED, cloud.clock, 100))
    assert unasked(cloud, ours(30)) == set()
    assert all(later(100) <= sent.at - EVENT_TIME < later(100 + 2 * LONGEST_PAUSE_SECONDS) for sent in cloud.sent)


def test_fine_weather(stage: Stage) -> None:
    """Without any fault it takes one read, one describe, and one command for all: what the fault tests compare with."""
    cloud = Cloud()
    delivery = interrupt(stage, cloud, going_well)
    nothing_is_forgotten(delivery, 30)
    assert set(cloud.asked().values()) == {1}
    assert len(cloud.resumed) == 8
    jobs_are_told_once(cloud)
