"""AWS's limits that a template can break without a checker that sees it: sizes and counts, each with its source."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from spot_agent.checkpoint_store import Place
from spot_agent.job import Checkpoint
from spot_agent.story import KEPT_TROUBLES, TROUBLE_CHARACTERS
from tests.rights.policies import listed
from tests.rights.roles import roles
from tests.stateful.definition import Execution, states_of
from tests.statemachine.definitions import SPOT_JOB
from tests.template.stack import RESOURCES, WITH_JOB, of_type, resolved, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONG = {**WITH_JOB, "NotificationEmail": "operations@example.com"}
STATE, EVENT = 256 * 1024, 248 * 1024
"""Bytes that a task, a state, or the variables that one state assigns may have, and with which an execution's end is told ("Step Functions
service quotas"; "Step Functions execution status change events": above that without the input)."""
ITEM = 400 * 1024
"""Bytes of an item ("Quotas in Amazon DynamoDB")."""
WIDEST = "\U0001f5a5"
"""A character of four bytes, than which UTF-8 has none that are longer."""
KEY = 1_024
"""Bytes of an object's key ("Naming Amazon S3 objects")."""
INTERRUPT, WAIT = "aws:ec2:send-spot-instance-interruptions", "aws:fis:wait"


def _size(document: Any) -> int:
    """Characters of a policy without white space, as IAM counts them."""
    text = document if isinstance(document, str) else json.dumps(document)
    return len("".join(text.split()))


def _inline() -> dict[str, int]:
    """Return the size of all inline policies of each role, with those that are attached by resources of their own."""
    sizes = {name: sum(_size(resolved(policy, LONG)) for policy in role.get("Policies", [])) for name, role in of_type("AWS::IAM::Role").items()}
    for policy in of_type("AWS::IAM::Policy").values():
        for role in resolved(policy, LONG)["Roles"]:
            sizes[role] += _size(resolved(policy, LONG)["PolicyDocument"])
    return sizes


@pytest.mark.parametrize(("role", "size"), _inline().items())
def test_inline_policies(role: str, size: int) -> None:
    """A role's inline policies have at most 10,240 characters ("IAM and AWS STS quotas")."""
    assert size < 10_240, role


def test_managed_policies() -> None:
    """A managed policy has at most 6,144 characters, a role's trust policy 2,048 by default ("IAM and AWS STS quotas")."""
    for policy in of_type("AWS::IAM::ManagedPolicy").values():
        assert _size(resolved(policy["PolicyDocument"], LONG)) < 6_144
    for role in of_type("AWS::IAM::Role").values():
        assert _size(resolved(role["AssumeRolePolicyDocument"], LONG)) < 2_048


def test_user_data() -> None:
    """User data have at most 16 KB before they are encoded ("Instance user data", EC2 User Guide); names put in are at most 128 characters long."""
    (template,) = of_type("AWS::EC2::LaunchTemplate").values()
    written = template["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    text, values = written["Fn::Sub"] if isinstance(written["Fn::Sub"], list) else (written["Fn::Sub"], {})
    names = re.findall(r"\$\{[^!}][^}]*\}", text)
    assert len(text) > 1_000
    assert len(text.encode()) + 128 * (len(names) + len(values)) < 16_384


def test_environments() -> None:
    """A function's variables have at most 4 KB together ("Lambda quotas")."""
    for function in of_type("AWS::Lambda::Function").values():
        variables = resolved(function.get("Environment", {}).get("Variables", {}), LONG)
        assert sum(len(f"{name}{value}".encode()) for name, value in variables.items()) < 4_096


def test_metric_filters() -> None:
    """A log group has at most 100 metric filters, each with at most 3 dimensions ("CloudWatch Logs quotas")."""
    filters = of_type("AWS::Logs::MetricFilter").values()
    assert len(filters) <= 100
    for one in filters:
        (transformation,) = one["MetricTransformations"]
        assert len(transformation.get("Dimensions", [])) <= 3


def test_rules() -> None:
    """A rule has at most 5 targets, its pattern 2,048 characters ("Amazon EventBridge quotas")."""
    for rule in rules().values():
        assert len(rule["Targets"]) <= 5
        assert _size(resolved(rule["EventPattern"], LONG)) < 2_048


def test_descriptions() -> None:
    """An alarm's description has at most 1,024 characters, all others' 256 or more (CreateFunction has the least; the API references)."""
    for name, resource in RESOURCES.items():
        described = resource.get("Properties", {}).get("AlarmDescription", resource.get("Properties", {}).get("Description", ""))
        limit = 1_024 if resource["Type"] == "AWS::CloudWatch::Alarm" else 256
        assert len(str(described)) <= limit, name


def test_dashboards() -> None:
    """A dashboard has at most 500 metrics and a body that PutDashboard takes as JSON ("CloudWatch quotas")."""
    for board in of_type("AWS::CloudWatch::Dashboard").values():
        body = json.loads(resolved(board["DashboardBody"], LONG))
        assert sum(len(widget["properties"].get("metrics", [])) for widget in body["widgets"]) <= 500


# What FIS does at once


EXPERIMENTS = of_type("AWS::FIS::ExperimentTemplate")


def _minutes(duration: str) -> int:
    found = re.fullmatch(r"PT(\d+)M", duration)
    assert found, duration
    return int(found[1])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments(name: str) -> None:
    """An experiment waits for 1 minute to 12 hours, and interrupts at most 5 instances, in 2 to 15 minutes ("AWS FIS actions reference"; "Quotas").

    Whose target is more fails, and interrupts none: so it is ``COUNT(n)``, which takes as many as there are where these are fewer.
    """
    for action in EXPERIMENTS[name]["Actions"].values():
        if action["ActionId"] == WAIT:
            assert 1 <= _minutes(action["Parameters"]["duration"]) <= 12 * 60
        if action["ActionId"] == INTERRUPT:
            assert 2 <= _minutes(action["Parameters"]["durationBeforeInterruption"]) <= 15
            selection = re.fullmatch(r"COUNT\((\d+)\)", EXPERIMENTS[name]["Targets"][action["Targets"]["SpotInstances"]]["SelectionMode"])
            assert selection
            assert 1 <= int(selection[1]) <= 5


# What a job may be told


@cache
def _states(**changed: object) -> Mapping[str, Any]:
    machine = of_type("AWS::StepFunctions::StateMachine")["SpotChaosStateMachine"]
    return states_of(SPOT_JOB, resolved(machine["DefinitionSubstitutions"], LONG) | changed)


def _started(given: Mapping[str, Any], **changed: object) -> tuple[Execution, dict[str, Any]]:
    """Start a job until its instance is there, with these of the template's values changed; return the execution and its calls' arguments."""
    calls: dict[str, Any] = {}

    def call(_execution: Execution, _service: str, operation: str, arguments: Mapping[str, Any]) -> Any:
        calls[operation] = arguments
        launched = {"Instances": [{"InstanceIds": ["i-0123456789abcdef0"]}]}
        return {"get_item": {"Item": calls["put_item"]["Item"]}, "create_fleet": launched}.get(operation)

    execution = Execution("n" * 80, given, _states(**changed), call)
    while execution.pause is not None and not execution.pause.token:
        execution.wake()
    return execution, calls


def _most(make: Callable[[int], Mapping[str, Any]]) -> int:
    """Return the greatest length with which an input is taken."""
    return bisect_left(range(STATE), True, key=lambda length: _started(make(length))[0].error == "InvalidInput") - 1  # noqa: FBT003  # what is looked for


@cache
def _most_of() -> dict[str, int]:
    """Return how many characters an input may have, and its longest texts."""
    bucket = resolved(of_type("AWS::StepFunctions::StateMachine")["SpotChaosStateMachine"]["DefinitionSubstitutions"], LONG)["CheckpointBucket"]
    frame = len('{"other":""}')
    return {
        "input": frame + _most(lambda length: {"other": "x" * length}),
        "command": _most(lambda length: {"Command": "x" * length}),
        "environment": _most(lambda length: {"Environment": {"A": "x" * length}}) + len('{"A":""}'),
        "checkpoint_uri": len(f"s3://{bucket}/") + _most(lambda length: {"CheckpointUri": f"s3://{bucket}/{'x' * length}"}),
    }


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def test_inputs() -> None:
    """The longest input, of the widest characters, is a state's, and the end of its execution is told with it: by it EndJob finds the job."""
    widest = _most_of()["input"] * WIDEST
    assert _bytes(widest) <= EVENT < STATE
    assigned = [name for name in _states()["SetUp"]["Assign"] if name != "input"]
    others = _started({})[0].variables
    assert _bytes({name: others[name] for name in assigned}) + _bytes(widest) <= STATE


def _attributes_of_agents() -> set[str]:
    """Return what the instances' role may write."""
    (written,) = [one for one in roles()["JobInstanceRole"] if "dynamodb:UpdateItem" in listed(one["Action"])]
    return set(written["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"])


def _key(uri: str) -> str:
    """Return the longest key of a checkpoint below a place."""
    return Place.of(uri).key("j" * 80, f"1000000-{'a' * 36}-000000.tar")


def _largest_item() -> dict[str, dict[str, str]]:
    """Return a job's item with all that the state machine and agents write, as long as each can be."""
    most = _most_of()
    _, calls = _started({})
    uri = "s3://b/".ljust(most["checkpoint_uri"], "u")
    checkpoint = Checkpoint(_key(uri), "0" * 64, 99.999999999999, 10**13, 1e9 / 3).to_json()
    texts = {
        "command": most["command"] * WIDEST,
        "environment": most["environment"] * WIDEST,
        "checkpoint_uri": uri,
        "checkpoint": checkpoint,
        "checkpoint_before": checkpoint,
        # The API reference of SendTaskSuccess.
        "token": "t" * 2_048,
        "troubles": KEPT_TROUBLES * (TROUBLE_CHARACTERS + 1) * WIDEST,
    }
    numbers = {name: {"N": repr(-1e99 / 3)} for name in _attributes_of_agents() - texts.keys()}
    handed = {name[1:]: value for name, value in calls["update_item"]["ExpressionAttributeValues"].items()}
    return {**calls["put_item"]["Item"], **handed, **numbers, **{name: {"S": text} for name, text in texts.items()}}


def test_items() -> None:
    """The largest item of a job is read by its state machine as a task's result, which is less than a table takes."""
    assert _bytes({"Item": _largest_item()}) <= STATE < ITEM


def test_keys() -> None:
    """Below the longest place, in the bucket with the shortest name, a checkpoint's key is none that S3 refuses."""
    assert len(_key("s3://buk/".ljust(_most_of()["checkpoint_uri"], "u"))) <= KEY


def test_what_was_taken_goes_on() -> None:
    """The longest input is taken by the execution that goes on where another had no events left, too, and is told at its end as well."""
    longest = {"other": "x" * (_most_of()["input"] - len('{"other":""}'))}
    _, calls = _started(longest, RoundsPerExecution=0)
    given = calls["start_execution"]["Input"]
    assert _started(given)[0].error != "InvalidInput"
    assert _bytes(given) + 3 * len(longest["other"]) <= EVENT
