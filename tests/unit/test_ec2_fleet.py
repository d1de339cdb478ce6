"""Instances from one DescribeInstances, however many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spot_responder.adapters.clients import client
from spot_responder.adapters.ec2_fleet import Ec2Fleet
from spot_responder.domain.errors import Refused, Unavailable
from spot_responder.domain.instances import Instance
from tests.examples import OPT_IN, instance_id
from tests.fakes.aws import Reply, described, ec2_error

if TYPE_CHECKING:
    from tests.fakes.aws import AwsOverHttp, Call

DESCRIBE = "ec2:DescribeInstances"
NOT_FOUND = "InvalidInstanceID.NotFound"


@pytest.fixture(scope="module")
def fleet(installed: AwsOverHttp) -> Ec2Fleet:
    """Return the fleet of that AWS."""
    assert installed is not None
    return Ec2Fleet(client("ec2"))


def ids(count: int) -> list[str]:
    """Return so many instance ids."""
    return [instance_id(number) for number in range(count)]


def named(call: Call) -> Reply:
    """Describe the instances that a call names, by id or by filter."""
    return described(call.listed("InstanceId") or call.listed("Filter.1.Value"))


def test_an_instance_as_we_need_it(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """State, type, zone and tags come from EC2's answer."""
    aws.always(DESCRIBE, described([instance_id()], state="stopping"))
    (found,) = fleet.describe([instance_id()]).values()
    assert (found.instance_id, found.state, found.instance_type, found.zone) == (instance_id(), "stopping", "m5.large", "us-east-1a")
    assert (found.tags["Name"], found.tags[OPT_IN.key], len(found.tags)) == ("worker", OPT_IN.value, 3)


def test_an_instance_without_tags(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """An instance without tags, type or zone in the answer is an instance all the same."""
    answer = f"<instancesSet><item><instanceId>{instance_id()}</instanceId><instanceState><name>pending</name></instanceState></item></instancesSet>"
    body = f"<DescribeInstancesResponse><reservationSet><item>{answer}</item></reservationSet></DescribeInstancesResponse>"
    aws.always(DESCRIBE, Reply(body))
    assert fleet.describe([instance_id()]) == {instance_id(): Instance(instance_id(), "pending", "", "", {})}


@pytest.mark.parametrize("per_reservation", [1, 7, 1000])
def test_every_reservation_is_read(fleet: Ec2Fleet, aws: AwsOverHttp, per_reservation: int) -> None:
    """Instances that were launched apart come in several reservations; all are read, in one call."""
    aws.always(DESCRIBE, described(ids(20), in_reservations_of=per_reservation))
    assert list(fleet.describe(ids(20))) == ids(20)
    assert len(aws.calls) == 1


def test_nothing_to_describe(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """Without ids nothing is asked: DescribeInstances without ids would mean all of them."""
    assert fleet.describe([]) == {}
    assert aws.calls == []


def test_a_thousand_in_one_call(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """One call takes 1,000 ids; 1,001 take two, the second by the filter."""
    aws.always(DESCRIBE, named)
    fleet.describe(ids(1001))
    assert [len(call.listed("InstanceId")) for call in aws.calls] == [1000, 0]
    assert aws.calls[1].listed("Filter.1.Value") == ids(1001)[1000:]


def test_unknown_ids_cost_no_second_call(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """Up to 200 ids are asked for by the filter that tolerates unknown ones: one call, whatever EC2 knows."""
    aws.always(DESCRIBE, lambda call: described(call.listed("Filter.1.Value")[1:]))
    assert list(fleet.describe(ids(200))) == ids(200)[1:]
    assert [call.parameters["Filter.1.Name"] for call in aws.calls] == ["instance-id"]


@pytest.mark.parametrize(
    ("code", "message", "unknown"),
    [
        (NOT_FOUND, f"The instance ID '{instance_id(2)}' does not exist", [2]),
        (NOT_FOUND, f"The instance IDs '{instance_id(2)}, {instance_id(4)}' do not exist", [2, 4]),
        ("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id(3)}" (expecting "i-...")', [3]),
    ],
)
def test_unknown_ids_are_left_out(fleet: Ec2Fleet, aws: AwsOverHttp, code: str, message: str, unknown: list[int]) -> None:
    """The ids that EC2's error names, in the singular or the plural, are left out, and one more call serves the others."""
    aws.once(DESCRIBE, ec2_error(code, message))
    aws.always(DESCRIBE, named)
    expected = [instance_id(number) for number in range(300) if number not in unknown]
    assert list(fleet.describe(ids(300))) == expected
    assert [call.listed("InstanceId") for call in aws.calls] == [ids(300), expected]


@pytest.mark.parametrize("message", ["Some instances do not exist", f"The instance ID '{instance_id(999)}' does not exist"])
def test_unknown_ids_that_are_not_named(fleet: Ec2Fleet, aws: AwsOverHttp, message: str) -> None:
    """Where the error names none of our ids, the filter finds the others, 200 at a time."""
    aws.once(DESCRIBE, ec2_error(NOT_FOUND, message))
    aws.always(DESCRIBE, named)
    assert len(fleet.describe(ids(450))) == 450
    assert [len(call.listed("Filter.1.Value")) for call in aws.calls] == [0, 200, 200, 50]


def test_ids_that_come_to_be_unknown_one_by_one(fleet: Ec2Fleet, aws: AwsOverHttp) -> None:
    """An EC2 that names one unknown id at a time is asked so three times, and by the filter then: there is no endless loop."""
    aws.once(DESCRIBE, *(ec2_error(NOT_FOUND, f"The instance ID '{instance_id(number)}' does not exist") for number in range(3)))
    aws.always(DESCRIBE, named)
    assert list(fleet.describe(ids(300))) == ids(300)[3:]
    assert [len(call.listed("InstanceId")) for call in aws.calls] == [300, 299, 298, 0, 0]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [("RequestLimitExceeded", 503, Unavailable), ("InternalError", 500, Unavailable), ("UnauthorizedOperation", 403, Refused)],
)
def test_other_errors(fleet: Ec2Fleet, aws: AwsOverHttp, code: str, status: int, expected: type[Exception]) -> None:
    """Throttling and server errors are unavailable, a missing permission is refused, in EC2's own words."""
    aws.always(DESCRIBE, ec2_error(code, "because", status))
    with pytest.raises(expected, match=f"^ec2:DescribeInstances: {code}: because$"):
        fleet.describe([instance_id()])
