"""Every function is stopped before its first call and after each of its calls; Lambda, the stream and EventBridge deliver again.

The points come from the calls of an undisturbed morning: a call that is new is stopped at without a new test.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spot_responder.adapters.notices_table import to_item
from spot_responder.wiring import respond_to_notices
from tests.examples import EVENT_TIME, instance_id, notice
from tests.fakes.ports import AtLast, AtOnce
from tests.faults.cloud import Blow, Cloud, Machine, unasked
from tests.faults.delivery import Delivery
from tests.faults.morning import At, all_is_well, going_well, play
from tests.lambdas import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from tests.faults.cloud import Stage, Strike


def test_nothing_goes_wrong(stage: Stage) -> None:
    """On an undisturbed morning everybody is asked once, by every function and with every kind of call that the product knows."""
    morning = play(stage)
    all_is_well(morning)
    assert set(morning.cloud.asked().values()) == {1}
    assert {function for function, _ in morning.delivery.invocations} == set(FUNCTIONS)
    assert {call.operation for call in morning.cloud.calls} == {
        "dynamodb:BatchExecuteStatement",
        "dynamodb:BatchGetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
        "ec2:DescribeInstances",
        "sfn:SendTaskSuccess",
        "ssm:DescribeInstanceInformation",
        "ssm:GetCommandInvocation",
        "ssm:SendCommand",
    }


def test_a_crash_after_every_call(stage: Stage) -> None:
    """Wherever a function is stopped: no notice is lost, no checkpoint left out, at most one command more, each job resumed once."""
    operations = [call.operation for call in play(stage).cloud.calls]
    strike_each(stage, Blow.KILLED_AFTER, operations, range(len(operations)))


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["the first and each kind of call", "all calls"])
def test_a_crash_before_a_call(stage: Stage, is_whole: bool) -> None:  # noqa: FBT001  # pytest's choice
    """Before its first call, a function has done nothing; before another, it has told of the one before: what is told again is the same."""
    morning = play(stage)
    operations = [call.operation for call in morning.cloud.calls]
    functions = [function for function, _ in morning.delivery.invocations]
    first = dict(zip(functions, morning.delivery.began, strict=True))
    last = {operation: number for number, operation in enumerate(operations)}
    strike_each(stage, Blow.KILLED_BEFORE, operations, range(len(operations)) if is_whole else sorted({*first.values(), *last.values()}))


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["each kind of call", "all calls"])
def test_an_answer_lost(stage: Stage, is_whole: bool) -> None:  # noqa: FBT001  # pytest's choice
    """Whichever answer never arrives, because the connection breaks: what was done is not done again, but for one command, and is told."""
    operations = [call.operation for call in play(stage).cloud.calls]
    last = {operation: number for number, operation in enumerate(operations)}
    strike_each(stage, Blow.RESET_AFTER, operations, range(len(operations)) if is_whole else sorted(last.values()))


def strike_each(stage: Stage, blow: Blow, operations: Sequence[str], numbers: Iterable[int]) -> None:
    """Play a morning for each of these calls, on which it meets that blow; all has to be well.

    One thing cannot be made up for: that a job was told of its loss, if the function never hears of that.
    """
    for number in numbers:
        operation = operations[number]
        at = At(number, blow)
        morning = play(stage, at)
        assert at.struck == operation
        is_told_of_its_loss = operation == "sfn:SendTaskSuccess" and operation not in operations[number + 1 :]
        all_is_well(morning, is_lost_told=not (is_told_of_its_loss and blow is not Blow.KILLED_BEFORE))


def answer_many(stage: Stage, count: int, strikes: Strike = going_well) -> Delivery:
    """Let so many instances' warnings, already recorded, come down the stream together."""
    cloud = stage.begin(Cloud(strikes=strikes))
    delivery = Delivery(cloud)
    cloud.run(*(Machine(instance_id(number)) for number in range(count)))
    for number in range(count):
        cloud.tables.put_item({"TableName": "notices", "Item": to_item(replace(notice(number), time=EVENT_TIME))})
    delivery.run()
    return delivery


@pytest.mark.parametrize("beside", [AtOnce, AtLast])
def test_a_crash_between_commands(stage: Stage, monkeypatch: pytest.MonkeyPatch, beside: type[Executor]) -> None:
    """Of 70 notices that two commands and their writes answer, a stop after any of these calls leaves nobody out, and asks nobody three times.

    Also where the second command was sent before the first one's answers were written.
    """
    monkeypatch.setattr(respond_to_notices, "ThreadPoolExecutor", beside)
    count = 70
    operations = [call.operation for call in answer_many(stage, count).cloud.calls]
    assert (operations.count("ssm:SendCommand"), operations.count("dynamodb:BatchExecuteStatement")) == (2, 3)
    everybody = {instance_id(number) for number in range(count)}
    for number in range(len(operations)):
        delivery = answer_many(stage, count, At(number, Blow.KILLED_AFTER))
        cloud = delivery.cloud
        assert (delivery.dead_letters, unasked(cloud, everybody)) == ([], set())
        assert max(cloud.asked().values()) <= 2
        assert sum(times == 2 for times in cloud.asked().values()) in ((0, 20, 25, 50) if beside is AtOnce else (0, 20, 45, 50, 70))
        assert all("command_id" in item for item in cloud.tables.of("notices"))
