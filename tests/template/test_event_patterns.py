"""Which events reach which function, by the rules' patterns."""

from __future__ import annotations

import json
import re
from typing import Any

import botocore.session
import pytest

from spot_responder.domain.events import ENDED_STATES, FINAL_STATUSES, PARSERS
from tests.examples import INVOCATION, STATE_CHANGE, event, interruption_event, rebalance_event, result_event, state_event
from tests.template.stack import FUNCTIONS, ROOT, matches, of_type, resolved, rules

README = (ROOT / "events/README.md").read_text()
SAMPLES: dict[str, str] = dict(re.findall(r"^\| `(\w+)\.json` \| (\w+) \|", README, re.MULTILINE))
"""The sample events and their functions, by the table in events/README.md."""


def sample(name: str) -> dict[str, Any]:
    """Return a sample event."""
    content: dict[str, Any] = json.loads((ROOT / f"events/{name}.json").read_text())
    return content


def reached(happened: dict[str, Any]) -> list[str]:
    """Return the functions that an event reaches, one for each rule that it matches."""
    targets = [target["Arn"] for rule in rules().values() if matches(rule["EventPattern"], happened) for target in rule["Targets"]]
    return [target.removesuffix(".Arn") for target in targets if target.removesuffix(".Arn") in FUNCTIONS]


def archived(happened: dict[str, Any]) -> bool:
    """Return whether the archive keeps an event."""
    (archive,) = of_type("AWS::Events::Archive").values()
    return matches(resolved(archive)["EventPattern"], happened)


def notified(happened: dict[str, Any]) -> bool:
    """Return whether the notification address is told of an event at receipt."""
    return matches(rules()["NotifyAtReceipt"]["EventPattern"], happened)


FROM_EVENTBRIDGE = sorted(name for name, function in SAMPLES.items() if function != "RespondToNotices" and name != "unknown_event")


@pytest.mark.parametrize("name", FROM_EVENTBRIDGE)
def test_a_sample_reaches_its_function(name: str) -> None:
    """Each sample matches one rule, that of its function: no event is handled twice."""
    assert reached(sample(name)) == [SAMPLES[name]]


@pytest.mark.parametrize("name", FROM_EVENTBRIDGE)
def test_notices_are_archived_and_told(name: str) -> None:
    """Notices, and nothing else, are kept to be replayed and told to the notification address."""
    is_notice = SAMPLES[name] == "RecordNotice"
    assert (archived(sample(name)), notified(sample(name))) == (is_notice, is_notice)


NEAR_MISSES = {
    "unknown_event": sample("unknown_event"),
    "another source": interruption_event() | {"source": "my.tests"},
    "fulfilment": event("EC2 Spot Instance Request Fulfillment"),
    "fleet": event("EC2 Fleet Spot Instance Request Change"),
    "running": state_event(state="running"),
    "pending": state_event(state="pending"),
    "in progress": result_event(status="InProgress"),
    "cancelling": result_event(status="Cancelling"),
    "another document": result_event() | {"detail": result_event()["detail"] | {"document-name": "AWS-RunShellScript"}},
    "the command as a whole": result_event() | {"detail-type": "EC2 Command Status-change Notification"},
    "ssm's word from ec2": result_event() | {"source": "aws.ec2"},
    "a rebalance of auto scaling": rebalance_event() | {"source": "aws.autoscaling"},
}


@pytest.mark.parametrize("happened", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_a_near_miss_reaches_nothing(happened: dict[str, Any]) -> None:
    """What is not ours invokes no function, is not archived, and tells nobody."""
    assert (reached(happened), archived(happened), notified(happened)) == ([], False, False)


def test_every_kind_that_is_parsed_arrives() -> None:
    """The rules of the functions let through exactly the kinds of events that the code has parsers for."""
    patterns = [rule["EventPattern"] for name, rule in rules().items() if name != END_OF_EXECUTIONS]
    kinds = {(source, detail_type) for pattern in patterns for source in pattern["source"] for detail_type in pattern["detail-type"]}
    assert kinds == set(PARSERS)


END_OF_EXECUTIONS = "EndJobJobStopped"


def test_an_execution_that_ended_badly_reaches_the_state_machine_that_cleans_up() -> None:
    """An execution of the job that was stopped, failed or timed out starts ``EndJob``; no other state machine's, and none that succeeded."""
    rule = rules()[END_OF_EXECUTIONS]
    assert [target["Arn"] for target in rule["Targets"]] == ["EndJob"]
    execution = {"source": "aws.states", "detail-type": "Step Functions Execution Status Change"}
    ended = {
        (machine, status)
        for machine in ("SpotChaosStateMachine", "EndJob", "another")
        for status in _words("stepfunctions", "ExecutionStatus")
        if matches(rule["EventPattern"], execution | {"detail": {"stateMachineArn": machine, "status": status}})
    }
    assert ended == {("SpotChaosStateMachine", status) for status in ("ABORTED", "FAILED", "TIMED_OUT")}


def pattern_of(detail_type: str) -> dict[str, Any]:
    """Return the pattern of the rule for a kind of event."""
    (pattern,) = [rule["EventPattern"] for rule in rules().values() if rule["EventPattern"]["detail-type"] == [detail_type]]
    found: dict[str, Any] = pattern["detail"]
    return found


def test_ends_are_the_codes() -> None:
    """The states that the rule lets through are those that the code takes for an end, in EC2's own words."""
    assert tuple(pattern_of(STATE_CHANGE)["state"]) == ENDED_STATES
    assert set(ENDED_STATES) <= set(_words("ec2", "InstanceStateName"))


def test_results_are_final() -> None:
    """The statuses that the rule lets through are those that the code knows: all of SSM's after which none follows."""
    assert tuple(pattern_of(INVOCATION)["status"]) == FINAL_STATUSES
    going_on = {"Pending", "InProgress", "Delayed", "Cancelling"}
    assert set(FINAL_STATUSES) == set(_words("ssm", "CommandInvocationStatus")) - going_on


def _words(service: str, shape: str) -> list[str]:
    found: Any = botocore.session.get_session().get_service_model(service).shape_for(shape)
    words: list[str] = found.enum
    return words


def test_results_are_those_of_our_document() -> None:
    """Only the results of the stack's own document are let through, under the name that it is created with."""
    (document,) = of_type("AWS::SSM::Document").values()
    assert pattern_of(INVOCATION)["document-name"] == [resolved(document["Name"])]


def test_the_message_names_what_there_is() -> None:
    """The notification's sentence takes its words from fields that notices have."""
    (target,) = rules()["NotifyAtReceipt"]["Targets"]
    transformer = target["InputTransformer"]
    for path in transformer["InputPathsMap"].values():
        part: Any = sample("rebalance_recommendation")
        for name in path.removeprefix("$.").split("."):
            part = part[name]
        assert part
    assert set(re.findall(r"<(\w+)>", transformer["InputTemplate"])) == set(transformer["InputPathsMap"])
    assert transformer["InputTemplate"][0] == transformer["InputTemplate"][-1] == '"'
