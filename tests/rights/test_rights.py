"""Least privilege, by what the parts call: each call is allowed by its role, and nothing is granted that no call needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rights.authorization import Call, requests
from tests.rights.policies import Request, actions, applying, is_allowed, listed
from tests.rights.recorded import FACTS, by_agent, by_functions, by_machines, world
from tests.rights.roles import roles, trust
from tests.rights.services import MADE_BY_AWS, READS, requests_of_aws
from tests.template.stack import ACCOUNT
from tests.unit.agent.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rights.policies import Statement

CALLERS = {
    "lambda.amazonaws.com": ("RecordNoticeRole", "RespondToNoticesRole", "RecordCheckpointRole", "RecordInstanceStateRole"),
    "states.amazonaws.com": ("SpotJobRole", "EndJobRole"),
    "ec2.amazonaws.com": ("JobInstanceRole",),
    "fis.amazonaws.com": ("InterruptExperimentRole", "TerminateExperimentRole", "BatchExperimentRole"),
    "events.amazonaws.com": ("EndJobJobStoppedRole",),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Return the calls of every part."""
    folder: Path = tmp_path_factory.mktemp("agent")
    return [*by_functions(), *by_machines(), *by_agent(folder)]


def test_every_call_is_allowed(made: list[Call]) -> None:
    """Whatever a part calls, its role may: for the action, for each resource, under the conditions."""
    refused = [f"{call.role}: {request}" for call in made for request in requests(call, world()) if not is_allowed(roles()[call.role], request)]
    assert refused == []


def test_what_aws_does_in_a_role_is_allowed() -> None:
    """What an AWS service does with a role of ours without being asked by our code is allowed, too."""
    refused = [f"{role}: {request}" for role, request in requests_of_aws() if not is_allowed(roles()[role], request)]
    assert refused == []


def test_every_granted_action_is_used(made: list[Call]) -> None:
    """No statement allows an action on a resource for which there is neither a call nor a reason."""
    asked = [(call.role, request) for call in made for request in requests(call, world())] + requests_of_aws()
    unused = [
        f"{role}: {action} on {resource}"
        for role, statements in roles().items()
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if not any(one == role and _is_for(statement, action, resource, request) for one, request in asked)
    ]
    assert unused == []


def _is_for(statement: Statement, action: str, resource: str, request: Request) -> bool:
    """Tell whether a request needs this action on this resource of a statement."""
    return bool(applying([{**statement, "Action": action, "Resource": resource}], request))


def test_nothing_is_changed_everywhere() -> None:
    """What is allowed on all resources only reads, or is an instance's own channel, whose actions know no resource."""
    everywhere = {
        (role, action)
        for role, statements in roles().items()
        for statement in statements
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    changing = {(role, action) for role, action in everywhere if not READS.match(action)}
    channels = {action for action in MADE_BY_AWS["JobInstanceRole"] if "messages:" in action and not READS.match(action)}
    assert changing == {("JobInstanceRole", action) for action in {*channels, "cloudwatch:PutMetricData"}}


def test_no_action_is_a_pattern() -> None:
    """Every action is written out, every statement allows, and none is for everybody but somebody."""
    for statements in roles().values():
        assert not any("*" in action or "?" in action for action in actions(statements))
        assert {statement["Effect"] for statement in statements} == {"Allow"}


def test_metrics_go_into_the_workshops_namespace_alone() -> None:
    """PutMetricData, which knows no resources, is bound by its namespace."""
    names = ("fisworkshop", "SpotResponder", "AWS/EC2")
    asked = {name: Request("cloudwatch:PutMetricData", context={"cloudwatch:namespace": [name]}) for name in names}
    assert [name for name, request in asked.items() if is_allowed(roles()["JobInstanceRole"], request)] == ["fisworkshop"]


@pytest.mark.parametrize(("service", "names"), CALLERS.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_role_is_taken_by_one_service(service: str, names: tuple[str, ...]) -> None:
    """A role is for one AWS service and nobody else; Step Functions and FIS have to come from this account ("The confused deputy problem")."""
    for name in names:
        (statement,) = trust(name)
        assert statement["Effect"] == "Allow"
        assert (listed(statement["Principal"]["Service"]), listed(statement["Action"])) == ([service], ["sts:AssumeRole"])
        bound = service in ("states.amazonaws.com", "fis.amazonaws.com")
        assert statement.get("Condition") == ({"StringEquals": {"aws:SourceAccount": ACCOUNT}} if bound else None)


def test_every_role_has_its_caller() -> None:
    """The roles are these, each with one caller: a new one is looked at."""
    assert sorted(roles()) == sorted(name for names in CALLERS.values() for name in names)


def test_what_an_attempt_records_is_known() -> None:
    """The facts that agents put into their attempts' records are those that the instances' role lets them write."""
    play = World(ignores_signals=True)
    first = play.launch()
    play.run_for(300)
    first.warn()
    play.run(lambda now: now.result is not None)
    troubles = {"troubles"} if play.troubles else set()
    assert set().union(*play.records.values()) | troubles == FACTS.keys()
