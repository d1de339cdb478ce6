"""The dead letters, given again to whom they were meant for, and then deleted (SQS, Lambda, Step Functions, DynamoDB Streams)."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from replay.failures import ReplayFailed, calling
from replay.letters import LostBatch, LostEvent, UnknownLetter, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef
    from mypy_boto3_stepfunctions import SFNClient

MESSAGES_A_CALL = 10
HIDDEN_SECONDS = 1800
"""How long a received message is not shown again: longer than giving ten of them again may take (a function's timeout is 150 s, once each).
What stays is shown again at the end of the run."""
SEARCH_SECONDS = 60.0
"""How long a batch is looked for in the stream, whose pages may be empty on the way ("GetRecords", DynamoDB Streams API Reference)."""
PAUSE_SECONDS = 0.3
"""After an empty page: a shard may be read five times a second."""
WAIT_SECONDS = 5
"""Long polling asks all of the queue's servers; a short one may find nothing in a queue that holds something (SQS Developer Guide)."""


@dataclass
class Done:
    """``given``: how many were given again, by target; ``left``: for each that stays in the queue, why."""

    given: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The queue of a stack and those who take what lies in it."""

    sqs: SQSClient
    functions: LambdaClient
    machines: SFNClient
    streams: Any  # boto3's client of dynamodbstreams, for which no stubs are installed
    queue: str

    def give_again(self, say: Callable[[str], None]) -> Done:
        """Give every message again that was there at the beginning. One that cannot be given stays, with the reason; it stops no other."""
        done, began, kept = Done(), 1000 * time.time(), []
        for message in self._messages():
            if int(message["Attributes"]["SentTimestamp"]) > began:  # perhaps one of ours that failed again
                kept.append(message)
                continue
            try:
                target = self._give(message)
            except (UnknownLetter, ReplayFailed) as error:
                done.left.append(f"message {message.get('MessageId')}: {error}")
                kept.append(message)
                continue
            with calling("sqs:DeleteMessage"):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            done.given[target] += 1
            say(f"  given again to {target}: {done.given[target]}")
        self._show_again(kept)
        return done

    def _show_again(self, messages: list[MessageTypeDef]) -> None:
        """Let the next run find what stays."""
        for message in messages:
            with calling("sqs:ChangeMessageVisibility"):
                self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)

    def _messages(self) -> Iterator[MessageTypeDef]:
        """Yield each message once, until the queue shows none any more."""
        seen: set[str] = set()
        while True:
            with calling("sqs:ReceiveMessage"):
                answer = self.sqs.receive_message(
                    QueueUrl=self.queue,
                    MaxNumberOfMessages=MESSAGES_A_CALL,
                    VisibilityTimeout=HIDDEN_SECONDS,
                    WaitTimeSeconds=WAIT_SECONDS,
                    MessageAttributeNames=["All"],
                    MessageSystemAttributeNames=["SentTimestamp"],
                )
            found = answer.get("Messages", [])
            if not found:
                return
            fresh = [each for each in found if each["MessageId"] not in seen]
            seen.update(each["MessageId"] for each in fresh)
            yield from fresh

    def _give(self, message: MessageTypeDef) -> str:
        """Give a message's content again; return the name of the one who got it."""
        attributes = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
        letter = read(message["Body"], attributes)
        if isinstance(letter, LostBatch):
            self._invoke_with_batch(letter)
        else:
            self._send(letter)
        return _name(letter.target)

    def _send(self, lost: LostEvent) -> None:
        """Give an event to its target. A function is waited for: what fails again stays, and its reason is told."""
        if ":lambda:" in lost.target:
            self._invoke(lost.target, lost.event)
        elif ":states:" in lost.target:
            with calling("states:StartExecution"):
                self.machines.start_execution(stateMachineArn=lost.target, input=json.dumps(lost.event))
        else:
            raise UnknownLetter(f"it was meant for {lost.target}, which is neither a function nor a state machine; delete it by hand")

    def _invoke_with_batch(self, batch: LostBatch) -> None:
        """Give the records of a stream to a function, and see that it takes them all."""
        found = list(self._records(batch))
        if not found or int(found[-1]["dynamodb"]["SequenceNumber"]) != int(batch.last):
            raise ReplayFailed(f"the stream does not show the batch's end within {SEARCH_SECONDS:g} s; replay once more")
        records = [_as_lambda_does(record, batch.stream) for record in found if record["eventName"] == "INSERT"]
        if not records:
            return
        content = self._invoke(batch.target, {"Records": records})
        if failures := (content or {}).get("batchItemFailures"):
            raise ReplayFailed(f"{_name(batch.target)} could not answer {len(failures)} of {len(records)} records; replay once more")

    def _invoke(self, function: str, event: object) -> Any:  # noqa: ANN401  # JSON
        with calling("lambda:InvokeFunction"):
            answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        content = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise ReplayFailed(f"{_name(function)} failed again: {_said(content)}; mend it, then replay once more")
        return content

    def _records(self, batch: LostBatch) -> Iterator[Mapping[str, Any]]:
        where = {"StreamArn": batch.stream, "ShardId": batch.shard}
        with calling("dynamodb:GetShardIterator"):
            answer = self.streams.get_shard_iterator(**where, ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=batch.first)
        iterator, deadline = answer.get("ShardIterator"), time.monotonic() + SEARCH_SECONDS
        while iterator and time.monotonic() < deadline:
            with calling("dynamodb:GetRecords"):
                page = self.streams.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                number = int(record["dynamodb"]["SequenceNumber"])
                if number > int(batch.last):
                    return
                yield record
                if number == int(batch.last):
                    return
            iterator = page.get("NextShardIterator")
            if not page["Records"]:
                time.sleep(PAUSE_SECONDS)


def _as_lambda_does(record: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return a record of GetRecords as an event source mapping hands it over: with the stream's ARN, the time in epoch seconds."""
    change = dict(record["dynamodb"])
    if "ApproximateCreationDateTime" in change:
        change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
    return {**{name: value for name, value in record.items() if name != "userIdentity"}, "dynamodb": change, "eventSourceARN": stream}


def _said(content: Any) -> str:  # noqa: ANN401  # JSON
    return str(content.get("errorMessage", "no reason is given")) if isinstance(content, dict) else "no reason is given"


def _name(arn: str) -> str:
    """Return the name of a function or a state machine."""
    return arn.split(":")[6]
