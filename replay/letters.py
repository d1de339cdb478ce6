"""What a message in the dead-letter queue holds, and to whom it is to be given again. Pure.

Three kinds arrive there: an event that EventBridge could not deliver ("Using dead-letter queues to process undelivered events", EventBridge
User Guide), an event on which an asynchronous function failed ("Capturing records of Lambda asynchronous invocations", Lambda Developer
Guide), and where in the stream a batch is on which a function failed ("Retaining discarded records for a DynamoDB event source", likewise).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnknownLetter(Exception):
    """A message of none of the three kinds. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LostEvent:
    """An event for a function or a state machine; ``target`` is its ARN."""

    target: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LostBatch:
    """Records of a stream, both ends included; ``target`` is the function's ARN."""

    target: str
    stream: str
    shard: str
    first: str
    last: str


type Letter = LostEvent | LostBatch


def read(body: str, attributes: Mapping[str, str]) -> Letter:
    """Return what a message holds; ``attributes`` are its text attributes. Raises ``UnknownLetter``."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise UnknownLetter("its body is not JSON") from error
    if not isinstance(content, dict):
        raise UnknownLetter("its body is not an object")
    try:
        if "DDBStreamBatchInfo" in content:
            return _batch(content)
        if "requestPayload" in content:
            return LostEvent(_unqualified(content["requestContext"]["functionArn"]), content["requestPayload"])
        if "TARGET_ARN" in attributes:
            return LostEvent(attributes["TARGET_ARN"], content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnknownLetter(f"its body lacks {error}") from error
    raise UnknownLetter("neither EventBridge nor Lambda writes such a message")


def _batch(content: Mapping[str, Any]) -> LostBatch:
    batch = content["DDBStreamBatchInfo"]
    ends = batch["startSequenceNumber"], batch["endSequenceNumber"]
    return LostBatch(_unqualified(content["requestContext"]["functionArn"]), batch["streamArn"], batch["shardId"], *ends)


def _unqualified(function: str) -> str:
    """Return a function's ARN without the version that Lambda names there (``...:function:name:$LATEST``)."""
    return ":".join(function.split(":")[:7])
