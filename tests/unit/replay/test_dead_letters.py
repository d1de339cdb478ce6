"""Giving the dead letters again. botocore's stubber checks requests and answers against its own models."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from replay import dead_letters
from replay.dead_letters import DeadLetters
from replay.failures import ReplayFailed
from tests.examples import interruption_event
from tests.unit.replay.test_letters import FUNCTION, STREAM, UNDELIVERED, asynchronous, batch

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/letters"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:EndJob"
LONG_AGO, JUST_NOW = "1000", "99999999999999"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@cache
def made(service: Any) -> Any:
    """A client for all tests: to make one reads the service's whole model."""
    return boto3.client(service, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")


class Stubs:
    """AWS's answers, in the order in which they are asked for."""

    def __init__(self, stack: ExitStack) -> None:
        names = ("sqs", "lambda", "stepfunctions", "dynamodbstreams")
        self.of = {name: stack.enter_context(Stubber(made(name))) for name in names}
        self.letters = DeadLetters(made("sqs"), made("lambda"), made("stepfunctions"), made("dynamodbstreams"), QUEUE)

    def finds(self, *messages: dict[str, Any]) -> None:
        """Let the queue show messages."""
        self.of["sqs"].add_response("receive_message", {"Messages": list(messages)} if messages else {})

    def deletes(self, receipt: str) -> None:
        """Expect a message to be deleted."""
        self.of["sqs"].add_response("delete_message", {}, {"QueueUrl": QUEUE, "ReceiptHandle": receipt})

    def keeps(self, receipt: str) -> None:
        """Expect a message to be shown again to the next run."""
        wanted = {"QueueUrl": QUEUE, "ReceiptHandle": receipt, "VisibilityTimeout": 0}
        self.of["sqs"].add_response("change_message_visibility", {}, wanted)

    def answers_event(self, event: Any) -> None:
        """Expect an event to be given to the function, which says nothing."""
        self.answers_batch(None, json.dumps(event).encode())

    def answers_batch(self, answer: Any, wanted: Any = ANY, **more: Any) -> None:
        """Expect records to be given to the function."""
        content = json.dumps(answer).encode()
        body = StreamingBody(io.BytesIO(content), len(content))
        self.of["lambda"].add_response("invoke", {"StatusCode": 200, "Payload": body, **more}, {"FunctionName": FUNCTION, "Payload": wanted})

    def streams(self, *pages: list[dict[str, Any]]) -> None:
        """Let the stream hold records."""
        self.of["dynamodbstreams"].add_response("get_shard_iterator", {"ShardIterator": "0"})
        for number, page in enumerate(pages):
            following = {"Records": page, "NextShardIterator": str(number + 1)}
            self.of["dynamodbstreams"].add_response("get_records", following, {"ShardIterator": str(number)})


@contextmanager
def stubbed() -> Iterator[Stubs]:
    """Stubs that must all be asked for."""
    with ExitStack() as stack:
        stubs = Stubs(stack)
        yield stubs
        for each in stubs.of.values():
            each.assert_no_pending_responses()


def message(body: Any, name: str = "m1", sent: str = LONG_AGO, **attributes: str) -> dict[str, Any]:
    """A message of the queue."""
    named = {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()}
    return {
        "MessageId": name,
        "ReceiptHandle": f"receipt-{name}",
        "Body": body if isinstance(body, str) else json.dumps(body),
        "Attributes": {"SentTimestamp": sent},
        "MessageAttributes": named,
    }


def record(number: int, name: str = "INSERT") -> dict[str, Any]:
    """A record of GetRecords."""
    change = {"SequenceNumber": sequence(number), "ApproximateCreationDateTime": NOON, "Keys": {"notice_id": {"S": "i#rebalance"}}}
    return {"eventID": str(number), "eventName": name, "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": change}


def sequence(number: int) -> str:
    """A sequence number, which has 21 digits at least."""
    return f"4000000000000000000{number}"


def quiet(_: str) -> None:
    """Say nothing."""


def test_events_are_given_to_their_functions_and_then_deleted() -> None:
    """An undelivered event and one that failed: each goes to its function, and leaves the queue only then."""
    with stubbed() as aws:
        aws.finds(message(interruption_event(), "m1", **UNDELIVERED), message(asynchronous({"detail": 1}), "m2"))
        aws.answers_event(interruption_event())
        aws.deletes("receipt-m1")
        aws.answers_event({"detail": 1})
        aws.deletes("receipt-m2")
        aws.finds()
        done = aws.letters.give_again(quiet)
    assert (done.given, done.left) == ({"record": 2}, [])


def test_an_event_that_fails_again_stays() -> None:
    """A function that is still broken keeps its events in the queue, and says why; the others are given again."""
    with stubbed() as aws:
        aws.finds(message(interruption_event(), "m1", **UNDELIVERED), message(interruption_event(), "m2", **UNDELIVERED))
        aws.answers_batch({"errorMessage": "Unable to import module 'app'"}, FunctionError="Unhandled")
        aws.answers_event(interruption_event())
        aws.deletes("receipt-m2")
        aws.finds()
        aws.keeps("receipt-m1")
        done = aws.letters.give_again(quiet)
    assert done.given == {"record": 1}
    assert done.left == ["message m1: record failed again: Unable to import module 'app'; mend it, then replay once more"]


def test_the_end_of_a_stopped_job_is_given_to_its_state_machine() -> None:
    """EventBridge's rule for stopped executions has a state machine as its target."""
    with stubbed() as aws:
        aws.finds(message({"detail": {}}, **{**UNDELIVERED, "TARGET_ARN": MACHINE}))
        answer = {"executionArn": "arn:aws:states:us-east-1:123456789012:execution:EndJob:e", "startDate": NOON}
        aws.of["stepfunctions"].add_response("start_execution", answer, {"stateMachineArn": MACHINE, "input": '{"detail": {}}'})
        aws.deletes("receipt-m1")
        aws.finds()
        assert aws.letters.give_again(quiet).given == {"EndJob": 1}


def test_a_batch_is_read_from_the_stream() -> None:
    """The new items from the batch's first to its last, over pages, in the form in which Lambda gives them."""
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(300))))
        aws.streams([record(100), record(150, "MODIFY")], [record(300), record(400)])
        wanted = [{**record(number), "eventSourceARN": STREAM} for number in (100, 300)]
        for each in wanted:
            each["dynamodb"]["ApproximateCreationDateTime"] = NOON.timestamp()
        aws.answers_batch({"batchItemFailures": []}, json.dumps({"Records": wanted}).encode())
        aws.deletes("receipt-m1")
        aws.finds()
        done = aws.letters.give_again(quiet)
    assert (done.given, done.left) == ({"record": 1}, [])


@pytest.mark.parametrize(
    ("answer", "more", "says"),
    [
        ({"errorMessage": "there is no such table"}, {"FunctionError": "Unhandled"}, "record failed again: there is no such table"),
        ({"batchItemFailures": [{"itemIdentifier": "100"}]}, {}, "record could not answer 1 of 1 records"),
    ],
)
def test_a_batch_that_fails_again_stays(answer: Any, more: dict[str, str], says: str) -> None:
    """What a function does not take stays in the queue, with the reason, and the message behind it is given all the same."""
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(100)), "m1"), message(asynchronous({}), "m2"))
        aws.streams([record(100)])
        aws.answers_batch(answer, **more)
        aws.answers_event({})
        aws.deletes("receipt-m2")
        aws.finds()
        aws.keeps("receipt-m1")
        done = aws.letters.give_again(quiet)
    assert done.given == {"record": 1}
    assert says in done.left[0]


def test_records_that_the_stream_has_no_more() -> None:
    """After 24 hours the stream has lost the batch: the message stays, and says so in AWS's words."""
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(300))))
        aws.of["dynamodbstreams"].add_client_error("get_shard_iterator", "TrimmedDataAccessException", "past the trim horizon")
        aws.finds()
        aws.keeps("receipt-m1")
        (left,) = aws.letters.give_again(quiet).left
    assert "TrimmedDataAccessException" in left


def test_empty_pages_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page is no end: the stream may need several calls to come to the batch."""
    monkeypatch.setattr(dead_letters, "PAUSE_SECONDS", 0)
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(100))))
        aws.streams([], [], [record(100)])
        aws.answers_batch({"batchItemFailures": []})
        aws.deletes("receipt-m1")
        aws.finds()
        assert aws.letters.give_again(quiet).left == []


def test_a_batch_that_holds_nothing_new() -> None:
    """Of a batch without a new item nothing is to be done."""
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(100))))
        aws.streams([record(100, "REMOVE")])
        aws.deletes("receipt-m1")
        aws.finds()
        assert aws.letters.give_again(quiet).left == []


def test_a_batch_that_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose end the stream does not show in time is not taken for given: its message stays."""
    monkeypatch.setattr(dead_letters, "SEARCH_SECONDS", 0)
    with stubbed() as aws:
        aws.finds(message(batch(sequence(100), sequence(300))))
        aws.streams()
        aws.finds()
        aws.keeps("receipt-m1")
        (left,) = aws.letters.give_again(quiet).left
    assert "does not show the batch's end" in left


def test_what_cannot_be_read_or_given_stays() -> None:
    """Strange messages, and those for a topic, stay in the queue and hold nobody up."""
    topic = {**UNDELIVERED, "TARGET_ARN": "arn:aws:sns:us-east-1:123456789012:t"}
    with stubbed() as aws:
        aws.finds(message("{", "m1"), message({}, "m2", **topic), message(asynchronous({}), "m3"))
        aws.answers_event({})
        aws.deletes("receipt-m3")
        aws.finds()
        aws.keeps("receipt-m1")
        aws.keeps("receipt-m2")
        done = aws.letters.give_again(quiet)
    assert done.given == {"record": 1}
    assert [left.split(":")[0] for left in done.left] == ["message m1", "message m2"]


def test_what_comes_back_does_not_keep_it_going() -> None:
    """A message that arrives during the run, such as one that failed again, is left to the next; older ones behind it are not."""
    with stubbed() as aws:
        aws.finds(message(asynchronous({}), "m1", JUST_NOW))
        aws.finds(message(asynchronous({}), "m1", JUST_NOW))
        aws.finds(message(asynchronous({}), "m2"))
        aws.answers_event({})
        aws.deletes("receipt-m2")
        aws.finds()
        aws.keeps("receipt-m1")
        assert aws.letters.give_again(quiet).given == {"record": 1}


def test_a_queue_that_cannot_be_read() -> None:
    """One sentence, with AWS's code."""
    with stubbed() as aws:
        aws.of["sqs"].add_client_error("receive_message", "AccessDenied", "no")
        with pytest.raises(ReplayFailed, match=r"sqs:ReceiveMessage \(AccessDenied\)"):
            aws.letters.give_again(quiet)
