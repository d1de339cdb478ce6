"""The notices table: what AWS said, what was found, what was done, how it ended, on one item (DynamoDB API).

Partition key ``account_region`` (``123456789012#us-east-1``), sort key ``notice_id`` (``<instance>#<kind>#<time>``). Where the stack
has more than one of ``Shards``, each instance's share of the key is its own: ``123456789012#us-east-1#3``.
Every attribute is a text but ``expires_at``, epoch seconds, by which the table's TTL removes the item.
Answers are written 25 to a call with BatchExecuteStatement: an item that cannot be written does not stop the others, and
only the attributes named change, so that an outcome written meanwhile stays.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from botocore.exceptions import ClientError

from spot_responder.adapters.clients import THROTTLED, calling, error_code
from spot_responder.domain.errors import CallFailed, ConfigurationError, InvalidInput, Unavailable
from spot_responder.domain.events import ACCOUNT, EVENT_ID, INSTANCE_ID, REGION, parse_time
from spot_responder.domain.jobs import Attempt
from spot_responder.domain.notices import Action, Notice, NoticeKey, NoticeKind, timestamp
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Closing, NotWritten, Record

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import BatchStatementRequestTypeDef, BatchStatementResponseTypeDef, KeysAndAttributesTypeDef

    from spot_responder.domain.events import InstanceEnded
    from spot_responder.use_cases.ports import Answer, Written

KEYS_PER_READ = 100
STATEMENTS_PER_CALL = 25
LATEST_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""Times are checked against the clock before they are recorded; in an item, they only have to leave room for a deadline."""
REFUSED_CONDITION = ("ConditionalCheckFailed", "ConditionalCheckFailedException")
BECOMES = ("account_region", "notice_id", "command_id", "outcome", "reason", "closed_at", "closed_by", "gone_by", "job_id", "attempt")
"""An item's keys, and all that is written on it after its notice."""

type Item = Mapping[str, Mapping[str, Any]]
"""DynamoDB's JSON: ``{"kind": {"S": "rebalance"}}``."""
type KeyTexts = tuple[str | None, str | None]
"""An item's keys."""


@dataclass(frozen=True, slots=True)
class DynamoNoticesTable:
    """``NoticesTable`` on DynamoDB; items are removed ``keep`` after their notice. ``shards`` divide the key of an account and Region."""

    dynamodb: DynamoDBClient
    name: str
    keep: timedelta
    shards: int = 1
    batch_size: int = STATEMENTS_PER_CALL

    def add(self, notice: Notice, now: datetime, by: str) -> bool:
        """Put the item unless it is there. A lost answer to our own put is not taken for a second copy: ``by`` tells."""
        item = {**to_item(notice), **self._key(notice.key), **_texts(recorded_by=by, recorded_at=timestamp(now))}
        item["expires_at"] = {"N": str(int((notice.time + self.keep).timestamp()))}
        put = {"Item": item, "ConditionExpression": "attribute_not_exists(notice_id)"}
        return self._if_first("PutItem", put, "recorded_by", by)

    def read(self, notices: Collection[Notice]) -> dict[NoticeKey, Record]:
        """Return the records that exist. Raises ``Unavailable`` where DynamoDB left some unread.

        The notices are at hand: to read them again, too, would take twice the processor's time and five times the bytes.
        """
        found: dict[NoticeKey, Record] = {}
        for some in batched(notices, KEYS_PER_READ, strict=False):
            keys = [self._key(notice.key) for notice in some]
            wanted: KeysAndAttributesTypeDef = {
                "Keys": keys,
                "ConsistentRead": True,
                "ProjectionExpression": ", ".join(f"#{name}" for name in BECOMES),
                "ExpressionAttributeNames": {f"#{name}": name for name in BECOMES},
            }
            with self._calling("BatchGetItem"):
                answer = self.dynamodb.batch_get_item(RequestItems={self.name: wanted})
            if answer.get("UnprocessedKeys"):
                raise Unavailable("dynamodb:BatchGetItem: some keys were left unprocessed")
            notice_of = {_key_texts(key): notice for key, notice in zip(keys, some, strict=True)}
            found |= {record.notice.key: record for record in _records(answer["Responses"].get(self.name, []), notice_of)}
        return found

    def of_instance(self, account_region: str, instance_id: str) -> list[Record]:
        """Return the records of one instance; their notice ids begin with its id."""
        values = _texts(account_region=partition(account_region, instance_id, self.shards), instance=f"{instance_id}#")
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression="account_region = :account_region AND begins_with(notice_id, :instance)",
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ConsistentRead=True,
        )
        with self._calling("Query"):
            return [record for page in pages for record in _records(page["Items"], {})]

    def answer(self, answers: Sequence[Answer]) -> dict[NoticeKey, Written]:
        """Write as many answers as one call takes; see ``NoticesTable.answer``.

        Raises ``ConfigurationError`` where there is no table at all.
        """
        try:
            with self._calling("BatchExecuteStatement"):
                result = self.dynamodb.batch_execute_statement(Statements=[self._statement(answer) for answer in answers])
        except CallFailed as error:
            failed = NotWritten(str(error), for_good=not isinstance(error, Unavailable))
            return dict.fromkeys((answer.notice.key for answer in answers), failed)
        return {answer.notice.key: _written(answer, response) for answer, response in zip(answers, result["Responses"], strict=True)}

    def close(self, key: NoticeKey, closing: Closing) -> bool:
        """Write the outcome unless there is one; that a checkpoint was saved also stands against an earlier guess that it was not."""
        guesses = _texts(missed=Outcome.MISSED, failed=Outcome.FAILED) if closing.outcome is Outcome.SAVED else {}
        is_open = "(attribute_not_exists(outcome) OR outcome IN (:missed, :failed))" if guesses else "attribute_not_exists(outcome)"
        values = _texts(outcome=closing.outcome, reason=closing.reason, closed_at=timestamp(closing.at), closed_by=closing.by)
        update = {**_update(self._key(key), values), "ConditionExpression": f"attribute_exists(notice_id) AND {is_open}"}
        update["ExpressionAttributeValues"] |= {f":{name}": value for name, value in guesses.items()}
        return self._if_first("UpdateItem", update, "closed_by", closing.by)

    def mark_gone(self, key: NoticeKey, ended: InstanceEnded, by: str) -> bool:
        """Write when and how the instance ended, unless that is known."""
        values = _texts(instance_state=ended.state, gone_at=timestamp(ended.time), gone_by=by)
        update = {**_update(self._key(key), values), "ConditionExpression": "attribute_exists(notice_id) AND attribute_not_exists(gone_at)"}
        return self._if_first("UpdateItem", update, "gone_by", by)

    def _if_first(self, operation: Literal["PutItem", "UpdateItem"], request: Mapping[str, Any], by_attribute: str, by: str) -> bool:
        """Make a conditional write; True also where the item shows that it was made by this very invocation before."""
        write = self.dynamodb.put_item if operation == "PutItem" else self.dynamodb.update_item
        with self._calling(operation):
            try:
                write(TableName=self.name, ReturnValuesOnConditionCheckFailure="ALL_OLD", **request)
            except ClientError as error:
                if error_code(error) not in REFUSED_CONDITION:
                    raise
                there: Item = error.response.get("Item", {})  # type: ignore[assignment]  # botocore's type leaves out the modelled error's members
                return _text(there, by_attribute) == by
        return True

    def _statement(self, answer: Answer) -> BatchStatementRequestTypeDef:
        values: dict[str, str] = {}
        if answer.instance is not None:
            values |= {"instance_type": answer.instance.instance_type, "zone": answer.instance.zone}
        if answer.command_id is not None:
            values |= {"command_id": answer.command_id, "asked_at": timestamp(answer.at)}
        if answer.outcome is not None:
            values |= {"outcome": answer.outcome, "reason": answer.reason, "closed_at": timestamp(answer.at)}
        if answer.replaces is not None:
            values |= {"job_id": answer.replaces.job_id, "attempt": str(answer.replaces.number)}
        # In quotation marks, because some names (zone) are reserved words.
        sets = " ".join(f'SET "{name}"=?' for name in values)
        # Who could not read the table may not know that the instance was asked; how that ends, its result or its end will say.
        open_only = 'AND "outcome" IS MISSING AND "command_id" IS MISSING' if answer.outcome is not None else ""
        statement = f'UPDATE "{self.name}" {sets} WHERE "account_region"=? AND "notice_id"=? {open_only}'
        return {
            "Statement": statement.strip(),
            "Parameters": [*_texts(**values).values(), *self._key(answer.notice.key).values()],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _key(self, key: NoticeKey) -> dict[str, dict[str, str]]:
        instance_id, _, _ = key.notice_id.partition("#")
        return _texts(account_region=partition(key.account_region, instance_id, self.shards), notice_id=key.notice_id)

    @contextmanager
    def _calling(self, operation: str) -> Iterator[None]:
        """``calling``, with the one error that means a wrong setting."""
        with calling(f"dynamodb:{operation}"):
            try:
                yield
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                sentence = f"NOTICES_TABLE is {self.name}: there is no such table in this account and Region, deploy the stack again"
                raise ConfigurationError(sentence) from error


def partition(account_region: str, instance_id: str, shards: int) -> str:
    """Return the partition key of an instance's notices: that of all, or its share of it, always the same."""
    return account_region if shards == 1 else f"{account_region}#{crc32(instance_id.encode()) % shards}"


def to_item(notice: Notice) -> dict[str, dict[str, str]]:
    """Return a notice in DynamoDB's JSON."""
    return _texts(
        account_region=notice.key.account_region,
        notice_id=notice.key.notice_id,
        kind=notice.kind,
        action=notice.action,
        instance_id=notice.instance_id,
        account=notice.account,
        region=notice.region,
        event_time=timestamp(notice.time),
        event_id=notice.event_id,
        deadline=timestamp(notice.deadline),
    )


def from_item(item: Item, now: datetime = LATEST_TIME) -> Notice:
    """Return the notice of an item in DynamoDB's JSON, checked as an event is: one bad id would fail a call for all. Raises ``InvalidInput``."""
    try:
        return Notice(
            kind=NoticeKind(_required(item, "kind")),
            action=Action(_required(item, "action")),
            instance_id=_matching(item, "instance_id", INSTANCE_ID),
            account=_matching(item, "account", ACCOUNT),
            region=_matching(item, "region", REGION),
            time=parse_time(_required(item, "event_time"), "dynamodb.NewImage.event_time", now),
            event_id=_matching(item, "event_id", EVENT_ID),
        )
    except ValueError as error:
        raise InvalidInput("dynamodb.NewImage", "an item of the notices table", str(error)) from error


def from_stream(event: object, now: datetime) -> Iterator[tuple[str, Notice | InvalidInput]]:
    """Yield sequence number and notice of each record of a stream batch; a record that is not ours comes as its error."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        yield "", InvalidInput("Records", "a list of DynamoDB stream records", records)
        return
    for record in records:
        change = record.get("dynamodb") if isinstance(record, dict) else None
        change = change if isinstance(change, dict) else {}
        yield str(change.get("SequenceNumber", "")), _from_image(change.get("NewImage"), now)


def _from_image(image: object, now: datetime) -> Notice | InvalidInput:
    if not isinstance(image, dict):
        return InvalidInput("dynamodb.NewImage", "an item of the notices table", image)
    try:
        return from_item(image, now)
    except InvalidInput as error:
        return error


def _key_texts(item: Item) -> KeyTexts:
    return _text(item, "account_region"), _text(item, "notice_id")


def _records(items: Iterable[Item], notice_of: Mapping[KeyTexts, Notice]) -> Iterator[Record]:
    """Yield the records of the items that are notices, known or in the item itself; of the others the stream has told, and they hold up nothing."""
    for item in items:
        with suppress(InvalidInput, ValueError):
            yield _record(item, notice_of.get(_key_texts(item)) or from_item(item))


def _record(item: Item, notice: Notice) -> Record:
    closing = _closing(item, notice)
    job_id, number = _text(item, "job_id"), _text(item, "attempt")
    replaces = Attempt(job_id, int(number), notice.instance_id) if job_id and number else None
    return Record(notice, _text(item, "command_id"), closing.outcome if closing else None, _text(item, "gone_by"), replaces, closing)


def _closing(item: Item, notice: Notice) -> Closing | None:
    outcome, closed_at = _text(item, "outcome"), _text(item, "closed_at")
    if not outcome:
        return None
    at = parse_time(closed_at, "closed_at", LATEST_TIME) if closed_at else notice.time
    return Closing(Outcome(outcome), _text(item, "reason") or "", at, _text(item, "closed_by") or "")


def _text(item: Item, name: str) -> str | None:
    value = item.get(name)
    text = value.get("S") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def _required(item: Item, name: str) -> str:
    text = _text(item, name)
    if text is None:
        raise InvalidInput(f"dynamodb.NewImage.{name}", "a text", item.get(name))
    return text


def _matching(item: Item, name: str, pattern: re.Pattern[str]) -> str:
    text = _required(item, name)
    if not pattern.fullmatch(text):
        raise InvalidInput(f"dynamodb.NewImage.{name}", "what an event has there", text)
    return text


def _texts(**values: str) -> dict[str, dict[str, str]]:
    return {name: {"S": str(value)} for name, value in values.items()}


def _update(key: Mapping[str, Any], values: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the parts of an UpdateItem that set these attributes; names go by placeholders, some are reserved words."""
    return {
        "Key": key,
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
    }


def _written(answer: Answer, response: BatchStatementResponseTypeDef) -> Written:
    """Return what became of one statement of a batch. Where an earlier one was carried out and only its answer lost, the item shows it."""
    error = response.get("Error")
    if error is None:
        return True
    code = error.get("Code", "Unknown")
    if code in REFUSED_CONDITION:
        return _answered_before(error.get("Item", {}), answer.notice)
    return NotWritten(f"dynamodb:BatchExecuteStatement: {code}: {error.get('Message', '')}", for_good=code not in THROTTLED)


def _answered_before(item: Item, notice: Notice) -> Closing | Literal[False]:
    """Return how an answer closed this item; False where another function did, or nobody can tell."""
    with suppress(InvalidInput, ValueError):
        closing = _closing(item, notice)
        if closing is not None and not closing.by:
            return closing
    return False
