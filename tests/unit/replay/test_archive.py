"""Replaying the archive, and finding the stack."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError, ProfileNotFound
from botocore.stub import ANY, Stubber

from replay import archive, stack
from replay.__main__ import main
from replay.failures import ReplayFailed, calling
from tests.template.stack import rules
from tests.unit.replay.test_dead_letters import made

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "arn:aws:events:us-east-1:123456789012"
STACK = stack.Stack(f"{HERE}:archive/notices", "https://queue", ("warning", "rebalance"))
NINE, TEN = datetime(2026, 11, 22, 9, tzinfo=UTC), datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """EventBridge, which is asked without a pause."""
    monkeypatch.setattr(archive, "PAUSE_SECONDS", 0)
    with Stubber(made("events")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def _started(events: Stubber, *states: dict[str, Any]) -> None:
    wanted = {
        "ReplayName": ANY,
        "EventSourceArn": STACK.archive,
        "EventStartTime": NINE,
        "EventEndTime": TEN,
        "Destination": {"Arn": f"{HERE}:event-bus/default", "FilterArns": [f"{HERE}:rule/warning", f"{HERE}:rule/rebalance"]},
    }
    events.add_response("start_replay", {"State": "STARTING"}, wanted)
    for state in states:
        events.add_response("describe_replay", state)


def test_replayed_to_the_rules_of_record_notice_alone(events: Stubber) -> None:
    """Progress is told minute by minute, once each, until EventBridge says that it is done."""
    said: list[str] = []
    running = {"State": "RUNNING", "EventLastReplayedTime": NINE}
    _started(events, {"State": "STARTING"}, running, running, {"State": "COMPLETED", "EventLastReplayedTime": TEN})
    archive.replay(made("events"), STACK, (NINE, TEN), said.append)
    assert said == ["  replayed until 2026-11-22 09:00"]


def test_a_replay_that_fails(events: Stubber) -> None:
    """EventBridge's reason is passed on."""
    _started(events, {"State": "FAILED", "StateReason": "the archive was deleted"})
    with pytest.raises(ReplayFailed, match="FAILED: the archive was deleted"):
        archive.replay(made("events"), STACK, (NINE, TEN), lambda _: None)


def _stack(**outputs: str) -> Stubber:
    stubber = Stubber(made("cloudformation"))
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    stubber.add_response(
        "describe_stacks", {"Stacks": [{"StackName": "s", "StackStatus": "CREATE_COMPLETE", "CreationTime": NINE, "Outputs": listed}]}
    )
    names = [
        {
            "LogicalResourceId": name,
            "PhysicalResourceId": f"s-{name}",
            "ResourceType": "AWS::Events::Rule",
            "LastUpdatedTimestamp": NINE,
            "ResourceStatus": "CREATE_COMPLETE",
        }
        for name in stack.NOTICE_RULES
    ]
    stubber.add_response("list_stack_resources", {"StackResourceSummaries": names})
    return stubber


def test_the_stack_is_found() -> None:
    """Archive and queue are outputs; the rules have the names that CloudFormation gave them."""
    with _stack(NoticeArchive="archive", DeadLetterQueue="queue"):
        found = stack.find(made("cloudformation"), "s")
    assert found == stack.Stack("archive", "queue", ("s-RecordNoticeInterruptionWarning", "s-RecordNoticeRebalanceRecommendation"))


def test_another_stack() -> None:
    """A stack without an archive is not ours."""
    with _stack(DeadLetterQueue="queue"), pytest.raises(ReplayFailed, match="The stack s has no 'NoticeArchive'"):
        stack.find(made("cloudformation"), "s")


def test_no_such_stack() -> None:
    """CloudFormation's own words for it are left out."""
    with Stubber(made("cloudformation")) as stubber:
        stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id other does not exist")
        with pytest.raises(ReplayFailed, match="There is no stack 'other' in this account and Region"):
            stack.find(made("cloudformation"), "other")


def test_an_end_without_a_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    """``--to`` alone would be ignored."""
    with pytest.raises(SystemExit):
        main(["--to", "2026-11-22T09:00Z"])
    assert "--to needs --from" in capsys.readouterr().err


def test_the_rules_are_the_templates() -> None:
    """The rules that SAM makes of the template for record_notice are the ones that the replay goes to."""
    assert {name for name in rules() if name.startswith("RecordNotice")} == set(stack.NOTICE_RULES)


@pytest.mark.parametrize("arguments", [["--from", "yesterday"], ["--to", "2026-13-01"]])
def test_times_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A time that cannot be read is named, with an example."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert "expected a time such as 2026-11-22T09:00Z" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NoRegionError(), "No Region: give --region, or set AWS_REGION."),
        (NoCredentialsError(), r"No AWS credentials \(.*\): run `aws configure`"),
        (ProfileNotFound(profile="other"), r"No AWS credentials \(.*other.*\): run `aws configure`"),
        (EndpointConnectionError(endpoint_url="http://nowhere"), r"AWS does not answer to sqs:ReceiveMessage \(.*nowhere.*\): look at the network"),
    ],
)
def test_nothing_to_call(raised: Exception, expected: str) -> None:
    """Without Region, credentials or network, one sentence says what to do."""
    with pytest.raises(ReplayFailed, match=expected), calling("sqs:ReceiveMessage"):
        raise raised
