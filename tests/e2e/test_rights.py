"""Everything that the stack has called, in all sandboxes of this run, as its deployed policies see it. Runs last (see conftest.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reserved_words import EXPRESSIONS, reserved_in
from tests.rights.authorization import requests
from tests.rights.policies import actions, applying, is_allowed
from tests.rights.services import MADE_BY_AWS
from tests.shapes import misfits, operation_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rights.authorization import Call
    from tests.rights.witness import Recording, Witness

MISSING_TABLE = "no-such-table"
"""What test_stack.py sets a function to, to see what it says. IAM would refuse it, too."""
GONE = {"TerminateInstances", "SendCommand"}
"""Calls that may name an instance that EC2 has forgotten, with its tags, by the time that they are judged; of these instances nothing is asked."""
NOT_PLAYED = {
    ("RespondToNoticesRole", "ssm:DescribeInstanceInformation"): "only where SSM refuses an instance",
    ("SpotJobRole", "states:StartExecution"): "only when an execution's history is full, after 350 rounds",
    ("SpotJobRole", "states:StopExecution"): "likewise",
    ("SpotJobRole", "states:DescribeExecution"): "likewise, or when a job is taken over",
    ("SpotJobRole", "events:DescribeRule"): "likewise",
    ("SpotJobRole", "events:PutRule"): "likewise",
    ("SpotJobRole", "events:PutTargets"): "likewise",
    ("JobInstanceRole", "s3:AbortMultipartUpload"): "only where the upload of a checkpoint of more than 64 MB breaks",
}
"""What end-to-end scenarios need not come to; the calls are recorded from the parts themselves in tests/rights/recorded.py."""


@pytest.fixture(scope="module")
def recordings(witness: Witness) -> list[Recording]:
    """What the sandboxes of this run have seen."""
    found = witness.recordings()
    if not found:
        pytest.skip("no end-to-end test has run")
    return found


def test_every_call_was_allowed(recordings: list[Recording]) -> None:
    """Each call that a role of the stack made end to end, it may make: action, resource and conditions."""
    refused = {f"{call.role}: {refusal}" for one in recordings for call in one.calls for refusal in _refusals(one, call)}
    assert refused == set()


def _refusals(recording: Recording, call: Call) -> list[str]:
    if call.parameters.get("TableName") == MISSING_TABLE:
        return []
    forgotten = _forgotten(recording, call)
    asked = [request for request in requests(call, recording.world) if request.resource not in forgotten]
    return [str(request) for request in asked if not is_allowed(recording.roles[call.role], request)]


def _forgotten(recording: Recording, call: Call) -> set[str]:
    """Return the instances' ARNs of which nobody can tell any more how they were tagged."""
    named = set(call.parameters["InstanceIds"]) if call.operation in GONE else set()
    return {recording.world.instance(instance_id) for instance_id in named - recording.world.tags.keys()}


@pytest.mark.parametrize("operation", sorted(GONE))
def test_some_were_judged_whole(recordings: list[Recording], operation: str) -> None:
    """Of the calls that may name forgotten instances, one at least named none."""
    made = [(one, call) for one in recordings for call in one.calls if call.operation == operation]
    if not made:
        pytest.skip(f"no test that was chosen leads to {operation}")
    assert any(not _forgotten(one, call) for one, call in made)


def test_every_call_is_of_its_api(recordings: list[Recording]) -> None:
    """Each call fits botocore's model of its operation: members, types, enumerations, patterns, lengths; and no reserved word is bare."""
    assert {misfit for one in recordings for call in one.calls for misfit in _misfits(call)} == set()


def _misfits(call: Call) -> Iterator[str]:
    shape = operation_model(call.service, call.operation).input_shape
    assert shape is not None
    yield from misfits(shape, call.parameters, f"{call.role}: {call.name}")
    for name in EXPRESSIONS if call.service == "dynamodb" else ():
        yield from (f"{call.role}: {call.name}: {word} is a reserved word" for word in reserved_in(call.parameters.get(name, "")))


def test_nothing_was_missed(recordings: list[Recording]) -> None:
    """The sandboxes' logs are whole: the first call of each is still there."""
    assert all(one.is_whole for one in recordings)


def test_every_action_was_used(request: pytest.FixtureRequest, recordings: list[Recording]) -> None:
    """After all scenarios, with jobs and without, every action that a role grants was needed, but for AWS's own and those named above."""
    whole = [one for one in recordings if any(call.role == "JobInstanceRole" for call in one.calls)]
    options = request.config.getoption
    is_chosen = options("keyword") or options("deselect") or any("::" in argument for argument in request.config.args)
    if is_chosen or not whole or len(whole) == len(recordings):
        pytest.skip("not all end-to-end tests have run")
    used = {
        (call.role, asked.action)
        for one in recordings
        for call in one.calls
        for asked in requests(call, one.world)
        if applying(one.roles[call.role], asked)
    }
    granted = {(role, action) for role, statements in whole[0].roles.items() for action in actions(statements)}
    made_by_aws = {(role, action) for role, made in MADE_BY_AWS.items() for action in made}
    assert granted - used - made_by_aws - NOT_PLAYED.keys() == set()
    assert NOT_PLAYED.keys() <= granted
