"""How single notices are answered: late, hibernating, superseded, throttled, delivered again, stopped, not ours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for
from tests.e2e.deployment import ENDLESS, REBALANCE, WARNING, delivered, event, unknown_id, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.deployment import Deployed

THROTTLED = [("ec2", "DescribeInstances", "RequestLimitExceeded"), ("ssm", "SendCommand", "ThrottlingException")]


@pytest.fixture
def faults(deployed: Deployed) -> Iterator[None]:
    """Whatever was made to fail works again afterwards."""
    yield
    deployed.remote.mend()


def test_late(deployed: Deployed) -> None:
    """A warning that arrives after its deadline is recorded as late, and nothing is asked of anybody."""
    instance_id, story, began = deployed.one(), deployed.story(), time.time()
    deployed.put(warning(instance_id, age=121))
    closed = story.await_line(event="notice_closed", instance_id=instance_id)
    assert closed.fields["outcome"] == "late"
    assert not deployed.calls(began, "ssm:SendCommand", "ec2:DescribeInstances")


def test_hibernate(deployed: Deployed) -> None:
    """Hibernation starts with its notice: it is logged only."""
    instance_id, story, began = deployed.one(), deployed.story(), time.time()
    deployed.put(warning(instance_id, "hibernate"))
    closed = story.await_line(event="notice_closed", instance_id=instance_id)
    assert closed.fields["outcome"] == "logged only"
    assert not deployed.calls(began, "ssm:SendCommand")


def test_rebalance_is_no_interruption(deployed: Deployed) -> None:
    """A rebalance recommendation alone takes a checkpoint, and the instance goes on."""
    instance_id, story = deployed.one(), deployed.story()
    deployed.remote.rebalance([instance_id])
    closed = story.await_line(event="notice_closed", instance_id=instance_id)
    assert (closed.fields["kind"], closed.fields["outcome"]) == ("rebalance", "saved")
    described = deployed.remote.client("ec2").describe_instances(InstanceIds=[instance_id])
    assert described["Reservations"][0]["Instances"][0]["State"]["Name"] == "running"


def test_both_kinds_in_one_batch(deployed: Deployed) -> None:
    """A rebalance recommendation and a warning that come in one batch lead to one command: the warning's."""
    instance_id, story, began = deployed.one(), deployed.story(), time.time()
    with _stream_held_up(deployed):
        deployed.put(event(REBALANCE, instance_id=instance_id), warning(instance_id))
        story.wait(lambda told: len(told.find(event="notice_received", instance_id=instance_id)) == 2, 20, "both notices")
    story.await_line(event="notice_closed", instance_id=instance_id, outcome="saved", kind="interruption")
    story.await_line(event="notice_closed", instance_id=instance_id, outcome="superseded", kind="rebalance")
    assert len(deployed.calls(began, "ssm:SendCommand")) == 1


def test_hook_that_outlasts_the_deadline(deployed: Deployed) -> None:
    """A hook that is not done shortly before the deadline is stopped, and its notice has failed for that reason."""
    instance_id, story = deployed.one(ENDLESS), deployed.story()
    deployed.put(warning(instance_id, age=110))
    closed = story.await_line(event="notice_closed", instance_id=instance_id)
    assert closed.fields["outcome"] == "failed"
    assert closed.fields["reason"].startswith("exit status 124: ")
    assert "did not end before the deadline" in closed.fields["reason"]


@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize(("service", "operation", "code"), THROTTLED)
def test_throttled(deployed: Deployed, service: str, operation: str, code: str) -> None:
    """A call that is throttled is made again inside the time that is left, and the work is saved."""
    instance_id, story, began = deployed.one(), deployed.story(), time.time()
    deployed.remote.fail(service, operation, code, count=5)
    deployed.put(warning(instance_id))
    story.await_line(event="notice_closed", instance_id=instance_id, outcome="saved")
    errors = [call.error for call in deployed.calls(began, f"{service}:{operation}")]
    assert errors == [code] * 5 + [None]


def test_redelivered_batch(deployed: Deployed) -> None:
    """A stream batch that is delivered again leads to no describe, no command and no line."""
    instance_id, story = deployed.one(), deployed.story()
    deployed.put(warning(instance_id))
    story.await_line(event="notice_closed", instance_id=instance_id, outcome="saved")
    lines, began = len(story.find(instance_id=instance_id)), time.time()
    answer = deployed.invoke("RespondToNotices", {"Records": [_stream_record(item) for item in deployed.items(instance_id)]})
    assert answer["Payload"] == {"batchItemFailures": []}
    story.read()
    assert len(story.find(instance_id=instance_id)) == lines
    assert not deployed.calls(began, "ssm:SendCommand", "ec2:DescribeInstances")


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("detail.instance-id", {"instance_action": "terminate"}),
    ("detail.instance-id", {"instance_id": "i-0; rm -rf /", "instance_action": "terminate"}),
    ("detail.instance-id", {"instance_id": ["i-0123456789abcdef0"], "instance_action": "terminate"}),
    ("detail.instance-action", {"instance_id": "i-0123456789abcdef0", "instance_action": "explode"}),
    ("detail.instance-action", {"instance_id": "i-0123456789abcdef0"}),
]


def test_malformed_events(deployed: Deployed) -> None:
    """Each malformed event is one line that names the field, and counted; there is no dead letter and no effect on the notice beside it."""
    instance_id, story, before = deployed.one(), deployed.story(), deployed.metric("RejectedInputs")
    future = warning(unknown_id(), age=-7200)
    deployed.put(*(event(WARNING, **detail) for _, detail in MALFORMED), future, warning(instance_id))
    story.await_line(event="notice_closed", instance_id=instance_id, outcome="saved")
    due = sorted([field for field, _ in MALFORMED] + ["time"])
    story.wait(lambda told: len(told.find(event="input_rejected")) >= len(due), 20, "a line for each malformed event")
    wait_for(lambda: deployed.metric("RejectedInputs") >= before + len(due), 20, "the count of malformed events")
    story.read()
    assert sorted(line.fields["reason"] for line in story.find(event="input_rejected")) == due
    assert deployed.dead_letters() == 0


@pytest.mark.parametrize("detail", [detail for _, detail in MALFORMED])
def test_malformed_is_no_error(deployed: Deployed, detail: dict[str, Any]) -> None:
    """A malformed event is no error of the function, which is what Lambda would retry."""
    answer = deployed.invoke("RecordNotice", delivered(event(WARNING, **detail)))
    assert (answer.get("FunctionError"), answer["Payload"]) == (None, None)


def _stream_record(item: dict[str, Any]) -> dict[str, Any]:
    """Return the stream's record of a new item, as Lambda gets it."""
    keys = {name: item[name] for name in ("account_region", "notice_id")}
    told = {name: value for name, value in item.items() if name not in {"command_id", "outcome", "reason", "asked_at", "closed_at"}}
    return {"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": {"SequenceNumber": "1", "Keys": keys, "NewImage": told}}


class _stream_held_up:  # noqa: N801  reads as what it does
    """Hold the stream's delivery up, so that what comes meanwhile comes in one batch."""

    def __init__(self, deployed: Deployed) -> None:
        self.client = deployed.remote.client("lambda")
        [self.mapping] = self.client.list_event_source_mappings(FunctionName=deployed.functions["RespondToNotices"])["EventSourceMappings"]

    def __enter__(self) -> None:
        self._switch("Disabled", enabled=False)

    def __exit__(self, *_: object) -> None:
        self._switch("Enabled", enabled=True)

    def _switch(self, state: str, *, enabled: bool) -> None:
        self.client.update_event_source_mapping(UUID=self.mapping["UUID"], Enabled=enabled)
        wait_for(lambda: self.client.get_event_source_mapping(UUID=self.mapping["UUID"])["State"] == state, 30, f"the mapping's state {state}")
