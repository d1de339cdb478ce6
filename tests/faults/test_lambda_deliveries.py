"""What Lambda does to functions besides stopping them: timeouts, partial answers, the same thing twice, two at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.domain.lines import Happened
from tests.examples import EVENT_TIME, INTERRUPTION, REBALANCE, event, instance_id
from tests.faults.cloud import Blow, Cloud, Machine
from tests.faults.delivery import BATCH_SIZE, RECORD_RETRIES, RETRY_SECONDS, TIMEOUTS, Delivery
from tests.faults.morning import NOTICED, At, Meanwhile, all_is_well, it_comes_to_rest, later, play, save
from tests.faults.weather import Down
from tests.template.stack import WRITTEN

if TYPE_CHECKING:
    from tests.faults.cloud import Stage


def written(function: str) -> dict[str, Any]:
    """Return a function's properties in the template, with those of all functions."""
    name = "".join(part.title() for part in function.split("_"))
    every: dict[str, Any] = WRITTEN["Globals"]["Function"]
    own: dict[str, Any] = WRITTEN["Resources"][name]["Properties"]
    return every | own


def test_the_deliveries_are_the_templates() -> None:
    """The timeouts and retries that these tests play with are those that the stack deploys."""
    assert {function: written(function)["Timeout"] for function in TIMEOUTS} == TIMEOUTS
    for function in TIMEOUTS.keys() - {"respond_to_notices"}:
        assert written(function)["EventInvokeConfig"]["MaximumRetryAttempts"] == len(RETRY_SECONDS)
    (stream,) = (source["Properties"] for source in written("respond_to_notices")["Events"].values())
    assert (stream["MaximumRetryAttempts"], stream["BatchSize"], stream["BisectBatchOnFunctionError"]) == (RECORD_RETRIES, BATCH_SIZE, True)
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("blow", [Blow.HANGING_BEFORE, Blow.HANGING_AFTER], ids=lambda blow: blow.name)
@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_timeout_at_every_call(stage: Stage, blow: Blow, every: int) -> None:
    """Wherever a function stands still until Lambda stops it: each notice has one outcome, each job is resumed once, nobody is asked too late."""
    calls = len(play(stage).cloud.calls)
    for number in range(every // 2, calls, every):
        at = At(number, blow)
        morning = play(stage, at)
        assert at.struck
        it_comes_to_rest(morning)


def test_everything_is_delivered_twice(stage: Stage) -> None:
    """If EventBridge delivers every event twice and the stream every batch: everybody is asked once all the same, and each job told once."""
    morning = play(stage, copies=2)
    all_is_well(morning)
    assert set(morning.cloud.asked().values()) == {1}
    assert len(morning.delivery.invocations) > 2 * len(TIMEOUTS)
    assert {line.instance_id for line in morning.cloud.lines if line.event is Happened.NOTICE_REPEATED} == NOTICED


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_two_at_once(stage: Stage, every: int) -> None:
    """Two pollers with one batch, two deliveries of one event: whichever call the other comes before, nobody is asked more than twice."""
    operations = [call.operation for call in play(stage).cloud.calls]
    for number, operation in list(enumerate(operations))[::every]:
        meanwhile = Meanwhile(number)
        morning = play(stage, meanwhile)
        assert meanwhile.struck == operation
        all_is_well(morning)


def test_a_part_of_a_batch_comes_again(stage: Stage) -> None:
    """While SSM throttles, interruptions fail at their deadline, with SSM's words; recommendations go back to the stream, alone, and are answered."""
    cloud = stage.begin(Cloud())
    cloud.strikes = Down(("ssm",), Blow.THROTTLED, cloud.clock, 200)
    delivery = Delivery(cloud)
    cloud.on_sent = lambda sent: save(delivery, sent)
    cloud.run(*(Machine(instance_id(number)) for number in range(6)))
    for number in range(6):
        action: dict[str, Any] = {"instance_action": "terminate"} if number < 3 else {}
        notice = event(INTERRUPTION if action else REBALANCE, instance_id=instance_id(number), **action)
        delivery.event("record_notice", notice, EVENT_TIME + later(1))
    delivery.run()
    batches = [[_id(record) for record in records] for records in _batches(delivery)]
    assert batches == [[instance_id(number) for number in range(6)], [instance_id(number) for number in (3, 4, 5)]]
    assert cloud.asked() == {instance_id(number): 1 for number in (3, 4, 5)}
    ended = [(item["outcome"]["S"], item["reason"]["S"]) for item in cloud.tables.of("notices")]
    assert [outcome for outcome, _ in ended] == ["failed"] * 3 + ["saved"] * 3
    assert {reason for _, reason in ended[:3]} == {"ssm:SendCommand: ThrottlingException: ThrottlingException"}
    assert len([line for line in cloud.lines if line.event is Happened.NOTICE_CLOSED]) == 6
    assert delivery.dead_letters == []


def test_what_is_never_answered_is_a_dead_letter(stage: Stage) -> None:
    """A function that cannot even start leaves its events and records where they can be found and given again: in the dead-letter queue."""
    cloud = stage.begin(Cloud())
    delivery = Delivery(cloud)
    stage.patch.setenv("RETENTION_DAYS", "none")
    try:
        delivery.event("record_notice", event(INTERRUPTION, instance_id=instance_id(), instance_action="terminate"), EVENT_TIME)
        delivery.stream([{"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": {}}} for number in range(4)])
        delivery.run()
    finally:
        stage.patch.setenv("RETENTION_DAYS", "30")
    events = [letter for letter in delivery.dead_letters if isinstance(letter, dict)]
    numbers = [record["dynamodb"]["SequenceNumber"] for letter in delivery.dead_letters if isinstance(letter, list) for record in letter]
    assert [letter["detail"]["instance-id"] for letter in events] == [instance_id()]
    assert sorted(numbers) == ["0", "1", "2", "3"]
    assert len([function for function, _ in delivery.invocations if function == "record_notice"]) == 1 + len(RETRY_SECONDS)


def _batches(delivery: Delivery) -> list[list[dict[str, Any]]]:
    return [event["Records"] for function, event in delivery.invocations if function == "respond_to_notices"]


def _id(record: dict[str, Any]) -> str:
    (found,) = re.findall(r"i-[0-9a-f]+", record["dynamodb"]["NewImage"]["notice_id"]["S"])
    return str(found)
