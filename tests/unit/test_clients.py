"""AWS's errors in our language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ParamValidationError, ReadTimeoutError
from botocore.retries import standard

from spot_responder.adapters.clients import CONFIG, THROTTLED, calling, client, translated
from spot_responder.adapters.ec2_fleet import SHAPES
from spot_responder.domain.errors import CallFailed, Refused, Unavailable
from tests.examples import instance_id
from tests.fakes.aws import described, ec2_error

if TYPE_CHECKING:
    from tests.fakes.aws import AwsOverHttp


def client_error(code: str, status: int = 400, message: str = "because") -> ClientError:
    """Return an error as botocore raises it."""
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeInstances")


@pytest.mark.parametrize("code", sorted(THROTTLED))
def test_throttling_is_unavailable(code: str) -> None:
    """Every code by which an AWS service says "a little later" is worth another try."""
    error = translated("ec2:DescribeInstances", client_error(code))
    assert isinstance(error, Unavailable)
    assert str(error) == f"ec2:DescribeInstances: {code}: because"


def test_botocores_own_throttling_codes_are_known() -> None:
    """What botocore's standard retry mode calls throttling or transient, we call unavailable, but for what belongs to other services."""
    others = {
        "TransactionInProgressException",  # DynamoDB's transactions, of which we make none
        "BandwidthLimitExceeded",  # CloudSearch
        "PriorRequestNotComplete",  # Route 53
        "RequestThrottledException",  # AppSync
        "SlowDown",  # S3
        "RequestTimeout",  # S3
        "RequestTimeoutException",  # STS
    }
    throttled: Any = standard.ThrottledRetryableChecker
    transient: Any = standard.TransientRetryableChecker
    botocores = {*throttled._THROTTLED_ERROR_CODES, *transient._TRANSIENT_ERROR_CODES}
    assert botocores - others <= THROTTLED


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_unavailable(status: int) -> None:
    """Any 5xx is worth another try, whatever its code."""
    assert isinstance(translated("ssm:SendCommand", client_error("Whatever", status)), Unavailable)


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnauthorizedOperation", "ValidationException", "InvalidDocument"])
def test_anything_else_is_refused(code: str) -> None:
    """What AWS understood and declined is not tried again."""
    assert isinstance(translated("ssm:SendCommand", client_error(code)), Refused)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://ec2.us-east-1.amazonaws.com"),
        ConnectTimeoutError(endpoint_url="https://ec2.us-east-1.amazonaws.com"),
        ReadTimeoutError(endpoint_url="https://ec2.us-east-1.amazonaws.com"),
    ],
)
def test_no_connection_is_unavailable(error: Exception) -> None:
    """No connection and no answer in time are worth another try, and the sentence says which call it was."""
    with pytest.raises(Unavailable, match=r"^ec2:DescribeInstances: .*ec2\.us-east-1"), calling("ec2:DescribeInstances"):
        raise error


def test_a_wrong_request_is_refused() -> None:
    """What botocore does not even send is refused: the same request would be as wrong again."""
    with pytest.raises(Refused), calling("ec2:DescribeInstances"):
        raise ParamValidationError(report="no")


def test_our_own_errors_pass() -> None:
    """What is no error of botocore's is left as it is."""
    with pytest.raises(KeyError), calling("ec2:DescribeInstances"):
        raise KeyError


def test_one_quick_second_try(aws: AwsOverHttp) -> None:
    """A client tries twice and no more: longer patience is the use case's, which knows the deadline."""
    aws.always("ec2:DescribeInstances", ec2_error("RequestLimitExceeded", "Request limit exceeded.", 503))
    with pytest.raises(CallFailed), calling("ec2:DescribeInstances"):
        client("ec2").describe_instances()
    assert len(aws.calls) == 2


def test_a_call_cannot_outlast_the_notice() -> None:
    """With both tries and both timeouts, a call ends well within the two minutes."""
    config: Any = CONFIG
    assert config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout) < 30


def test_only_the_members_needed_are_parsed(aws: AwsOverHttp) -> None:
    """Of EC2's over 60 members of an instance, those that we read are parsed and no others; the rest of the answer is whole."""
    aws.always("ec2:DescribeInstances", described([instance_id()]))
    slim = client("ec2").describe_instances()["Reservations"][0]
    whole: Any = aws.session().create_client("ec2")
    full = whole.describe_instances()["Reservations"][0]
    assert sorted(slim["Instances"][0]) == sorted(SHAPES["Instance"])
    assert slim["Instances"][0] == {name: full["Instances"][0][name] for name in SHAPES["Instance"]}
    assert slim["ReservationId"] == full["ReservationId"]
    assert len(full["Instances"][0]) > 20


def test_the_members_needed_exist() -> None:
    """The members that we choose are in EC2's model under these names."""
    model = botocore.session.get_session().get_service_model("ec2")
    for shape, members in SHAPES.items():
        assert set(members) <= set(model.shape_for(shape).members)  # type: ignore[attr-defined]  # a structure has members
