"""After an outage of functions: what Lambda and EventBridge gave up is given again by the command of the guide, to the functions themselves."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from replay.dead_letters import DeadLetters
from spot_responder.domain.jobs import Attempt
from spot_responder.domain.lines import Happened
from tests.examples import EVENT_TIME, INTERRUPTION, INVOCATION, REBALANCE, event, instance_id, state_event
from tests.faults.cloud import Cloud, Machine
from tests.faults.delivery import RETRY_SECONDS, Delivery
from tests.faults.morning import later, number_of, save
from tests.unit.replay.test_letters import UNDELIVERED, asynchronous

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.faults.cloud import Stage

HOUR, EVERY = 3600, 300
WARNED = range(12)
"""A notice every five minutes of an hour; of every second one the instance ends, and two checkpoints fail."""
ENDED, FAILING, LOST = range(0, 12, 2), (3, 6), 20
"""``LOST`` ends without any notice, and a job with it."""
ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


@dataclass
class Outage(Delivery):
    """Brings events to functions of which some lack their handler, as after a deployment that went wrong."""

    broken: set[str] = field(default_factory=set)

    def invoke(self, function: str, event: dict[str, Any], request_id: str) -> Any:
        """Fail as Lambda does where there is no handler."""
        if function in self.broken:
            raise ModuleNotFoundError(function)
        return super().invoke(function, event, request_id)


@dataclass
class Queue:
    """The dead-letter queue and the functions' door, as far as a replay needs of boto3's clients."""

    delivery: Outage
    messages: dict[str, dict[str, Any]]
    shown: set[str] = field(default_factory=set)

    def receive_message(self, **_: object) -> dict[str, Any]:
        """Show ten that are not hidden."""
        some = [message for name, message in self.messages.items() if name not in self.shown][:10]
        self.shown |= {message["MessageId"] for message in some}
        return {"Messages": some} if some else {}

    def delete_message(self, *, ReceiptHandle: str, **_: object) -> None:  # noqa: N803  # SQS's name
        """Delete one."""
        del self.messages[ReceiptHandle]

    def change_message_visibility(self, *, ReceiptHandle: str, **_: object) -> None:  # noqa: N803
        """Show one again."""
        self.shown.discard(ReceiptHandle)

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803  # Lambda's names
        """Invoke a function and wait for it."""
        try:
            answer = self.delivery.invoke(FunctionName.rpartition(":")[2], json.loads(Payload), f"replay-{len(self.delivery.invocations)}")
        except Exception as error:  # noqa: BLE001  # Lambda tells of any
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps({"errorMessage": str(error)}).encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def give_again(delivery: Outage, *letters: dict[str, Any]) -> tuple[int, list[str]]:
    """Give letters again as ``make replay`` does; return how many were taken, and why the others were not."""
    messages = {str(number): {**letter, "MessageId": str(number), "ReceiptHandle": str(number)} for number, letter in enumerate(letters)}
    queue: Any = Queue(delivery, messages)
    done = DeadLetters(queue, queue, None, None, "queue").give_again(lambda _: None)  # type: ignore[arg-type]  # neither machines nor streams
    assert len(queue.messages) == len(done.left)
    return done.given.total(), done.left


def letter(body: Mapping[str, Any], **attributes: str) -> dict[str, Any]:
    """Return a message of the queue, but for its name."""
    named = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    return {"Body": json.dumps(body), "Attributes": {"SentTimestamp": "1000"}, "MessageAttributes": named}


def given_up(happened: Any) -> dict[str, Any]:
    """Return what Lambda sends of an event on which a function failed."""
    function = "record_checkpoint" if happened["detail-type"] == INVOCATION else "record_instance_state"
    return letter(asynchronous(happened, f"{ARN}{function}:$LATEST"))


def notice(number: int, second: float) -> dict[str, Any]:
    """Return a warning for an instance that ends, a recommendation for another."""
    action = {"instance_action": "terminate"} if number in ENDED else {}
    return event(INTERRUPTION if action else REBALANCE, at=EVENT_TIME + later(second), instance_id=instance_id(number), **action)


def the_hour(stage: Stage) -> Outage:
    """Let an hour pass in which neither results nor ends of instances are recorded; return what is left."""
    cloud = stage.begin(Cloud())
    delivery = Outage(cloud, broken={"record_checkpoint", "record_instance_state"})
    for number in WARNED:
        cloud.run(Machine(instance_id(number), Attempt(f"job-{number}", 1, instance_id(number)) if number % 3 else None))
        delivery.event("record_notice", notice(number, EVERY * number), EVENT_TIME + later(EVERY * number + 1))
    cloud.run(Machine(instance_id(LOST), Attempt(f"job-{LOST}", 1, instance_id(LOST))))
    cloud.on_sent = lambda sent: save(delivery, sent, next((one for one in map(number_of, sent.instance_ids) if one in FAILING), None))
    for number in (*ENDED, LOST):
        for state, second in (("shutting-down", 120), ("terminated", 150)):
            moment = EVENT_TIME + later(EVERY * (number % LOST) + second)
            delivery.event("record_instance_state", state_event(number, state, at=moment), moment + later(1))
    delivery.run()
    return delivery


ORDERS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "as they came": list,
    "the last first": lambda letters: letters[::-1],
    "any": lambda letters: Random(1).sample(letters, len(letters)),
}
"""A standard queue keeps no order."""


@pytest.mark.parametrize("order", ORDERS)
def test_an_hour_without_results_and_ends(stage: Stage, order: str) -> None:
    """Every result and end of an hour, given again, closes its notice and tells its job, each once; given once more, nothing happens."""
    delivery = the_hour(stage)
    cloud, count = delivery.cloud, len(WARNED) + 2 * (len(ENDED) + 1)
    assert len(delivery.dead_letters) == count
    assert not any("outcome" in item for item in cloud.tables.of("notices"))
    letters = ORDERS[order]([given_up(happened) for happened in delivery.dead_letters])
    assert give_again(delivery, letters[0])[0] == 0

    delivery.broken.clear()
    cloud.clock.present = EVENT_TIME + later(HOUR)
    assert give_again(delivery, *letters) == (count, [])
    ended = {number_of(item["instance_id"]["S"]): item["outcome"]["S"] for item in cloud.tables.of("notices")}
    # Of one that ended before its result was heard, nobody can tell any more why it was not saved.
    unsaved = {"failed"} if order == "as they came" else {"failed", "missed"}
    assert {number for number, outcome in ended.items() if outcome != "saved"} == set(FAILING)
    assert {ended[number] for number in FAILING} <= unsaved
    assert ended.keys() == set(WARNED)
    closed = Counter((line.instance_id, line.outcome) for line in cloud.lines if line.event is Happened.NOTICE_CLOSED)
    assert set(closed.values()) == {1}
    assert len(closed) == len(WARNED) or order != "as they came"
    told = Counter(attempt.job_id for attempt, _ in cloud.resumed)
    assert told == {f"job-{number}": 1 for number in (*[n for n in WARNED if n % 3], LOST)}
    assert Counter(line.instance_id for line in cloud.lines if line.event is Happened.INSTANCE_GONE) == {instance_id(one): 1 for one in ENDED}

    before = len(cloud.lines)
    assert give_again(delivery, *letters)[0] == count
    assert {line.event for line in cloud.lines[before:]} == {Happened.RESULT_UNCLAIMED}
    assert cloud.asked() == {instance_id(number): 1 for number in WARNED}


def test_a_replay_while_there_is_time(stage: Stage) -> None:
    """A notice of a minute ago that comes by Lambda's next try, from the archive and from the queue is answered, once; an old one is only late."""
    cloud = stage.begin(Cloud())
    delivery = Outage(cloud, broken={"record_notice"})
    cloud.on_sent = lambda sent: save(delivery, sent)
    cloud.run(*(Machine(instance_id(number)) for number in (0, 2)))
    old, fresh = notice(0, 0), notice(2, HOUR - RETRY_SECONDS[0])
    delivery.event("record_notice", old, EVENT_TIME + later(1))
    delivery.event("record_notice", fresh, EVENT_TIME + later(HOUR - RETRY_SECONDS[0] + 1))

    def mend() -> None:
        delivery.broken.clear()
        for happened in (old, fresh):
            delivery.event("record_notice", happened, cloud.clock.now() + later(2))
        undelivered = UNDELIVERED | {"TARGET_ARN": f"{ARN}record_notice"}
        assert give_again(delivery, *(letter(happened, **undelivered) for happened in (old, fresh))) == (2, [])

    delivery.at(EVENT_TIME + later(HOUR), mend)
    delivery.run()
    assert delivery.dead_letters == [old]
    assert cloud.asked() == {instance_id(2): 1}
    closed = [(line.instance_id, line.outcome) for line in cloud.lines if line.event is Happened.NOTICE_CLOSED]
    assert sorted(closed, key=str) == [(instance_id(0), "late"), (instance_id(2), "saved")]
    received = Counter(line.event for line in cloud.lines if line.event in (Happened.NOTICE_RECEIVED, Happened.NOTICE_REPEATED))
    assert received == {Happened.NOTICE_RECEIVED: 2, Happened.NOTICE_REPEATED: 3}
