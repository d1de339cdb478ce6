"""What lies in the dead-letter queue, as AWS documents the three kinds of message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replay.letters import LostBatch, LostEvent, UnknownLetter, read
from tests.examples import interruption_event

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:record"
STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/notices/stream/2026-11-22T09:00:00.000"
UNDELIVERED = {"RULE_ARN": "arn:aws:events:us-east-1:123456789012:rule/r", "TARGET_ARN": FUNCTION, "ERROR_CODE": "NO_PERMISSIONS"}


def asynchronous(payload: Any, function: str = f"{FUNCTION}:$LATEST") -> dict[str, Any]:
    """What Lambda sends of an event on which an asynchronous function failed."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-22T10:00:00.000Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": function,
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "there is no such table"},
    }


def batch(first: str = "100", last: str = "300") -> dict[str, Any]:
    """What Lambda sends of a stream's batch on which a function failed."""
    return {
        "requestContext": {"requestId": "316aa6d0", "functionArn": FUNCTION, "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-11-22T10:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001573689847184-864758bb",
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2026-11-22T10:00:00Z",
            "approximateArrivalOfLastRecord": "2026-11-22T10:00:00Z",
            "batchSize": 3,
            "streamArn": STREAM,
        },
    }


def test_undelivered() -> None:
    """EventBridge sends the event as it is; the target stands in the message's attributes."""
    assert read(json.dumps(interruption_event()), UNDELIVERED) == LostEvent(FUNCTION, interruption_event())


def test_asynchronous() -> None:
    """Lambda sends the event with its surroundings; the function is named without its version, so that a later one gets it."""
    assert read(json.dumps(asynchronous(interruption_event())), {}) == LostEvent(FUNCTION, interruption_event())


def test_batch() -> None:
    """Of a batch, Lambda sends where it is."""
    found = read(json.dumps(batch()), {})
    assert found == LostBatch(FUNCTION, STREAM, "shardId-00000001573689847184-864758bb", "100", "300")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ("{}", "neither EventBridge nor Lambda"),
        ('{"requestPayload": {}}', "lacks 'requestContext'"),
        ('{"requestPayload": {}, "requestContext": {"functionArn": 7}}', "lacks"),
        ('{"DDBStreamBatchInfo": []}', "lacks"),
        ('{"DDBStreamBatchInfo": {"startSequenceNumber": "1"}}', "lacks 'endSequenceNumber'"),
    ],
)
def test_unknown(body: str, says: str) -> None:
    """A message that is none of the three says what is wrong with it."""
    with pytest.raises(UnknownLetter, match=says):
        read(body, {})
