"""What the agent makes of AWS's errors: another try, or none."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError, ReadTimeoutError, ResponseStreamingError
from urllib3.exceptions import HTTPError, ProtocolError

from spot_agent.clients import calling
from spot_agent.errors import CallFailed, Overtaken, Refused, Unavailable


def refusal(code: str, status: int) -> ClientError:
    """Return AWS's error as botocore raises it."""
    response = {"Error": {"Code": code, "Message": "its own words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "AnyOperation")  # type: ignore[arg-type]  # as much of it as is read


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        # S3, "List of error codes": with status 400, and worth another try all the same.
        (refusal("RequestTimeout", 400), Unavailable),
        (refusal("BadDigest", 400), Unavailable),
        (refusal("XAmzContentChecksumMismatch", 400), Unavailable),
        (refusal("ExpiredToken", 400), Unavailable),
        # DynamoDB, Step Functions, "Common errors".
        (refusal("ThrottlingException", 400), Unavailable),
        (refusal("ProvisionedThroughputExceededException", 400), Unavailable),
        (refusal("TransactionConflictException", 400), Unavailable),
        (refusal("SomethingNew", 503), Unavailable),
        (refusal("AccessDenied", 403), Refused),
        (refusal("NoSuchBucket", 404), Refused),
        (refusal("ValidationException", 400), Refused),
        (refusal("ConditionalCheckFailedException", 400), Overtaken),
        # What never left, what never came, and what came only in part.
        (ParamValidationError(report="Missing required parameter"), Refused),
        (NoCredentialsError(), Unavailable),
        (ReadTimeoutError(endpoint_url="https://s3.example"), Unavailable),
        (ResponseStreamingError(error="12 bytes are missing"), Unavailable),
        (ProtocolError("Connection broken"), Unavailable),
        (HTTPError("any other of urllib3"), Unavailable),
    ],
    ids=repr,
)
def test_worth_another_try(error: Exception, becomes: type[CallFailed]) -> None:
    """Throttling, damage on the way and broken connections are; what AWS declines is not. The sentence names the call."""
    with pytest.raises(CallFailed, match=r"s3:GetObject: .") as raised, calling("s3:GetObject"):
        raise error
    assert type(raised.value) is becomes
