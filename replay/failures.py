"""What keeps a replay from being done."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from gameday.adapters.connection import no_answer

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReplayFailed(Exception):
    """The text is one sentence for the person who started it."""


@contextmanager
def calling(action: str) -> Iterator[None]:
    """Turn what goes wrong in a call into ``ReplayFailed``; ``action`` as in a policy, e.g. ``sqs:ReceiveMessage``."""
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise ReplayFailed(f"AWS refused {action} ({answer.get('Code', 'Unknown')}): {answer.get('Message', 'no reason is given')}") from error
    except BotoCoreError as error:
        raise ReplayFailed(no_answer(action, error)) from error
