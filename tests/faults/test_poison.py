"""Bad records among a thousand: the others do not wait for them, not a call and not a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.lines import Happened
from tests.examples import EVENT_TIME, instance_id, notice
from tests.faults.cloud import Cloud, Machine
from tests.faults.delivery import Delivery
from tests.faults.tables import Refusal, Tables

if TYPE_CHECKING:
    from datetime import datetime

    from tests.faults.cloud import Stage

COUNT = 1000
BAD = 500
"""Where the poison stands, in the middle."""
IMAGE = to_item(replace(notice(BAD), time=EVENT_TIME))
POISON: dict[str, Any] = {
    "nothing": None,
    "a text": "i-00000000000000001",
    "another item": {"note": {"S": "of something else"}},
    "a missing part": {name: value for name, value in IMAGE.items() if name != "kind"},
    "another type": IMAGE | {"instance_id": {"L": []}},
    "no instance": IMAGE | {"instance_id": {"S": "i-1; reboot"}},
    "a kind of the future": IMAGE | {"kind": {"S": "capacity"}},
    "no time": IMAGE | {"event_time": {"S": "yesterday"}},
}


@dataclass(frozen=True)
class Answered:
    """When each instance was asked, with how many others, and all that it took."""

    asked: dict[str, tuple[datetime, int]]
    operations: list[str]
    delivery: Delivery

    def lines(self, happened: Happened) -> int:
        """Return how often the story says this."""
        return sum(line.event is happened for line in self.delivery.cloud.lines)


def answer(stage: Stage, tables: Tables | None = None, **images: Any) -> Answered:
    """Let a thousand warnings come down the stream, with these images in place of the one in the middle."""
    cloud = stage.begin(Cloud(tables=tables or Tables()))
    records = []
    for number in range(COUNT):
        item = to_item(replace(notice(number), time=EVENT_TIME))
        if number != BAD or not images:
            cloud.run(Machine(instance_id(number)))
            cloud.tables.put_item({"TableName": "notices", "Item": item})
        records += [item] if number != BAD or not images else list(images.values())
    delivery = Delivery(cloud)
    delivery.stream([{"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(100 + n), "NewImage": image}} for n, image in enumerate(records)])
    delivery.run()
    asked = {one: (sent.at, len(sent.instance_ids)) for sent in cloud.sent for one in sent.instance_ids}
    return Answered(asked, [call.operation for call in cloud.calls], delivery)


@pytest.fixture(scope="module")
def healthy(stage: Stage) -> Answered:
    """Return a thousand answers that nothing disturbed."""
    answered = answer(stage)
    assert len(answered.asked) == COUNT
    return answered


def test_a_poison_record_delays_nobody(stage: Stage, healthy: Answered) -> None:
    """Eight sorts of bad records in the middle of a thousand: the same calls, nobody later than without, nothing comes again, and a line for each."""
    poisoned = answer(stage, **POISON)
    others = {one: asked for one, asked in healthy.asked.items() if one != instance_id(BAD)}
    assert poisoned.asked.keys() == others.keys()
    assert all(moment <= others[one][0] for one, (moment, _) in poisoned.asked.items())
    assert poisoned.operations == healthy.operations
    assert poisoned.delivery.dead_letters == []
    assert len(poisoned.delivery.invocations) == 1
    assert (poisoned.lines(Happened.INPUT_REJECTED), poisoned.lines(Happened.CHECKPOINT_ASKED)) == (len(POISON), COUNT - 1)


class Stubborn(Tables):
    """Tables of which one item can neither be read as a notice nor be written."""

    def update_item(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Refuse one item."""
        if instance_id(BAD) in asked["Key"]["notice_id"]["S"]:
            raise Refusal("ValidationException")
        return super().update_item(asked)

    def put_item(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Let one item be of another making."""
        if instance_id(BAD) in asked["Item"]["notice_id"]["S"]:
            asked = asked | {"Item": asked["Item"] | {"outcome": {"S": "an outcome of the future"}, "kind": {"N": "7"}}}
        return super().put_item(asked)


def test_a_poison_item_delays_nobody(stage: Stage, healthy: Answered) -> None:
    """An item that is no notice any more, and takes no answer: everybody is asked at the same moments, and one line says what was not written."""
    poisoned = answer(stage, Stubborn())
    assert poisoned.asked == healthy.asked
    assert poisoned.operations == healthy.operations
    assert len(poisoned.delivery.invocations) == 1
    assert (poisoned.lines(Happened.ANSWER_UNWRITTEN), poisoned.lines(Happened.CHECKPOINT_ASKED)) == (1, COUNT)
