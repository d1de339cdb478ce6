"""Clients, and botocore's errors in our words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError, ProfileNotFound

from gameday.failures import Refused, Unmet

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 8}, connect_timeout=5, read_timeout=30)
"""Throttled and failed calls are made again by botocore: a game day asks once or twice a second and has time."""

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthFailure", "OptInRequired"})
"""The services' names for: this identity may not do that."""
UNKNOWN_IDENTITY = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
)
"""The services' names for: these credentials are not valid."""


@contextmanager
def calling(action: str) -> Iterator[None]:
    """Translate what goes wrong in a call. ``action`` as in a policy, e.g. ``fis:StartExperiment``.

    Raises:
        Unmet: no rights, no valid credentials, no Region, nothing answers.
        Refused: AWS's answer is any other error.
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(action, error) from error
    except BotoCoreError as error:
        raise Unmet(no_answer(action, error)) from error


def no_answer(action: str, error: BotoCoreError) -> str:
    """Return the sentence for a call that AWS never heard of, or never answered."""
    match error:
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound():
            return f"No AWS credentials ({error}): run `aws configure` or `aws sso login`, or set AWS_PROFILE."
        case NoRegionError():
            return "No Region: give --region, or set AWS_REGION."
        case _:
            return f"AWS does not answer to {action} ({error}): look at the network, and at AWS_ENDPOINT_URL if it is set."


def _refusal(action: str, error: ClientError) -> Unmet | Refused:
    code = error.response.get("Error", {}).get("Code", "Unknown")
    message = error.response.get("Error", {}).get("Message", "")
    if code in DENIED:
        return Unmet(f"No right to call {action} ({message}): allow it to the identity that runs the game day; docs/gameday.md lists all actions.")
    if code in UNKNOWN_IDENTITY:
        return Unmet(f"The AWS credentials are not valid ({code}: {message}): log in again.")
    return Refused(action, code, message)
