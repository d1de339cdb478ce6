"""Clients of AWS, built from botocore alone: it is what takes time and memory, and boto3 on top would add to both.

What botocore raises becomes one of our errors, with AWS's own sentence behind the operation's name.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from urllib3.exceptions import HTTPError

from spot_agent.errors import CallFailed, Misconfigured, Overtaken, Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

UNAVAILABLE = frozenset(
    {
        "BadDigest",
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "XAmzContentChecksumMismatch",
    }
)
"""Error codes that mean "a little later", or "again, since it was damaged on the way": the services' own pages on throttling and errors."""

SERVER_ERROR = 500
FIRST_CREDENTIALS_SECONDS = 60.0
"""The credentials of a role can appear in IMDS some seconds after the instance has started."""


class Clients:
    """Makes clients that share one session, hence one set of credentials."""

    def __init__(self, region: str) -> None:
        """Find credentials; raise Misconfigured where there are none after a minute."""
        self._session = botocore.session.get_session()
        self._session.set_config_variable("region", region)
        self._session.set_config_variable("metadata_service_num_attempts", 3)
        deadline = time.monotonic() + FIRST_CREDENTIALS_SECONDS
        while self._session.get_credentials() is None:
            if time.monotonic() > deadline:
                raise Misconfigured("no AWS credentials: the instance needs an instance profile")
            time.sleep(0.5)

    def client(self, service: str, *, read_seconds: float = 3.0, tries: int = 1) -> Any:  # noqa: ANN401  # botocore builds its clients at run time
        """Return a client that tries once and gives up soon: patience is the agent's, which knows the deadline and has other things to do.

        More ``tries`` are for what would have to begin anew as a whole.
        """
        config = Config(connect_timeout=1, read_timeout=read_seconds, retries={"mode": "standard", "total_max_attempts": tries})
        return self._session.create_client(service, config=config)


@contextmanager
def calling(operation: str) -> Iterator[None]:
    """Translate what a call raises; ``operation`` is named in the sentence: ``dynamodb:UpdateItem``."""
    try:
        yield
    except ClientError as error:
        raise translated(operation, error) from error
    except ParamValidationError as error:
        raise Refused(f"{operation}: {error}") from error
    except (BotoCoreError, HTTPError) as error:
        # No connection, a broken one, or no credentials for the moment.
        raise Unavailable(f"{operation}: {error}") from error


def translated(operation: str, error: ClientError) -> CallFailed:
    """Return our error for one of AWS."""
    code = error_code(error)
    sentence = f"{operation}: {code}: {error.response.get('Error', {}).get('Message', '')}"
    if code == "ConditionalCheckFailedException":
        return Overtaken(sentence)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Unavailable(sentence) if code in UNAVAILABLE or status >= SERVER_ERROR else Refused(sentence)


def error_code(error: ClientError) -> str:
    """Return AWS's code: ``TaskTimedOut``."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))
