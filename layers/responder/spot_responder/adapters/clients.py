"""Clients of AWS, built from botocore alone: boto3 on top of it would only cost import time on a cold start."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from spot_responder.domain.errors import CallFailed, Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

THROTTLED = frozenset(
    {
        "EC2ThrottledException",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RateExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "Unavailable",
    },
)
"""Error codes that mean "a little later": the services' own pages on throttling and common errors."""

SERVER_ERROR = 500

MODELS = str(Path(__file__).parent / "models")
"""Models of services, cut down to what we use by ``layers/trim_models.py``: reading all of EC2's takes longer than importing all of our code."""

CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    # One quick second try; longer patience is the use case's, which knows the deadline.
    retries={"mode": "standard", "total_max_attempts": 2},
)


def client(service: str) -> Any:  # noqa: ANN401  # botocore builds its clients at run time
    """Return a client of a service, by our own model of it where there is one."""
    session = _session()
    places = session.get_component("data_loader").search_paths
    if MODELS not in places:
        places.insert(0, MODELS)
    return session.create_client(service, config=CONFIG)


@cache
def _session() -> botocore.session.Session:
    """Return the one session of all clients: each of its own would read the endpoints of all services again, 50 ms and more."""
    # Lambda's JSON log format puts the root logger at INFO, and botocore's "Found credentials ..." into the story.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    return botocore.session.get_session()


@contextmanager
def calling(operation: str) -> Iterator[None]:
    """Translate what botocore raises into our errors; ``operation`` is named in the sentence: ``ec2:DescribeInstances``."""
    try:
        yield
    except ClientError as error:
        raise translated(operation, error) from error
    except (NoConnection, HTTPClientError) as error:
        raise Unavailable(f"{operation}: {error}") from error
    except BotoCoreError as error:
        raise Refused(f"{operation}: {error}") from error


def translated(operation: str, error: ClientError) -> CallFailed:
    """Return our error for one of AWS."""
    code = error_code(error)
    sentence = f"{operation}: {code}: {error_message(error)}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Unavailable(sentence) if code in THROTTLED or status >= SERVER_ERROR else Refused(sentence)


def error_code(error: ClientError) -> str:
    """Return AWS's code: ``InvalidInstanceId``."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def error_message(error: ClientError) -> str:
    """Return AWS's own sentence."""
    return error.response.get("Error", {}).get("Message", "")
