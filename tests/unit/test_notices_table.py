"""The notices table as DynamoDB is asked for it. What DynamoDB then does, the contract tests show."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spot_responder.adapters.clients import client
from spot_responder.adapters.notices_table import DynamoNoticesTable, from_item, from_stream, to_item
from spot_responder.domain.errors import ConfigurationError, InvalidInput, Refused, Unavailable
from spot_responder.domain.events import InstanceEnded
from spot_responder.domain.notices import Action, Notice
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Answer, Closing, NotWritten, Record
from tests.examples import ACCOUNT, COMMAND_ID, NOW, REGION, attempt, instance, instance_id, notice, rebalance, seconds
from tests.fakes.aws import json_error, ok
from tests.strategies import JSON, MOMENTS, WORDS

if TYPE_CHECKING:
    from spot_responder.use_cases.ports import Written
    from tests.fakes.aws import AwsOverHttp, Reply

PUT = "dynamodb:PutItem"
UPDATE = "dynamodb:UpdateItem"
READ = "dynamodb:BatchGetItem"
ANSWER = "dynamodb:BatchExecuteStatement"
QUERY = "dynamodb:Query"


@pytest.fixture(scope="module")
def table(installed: AwsOverHttp) -> DynamoNoticesTable:
    """Return the table of that AWS."""
    assert installed is not None
    return DynamoNoticesTable(client("dynamodb"), "notices", timedelta(days=30))


def item(subject: Notice, **more: str) -> dict[str, Any]:
    """Return a notice's item in DynamoDB's JSON."""
    return to_item(subject) | {name: {"S": value} for name, value in more.items()}


def conditional(there: dict[str, Any]) -> Reply:
    """Return DynamoDB's answer to a write whose condition does not hold."""
    return json_error("ConditionalCheckFailedException", "The conditional request failed", Item=there)


@pytest.mark.parametrize("subject", [notice(), rebalance(2), notice(3, action=Action.HIBERNATE, age=5000)])
def test_an_item_is_its_notice(subject: Notice) -> None:
    """What is written of a notice is the notice when it is read."""
    assert from_item(item(subject)) == subject


def test_a_new_item(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """A notice is put with all that AWS said, who recorded it when, and the time of its removal, unless it is there."""
    aws.always(PUT, ok())
    assert table.add(notice(), NOW, "invocation-1")
    (call,) = aws.calls
    assert call.parameters["TableName"] == "notices"
    assert call.parameters["ConditionExpression"] == "attribute_not_exists(notice_id)"
    assert call.parameters["Item"] == item(notice(), recorded_by="invocation-1", recorded_at="2026-11-22T10:00:03Z") | {
        "expires_at": {"N": "1797933600"}
    }
    assert call.parameters["Item"]["deadline"] == {"S": "2026-11-22T10:02:00Z"}


@pytest.mark.parametrize(("by", "is_first"), [("invocation-1", True), ("invocation-2", False)])
def test_an_item_that_was_there(table: DynamoNoticesTable, aws: AwsOverHttp, by: str, *, is_first: bool) -> None:
    """An item that is there already was put first by whoever it names: by us too, if only the answer was lost."""
    aws.always(PUT, conditional(item(notice(), recorded_by="invocation-1")))
    assert table.add(notice(), NOW, by) is is_first
    assert aws.calls[0].parameters["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_records_are_read_a_hundred_at_a_time(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """1,000 keys are ten strongly consistent reads; what does not exist is left out."""
    aws.once(READ, ok(Responses={"notices": [item(notice(1), command_id="c", outcome="saved", gone_by="invocation-9"), item(notice(2))]}))
    aws.always(READ, ok(Responses={"notices": []}))
    found = table.read([notice(number) for number in range(1000)])
    assert found == {notice(1).key: Record(notice(1), "c", Outcome.SAVED, "invocation-9"), notice(2).key: Record(notice(2))}
    assert [len(call.parameters["RequestItems"]["notices"]["Keys"]) for call in aws.calls] == [100] * 10
    assert all(call.parameters["RequestItems"]["notices"]["ConsistentRead"] for call in aws.calls)


def test_what_is_known_is_not_read_again(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """Of an item, the keys are read and what came after the notice: its own attributes would cost more time than all the rest."""
    aws.always(READ, ok(Responses={"notices": []}))
    table.read([notice()])
    wanted = aws.calls[0].parameters["RequestItems"]["notices"]
    assert set(wanted["ProjectionExpression"].split(", ")) == set(wanted["ExpressionAttributeNames"])
    read = set(wanted["ExpressionAttributeNames"].values())
    assert {"account_region", "notice_id", "command_id", "outcome"} <= read
    assert read & item(notice()).keys() == {"account_region", "notice_id"}


def test_what_was_left_unread_is_unavailable(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """Unprocessed keys are no answer: the read is to be made again."""
    keys = {"notices": {"Keys": [{"account_region": {"S": "a"}, "notice_id": {"S": "b"}}]}}
    aws.always(READ, ok(Responses={}, UnprocessedKeys=keys))
    with pytest.raises(Unavailable, match="some keys were left unprocessed"):
        table.read([notice()])


def test_records_of_an_instance(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """All pages of the items whose key begins with the instance's id are read, strongly consistent."""
    aws.once(
        QUERY, ok(Items=[item(notice())], LastEvaluatedKey={"account_region": {"S": "a"}, "notice_id": {"S": "b"}}), ok(Items=[item(rebalance())])
    )
    assert [record.notice for record in table.of_instance(f"{ACCOUNT}#{REGION}", instance_id())] == [notice(), rebalance()]
    first, second = aws.calls
    assert first.parameters["ExpressionAttributeValues"][":instance"] == {"S": f"{instance_id()}#"}
    assert first.parameters["ConsistentRead"] is True
    assert second.parameters["ExclusiveStartKey"]


@pytest.mark.parametrize("damage", [{"outcome": "unheard of"}, {"attempt": "first", "job_id": "job-1"}, {"closed_at": "soon", "outcome": "saved"}])
def test_a_damaged_item_hides_no_other(table: DynamoNoticesTable, aws: AwsOverHttp, damage: dict[str, str]) -> None:
    """An item that is no notice, by somebody else's hand or of another version, is left out; those beside it are read."""
    items = [item(notice(), **damage), item(rebalance())]
    aws.always(READ, ok(Responses={"notices": items}))
    assert list(table.read([notice(), rebalance()])) == [rebalance().key]


@pytest.mark.parametrize("damage", [{"outcome": "unheard of"}, {"kind": "else"}, {"event_time": "soon"}, {"account": ""}])
def test_a_damaged_item_of_an_instance(table: DynamoNoticesTable, aws: AwsOverHttp, damage: dict[str, str]) -> None:
    """So where the notice itself is read from the item."""
    aws.always(QUERY, ok(Items=[item(notice(), **damage), item(rebalance())]))
    assert [record.notice for record in table.of_instance(f"{ACCOUNT}#{REGION}", instance_id())] == [rebalance()]


def test_a_shard_is_an_instances_own(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """With several shards, every call names an instance's notices by the same share of the key, another for another instance."""
    sharded = replace(table, shards=4)
    aws.always(PUT, ok())
    aws.always(UPDATE, ok())
    aws.always(READ, ok(Responses={"notices": []}))
    aws.always(QUERY, ok(Items=[]))
    aws.always(ANSWER, ok(Responses=[{}]))
    for number in range(1, 9):
        subject = notice(number)
        sharded.add(subject, NOW, "invocation-1")
        sharded.read([subject])
        sharded.of_instance(subject.key.account_region, subject.instance_id)
        sharded.answer([Answer(subject, NOW, command_id=COMMAND_ID)])
        sharded.close(subject.key, Closing(Outcome.SAVED, "saved", NOW, "invocation-1"))
        sharded.mark_gone(subject.key, InstanceEnded(subject.instance_id, "terminated", ACCOUNT, REGION, NOW), "invocation-1")
    told = [re.findall(rf"{ACCOUNT}#{REGION}[#0-9]*", str(call.parameters)) for call in aws.calls]
    shares = [{keys for call in told[first : first + 6] for keys in call} for first in range(0, len(told), 6)]
    assert all(len(keys) == 1 for keys in shares), shares
    assert {f"{ACCOUNT}#{REGION}#{number}" for number in range(4)} == set.union(*shares)


def test_answers_are_written_in_one_call(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """25 answers are one call, each statement of its own item."""
    aws.always(ANSWER, lambda call: ok(Responses=[{} for _ in call.parameters["Statements"]]))
    answers = [Answer(notice(number), NOW, command_id=COMMAND_ID) for number in range(table.batch_size)]
    assert table.answer(answers) == {answer.notice.key: True for answer in answers}
    (call,) = aws.calls
    assert len({statement["Parameters"][-1]["S"] for statement in call.parameters["Statements"]}) == 25


def test_the_statement_of_a_command(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """A command is written on the item whatever became of it meanwhile; values go by parameters, never into the text."""
    aws.always(ANSWER, ok(Responses=[{}]))
    table.answer([Answer(notice(), NOW, instance(), command_id=COMMAND_ID)])
    (statement,) = aws.calls[0].parameters["Statements"]
    assert (
        statement["Statement"]
        == 'UPDATE "notices" SET "instance_type"=? SET "zone"=? SET "command_id"=? SET "asked_at"=? WHERE "account_region"=? AND "notice_id"=?'
    )
    values = [value["S"] for value in statement["Parameters"]]
    assert values == ["m5.large", "us-east-1a", COMMAND_ID, "2026-11-22T10:00:03Z", notice().key.account_region, notice().key.notice_id]


def test_the_statement_of_an_outcome(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """An outcome is written only where there is none yet, and no command."""
    aws.always(ANSWER, ok(Responses=[{}]))
    table.answer([Answer(notice(), NOW, outcome=Outcome.VANISHED, reason="it's gone; DROP TABLE")])
    (statement,) = aws.calls[0].parameters["Statements"]
    sets, _, where = statement["Statement"].partition(" WHERE ")
    assert sets == 'UPDATE "notices" SET "outcome"=? SET "reason"=? SET "closed_at"=?'
    assert where == '"account_region"=? AND "notice_id"=? AND "outcome" IS MISSING AND "command_id" IS MISSING'
    assert statement["Parameters"][1] == {"S": "it's gone; DROP TABLE"}


def test_the_attempt_to_be_replaced_is_on_the_item(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """An answer that concerns a job names job and attempt, and a record has them back: whether the job was told, the next delivery makes sure."""
    aws.always(ANSWER, ok(Responses=[{}]))
    table.answer([Answer(notice(), NOW, command_id="c", replaces=attempt(3))])
    (statement,) = aws.calls[0].parameters["Statements"]
    assert 'SET "job_id"=? SET "attempt"=?' in statement["Statement"]
    assert [value["S"] for value in statement["Parameters"]][2:4] == ["job-1", "3"]
    aws.always(READ, ok(Responses={"notices": [item(notice(), command_id="c", job_id="job-1", attempt="3")]}))
    assert table.read([notice()])[notice().key].replaces == attempt(3)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({}, Closing(Outcome.VANISHED, "gone", NOW, "")),
        ({"outcome": "not opted in", "reason": "no tag"}, Closing(Outcome.NOT_OPTED_IN, "no tag", NOW, "")),
        ({"closed_at": "2026-11-22T10:00:02Z"}, Closing(Outcome.VANISHED, "gone", NOW - seconds(1), "")),
        ({"closed_by": "an invocation of record_instance_state"}, False),
        ({"outcome": "a word of somebody's own"}, False),
        ({"closed_at": "some day"}, False),
        ({"outcome": ""}, False),
    ],
)
def test_a_lost_answer_to_our_own_closing(table: DynamoNoticesTable, aws: AwsOverHttp, there: dict[str, str], found: Written) -> None:
    """If the connection broke after the write, the next try meets our own outcome, whichever invocation's: the item shows it, so it can be told."""
    shown = {"outcome": "vanished", "reason": "gone", "closed_at": "2026-11-22T10:00:03Z"} | there
    error = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": item(notice(), **shown)}
    aws.always(ANSWER, ok(Responses=[{"Error": error}]))
    assert table.answer([Answer(notice(), NOW, outcome=Outcome.VANISHED, reason="gone")]) == {notice().key: found}
    assert aws.calls[0].parameters["Statements"][0]["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_each_answer_has_its_own_result(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """In one call one answer is written, one comes too late, one meets a busy item, one is never taken: each has its own result."""
    late = {"Error": {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}}
    busy = {"Error": {"Code": "ThrottlingError", "Message": "Rate exceeded"}}
    bad = {"Error": {"Code": "ValidationError", "Message": "Unexpected keyword"}}
    aws.always(ANSWER, ok(Responses=[{}, late, busy, bad]))
    written = table.answer([Answer(notice(number), NOW, outcome=Outcome.LATE, reason="") for number in range(4)])
    assert list(written.values()) == [
        True,
        False,
        NotWritten("dynamodb:BatchExecuteStatement: ThrottlingError: Rate exceeded", for_good=False),
        NotWritten("dynamodb:BatchExecuteStatement: ValidationError: Unexpected keyword", for_good=True),
    ]


def test_no_bare_name_in_a_statement(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """Every attribute stands in quotation marks: some are reserved words, which DynamoDB's PartiQL refuses bare (zone)."""
    aws.always(ANSWER, ok(Responses=[{}]))
    table.answer([Answer(notice(), NOW, instance(), command_id=COMMAND_ID, outcome=Outcome.FAILED, reason="r")])
    bare = re.sub(r'"[^"]*"', "", aws.calls[0].parameters["Statements"][0]["Statement"])
    assert set(re.findall(r"[A-Za-z_]+", bare)) == {"UPDATE", "SET", "WHERE", "AND", "IS", "MISSING"}


@pytest.mark.parametrize(
    ("code", "for_good"),
    [("ProvisionedThroughputExceededException", False), ("AccessDeniedException", True)],
)
def test_a_failed_call_is_the_result(table: DynamoNoticesTable, aws: AwsOverHttp, code: str, *, for_good: bool) -> None:
    """If the call itself fails, each of its answers has that as its result; nothing is raised that would stop the others' calls."""
    aws.always(ANSWER, json_error(code, "because"))
    (result,) = table.answer([Answer(notice(), NOW, outcome=Outcome.LATE, reason="")]).values()
    assert result == NotWritten(f"dynamodb:BatchExecuteStatement: {code}: because", for_good=for_good)


@pytest.mark.parametrize(("by", "is_ours"), [("invocation-1", True), ("invocation-2", False)])
def test_an_outcome_that_was_there(table: DynamoNoticesTable, aws: AwsOverHttp, by: str, *, is_ours: bool) -> None:
    """A notice that has an outcome keeps it; whether it is ours, its author tells."""
    aws.always(UPDATE, conditional(item(notice(), outcome="saved", closed_by="invocation-1")))
    assert table.close(notice().key, Closing(Outcome.MISSED, "", NOW, by)) is is_ours


def test_closing_and_ending_are_conditional(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """Neither creates an item, neither overwrites, and both go by placeholders, since some names are reserved words."""
    aws.always(UPDATE, ok())
    assert table.close(notice().key, Closing(Outcome.MISSED, "why", NOW, "invocation-1"))
    assert table.mark_gone(notice().key, InstanceEnded(instance_id(), "terminated", ACCOUNT, REGION, NOW), "invocation-1")
    closed, gone = aws.calls
    assert closed.parameters["ConditionExpression"] == "attribute_exists(notice_id) AND attribute_not_exists(outcome)"
    assert gone.parameters["ConditionExpression"] == "attribute_exists(notice_id) AND attribute_not_exists(gone_at)"
    assert closed.parameters["ExpressionAttributeValues"][":reason"] == {"S": "why"}
    assert gone.parameters["ExpressionAttributeNames"]["#gone_at"] == "gone_at"


def test_saved_takes_the_place_of_a_guess(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """A saved checkpoint also closes a notice that was called missed or failed before the result came; EventBridge keeps no order."""
    aws.always(UPDATE, ok())
    assert table.close(notice().key, Closing(Outcome.SAVED, "why", NOW, "invocation-1"))
    (closed,) = aws.calls
    expected = "attribute_exists(notice_id) AND (attribute_not_exists(outcome) OR outcome IN (:missed, :failed))"
    assert closed.parameters["ConditionExpression"] == expected
    assert closed.parameters["ExpressionAttributeValues"][":missed"] == {"S": "missed"}


def test_a_table_that_does_not_exist(table: DynamoNoticesTable, aws: AwsOverHttp) -> None:
    """A missing table is the operator's to mend: the sentence names the variable, its value and what to do."""
    missing = json_error("ResourceNotFoundException", "Requested resource not found")
    for operation in (PUT, READ, UPDATE, QUERY, ANSWER):
        aws.always(operation, missing)
    expected = r"^NOTICES_TABLE is notices: there is no such table in this account and Region, deploy the stack again$"
    calls = (
        lambda: table.add(notice(), NOW, "i"),
        lambda: table.read([notice()]),
        lambda: table.close(notice().key, Closing(Outcome.SAVED, "", NOW, "i")),
        lambda: table.of_instance("a", "b"),
        lambda: table.answer([Answer(notice(), NOW, command_id="c")]),
    )
    for call in calls:
        with pytest.raises(ConfigurationError, match=expected):
            call()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [("ThrottlingException", 400, Unavailable), ("InternalServerError", 500, Unavailable), ("AccessDeniedException", 400, Refused)],
)
def test_other_errors(table: DynamoNoticesTable, aws: AwsOverHttp, code: str, status: int, expected: type[Exception]) -> None:
    """Throttling and server errors are unavailable, a missing permission is refused."""
    aws.always(PUT, json_error(code, "because", status))
    with pytest.raises(expected, match=f"^dynamodb:PutItem: {code}: because$"):
        table.add(notice(), NOW, "invocation-1")


def stream(*images: object) -> dict[str, Any]:
    """Return a stream batch with these new images."""
    return {"Records": [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(100 + n), "NewImage": image}} for n, image in enumerate(images)]}


def test_a_stream_batch() -> None:
    """Each record comes with its sequence number."""
    assert list(from_stream(stream(item(notice()), item(rebalance(2))), NOW)) == [("100", notice()), ("101", rebalance(2))]


@pytest.mark.parametrize(
    ("image", "field"),
    [
        (None, "dynamodb.NewImage"),
        ("text", "dynamodb.NewImage"),
        ({}, "dynamodb.NewImage.kind"),
        (item(notice(), kind="else"), "dynamodb.NewImage"),
        (item(notice(), action="else"), "dynamodb.NewImage"),
        (item(notice()) | {"instance_id": {"N": "7"}}, "dynamodb.NewImage.instance_id"),
        (item(notice()) | {"region": {"S": 7}}, "dynamodb.NewImage.region"),
        (item(notice(), event_time="soon"), "dynamodb.NewImage.event_time"),
        (item(notice(), event_time="2026-11-22T10:00:00"), "dynamodb.NewImage.event_time"),
        (item(notice(), event_time="9999-12-31T23:59:00Z"), "dynamodb.NewImage.event_time"),
        (item(notice(), event_time="2026-11-22T11:00:00Z"), "dynamodb.NewImage.event_time"),
        (item(notice(), instance_id="i-1\ud800"), "dynamodb.NewImage.instance_id"),
        (item(notice(), instance_id="i-1; reboot"), "dynamodb.NewImage.instance_id"),
        (item(notice(), account="1" * 3000), "dynamodb.NewImage.account"),
        (item(notice(), region=""), "dynamodb.NewImage.region"),
        (item(notice(), event_id="x" * 70_000), "dynamodb.NewImage.event_id"),
    ],
)
def test_a_bad_record_is_named_and_stops_no_other(image: object, field: str) -> None:
    """A record that is no item of ours comes as its error, which names the field; the next record is a notice."""
    (number, error), (_, following) = from_stream(stream(image, item(notice(2))), NOW)
    assert isinstance(error, InvalidInput)
    assert (number, error.field, following) == ("100", field, notice(2))


@pytest.mark.parametrize("batch", [None, [], "text", {}, {"Records": None}, {"Records": {}}])
def test_no_batch_at_all(batch: object) -> None:
    """What is no stream batch is one error that says so."""
    ((number, error),) = from_stream(batch, NOW)
    assert isinstance(error, InvalidInput)
    assert (number, error.field) == ("", "Records")


IMAGES = st.dictionaries(st.sampled_from(sorted(item(notice()))), st.fixed_dictionaries({"S": WORDS | MOMENTS | JSON}), max_size=2).map(
    lambda changes: item(notice()) | changes
)


@given(
    JSON
    | st.fixed_dictionaries(
        {"Records": st.lists(JSON | IMAGES.map(lambda image: {"dynamodb": {"SequenceNumber": "1", "NewImage": image}}), max_size=3)}
    )
)
@settings(max_examples=60)
@example(stream(item(notice(), event_time="0001-01-01T00:00:00+14:00")))
def test_any_json_is_notices_and_errors(anything: object) -> None:
    """Whatever JSON comes, each of its records is a notice whose key and deadline can be told, or an InvalidInput."""
    for _, result in from_stream(anything, NOW):
        if isinstance(result, Notice):
            assert result.key.notice_id
            assert result.is_late(NOW) in (True, False)
        else:
            assert isinstance(result, InvalidInput)
