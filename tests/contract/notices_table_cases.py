"""What any notices table does: the fake, DynamoDB as moto knows it, DynamoDB in the sandbox.

A test class inherits the cases and brings the fixture ``table``. Each case makes notices of its own, so that the cases
may share a table (one without a function on its stream).
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spot_responder.domain.events import InstanceEnded
from spot_responder.domain.notices import Action, Notice
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Answer, Closing, NoticesTable, Record
from tests.examples import ACCOUNT, NOW, REGION, attempt, instance, notice, rebalance

if TYPE_CHECKING:
    from collections.abc import Sequence


def fresh_id() -> str:
    """Return an instance id that nobody else uses."""
    return f"i-{uuid.uuid4().hex[:17]}"


def fresh() -> Notice:
    """Return a notice for an instance of its own."""
    return replace(notice(), instance_id=fresh_id())


def recorded(table: NoticesTable, *subjects: Notice) -> Sequence[Notice]:
    """Record notices, and return them."""
    for subject in subjects:
        assert table.add(subject, NOW, "invocation-1")
    return subjects


def record(table: NoticesTable, subject: Notice) -> Record:
    """Return a notice's record, which has to exist."""
    return table.read([subject])[subject.key]


def of_instance(table: NoticesTable, subject: Notice) -> Sequence[Record]:
    """Return the records of a notice's instance."""
    return table.of_instance(subject.key.account_region, subject.instance_id)


def closing(by: str = "invocation-1", outcome: Outcome = Outcome.SAVED) -> Closing:
    """Return an outcome and who brings it."""
    return Closing(outcome, 'because it\'s "so"', NOW, by)


def create_table(dynamodb: Any, name: str) -> None:
    """Create a table with the keys of the template's."""
    keys = {"account_region": "HASH", "notice_id": "RANGE"}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in keys.items()],
    )


class NoticesTableCases:
    """Recording, reading, closing and ending."""

    def test_saved_takes_the_place_of_a_guess(self, table: NoticesTable) -> None:
        """A checkpoint that was saved also closes a notice that was called missed; nothing takes the place of saved."""
        (subject,) = recorded(table, fresh())
        assert table.close(subject.key, Closing(Outcome.MISSED, "gone", NOW, "one"))
        assert table.close(subject.key, Closing(Outcome.SAVED, "saved", NOW, "two"))
        assert not table.close(subject.key, Closing(Outcome.MISSED, "gone", NOW, "three"))
        assert table.read([subject])[subject.key].outcome is Outcome.SAVED

    def test_the_first_to_record_is_first(self, table: NoticesTable) -> None:
        """A notice is recorded once: a second invocation learns that it was there, the first one's own retry that it was first."""
        subject = fresh()
        assert [table.add(subject, NOW, by) for by in ("invocation-1", "invocation-2", "invocation-1")] == [True, False, True]
        assert record(table, subject) == Record(subject)

    def test_both_kinds_are_two(self, table: NoticesTable) -> None:
        """An instance's warning and recommendation of the same second are two items."""
        warning, recommendation = recorded(table, fresh(), replace(rebalance(), instance_id=fresh_id()))
        both = [warning, replace(recommendation, instance_id=warning.instance_id)]
        recorded(table, both[1])
        assert sorted(found.notice.kind for found in of_instance(table, warning)) == ["interruption", "rebalance"]

    def test_what_is_read_is_what_was_recorded(self, table: NoticesTable) -> None:
        """Every part of a notice comes back, of whatever action and age."""
        subjects = [replace(notice(action=action, age=age), instance_id=fresh_id()) for action in Action for age in (0, 3, 86_400)]
        recorded(table, *subjects)
        assert table.read(subjects) == {subject.key: Record(subject) for subject in subjects}

    def test_more_than_a_call_reads(self, table: NoticesTable) -> None:
        """120 records are read as one; what does not exist is left out."""
        subjects = recorded(table, *(fresh() for _ in range(120)))
        found = table.read((*subjects, fresh()))
        assert found.keys() == {subject.key for subject in subjects}

    def test_nothing_to_read(self, table: NoticesTable) -> None:
        """No keys, no records."""
        assert table.read([]) == {}

    def test_an_instance_has_its_own(self, table: NoticesTable) -> None:
        """An instance's records are its own: not those of an id that begins alike, nor those of another Region."""
        long = fresh()
        short = replace(long, instance_id=long.instance_id[:10])
        elsewhere = replace(long, region="eu-west-1")
        recorded(table, long, short, elsewhere)
        assert [[one.notice for one in of_instance(table, subject)] for subject in (long, short, elsewhere)] == [[long], [short], [elsewhere]]

    def test_an_instance_without_notices(self, table: NoticesTable) -> None:
        """An instance that had no notice has no records."""
        assert list(of_instance(table, fresh())) == []

    def test_the_first_outcome_stands(self, table: NoticesTable) -> None:
        """A notice is closed once: another invocation changes nothing, and the first one's own retry is the first."""
        (subject,) = recorded(table, fresh())
        assert table.close(subject.key, closing())
        assert not table.close(subject.key, closing("invocation-2", Outcome.MISSED))
        assert table.close(subject.key, closing())
        assert record(table, subject) == Record(subject, outcome=Outcome.SAVED)

    def test_an_end_is_marked_once(self, table: NoticesTable) -> None:
        """An instance's end is marked once, whatever outcome its notice has."""
        (subject,) = recorded(table, fresh())
        ended = InstanceEnded(subject.instance_id, "terminated", ACCOUNT, REGION, NOW)
        assert [table.mark_gone(subject.key, ended, by) for by in ("invocation-1", "invocation-2", "invocation-1")] == [True, False, True]
        assert table.close(subject.key, closing())
        assert record(table, subject) == Record(subject, outcome=Outcome.SAVED, gone_by="invocation-1")

    def test_what_is_not_there_is_not_made(self, table: NoticesTable) -> None:
        """Closing or ending a notice that was removed (its time was over) changes nothing, and makes no item."""
        subject = fresh()
        ended = InstanceEnded(subject.instance_id, "terminated", ACCOUNT, REGION, NOW)
        assert not table.close(subject.key, closing())
        assert not table.mark_gone(subject.key, ended, "invocation-1")
        assert table.read([subject]) == {}


class AnswerCases:
    """Answering. Plain moto's PartiQL knows neither several SETs nor conditions, so these do not run on it."""

    def test_a_command_is_noted(self, table: NoticesTable) -> None:
        """A notice whose instance was asked names the command, and is answered."""
        (subject,) = recorded(table, fresh())
        assert table.answer([Answer(subject, NOW, instance(), command_id="command-1")]) == {subject.key: True}
        assert record(table, subject) == Record(subject, command_id="command-1")
        assert record(table, subject).is_answered

    def test_the_attempt_to_be_replaced_is_noted(self, table: NoticesTable) -> None:
        """A notice of a job's instance names the attempt, so that a redelivery can make sure that the job was told."""
        (subject,) = recorded(table, fresh())
        of = replace(attempt(2), instance_id=subject.instance_id)
        table.answer([Answer(subject, NOW, instance(), command_id="command-1", replaces=of)])
        assert record(table, subject) == Record(subject, command_id="command-1", replaces=of)

    def test_who_closed_a_notice_is_known(self, table: NoticesTable) -> None:
        """A notice closed by its answer bears nobody's name, and is answered; one that another invocation closed is not."""
        answered, closed = recorded(table, fresh(), fresh())
        table.answer([Answer(answered, NOW, outcome=Outcome.LATE, reason="late")])
        table.close(closed.key, closing())
        assert record(table, answered).closing == Closing(Outcome.LATE, "late", NOW, "")
        assert record(table, closed).closing == closing()
        assert [record(table, one).is_answered for one in (answered, closed)] == [True, False]

    def test_an_outcome_is_noted(self, table: NoticesTable) -> None:
        """A notice that is closed by its answer has the outcome, and is answered."""
        (subject,) = recorded(table, fresh())
        assert table.answer([Answer(subject, NOW, outcome=Outcome.VANISHED, reason='it\'s "gone"; --')]) == {subject.key: True}
        assert record(table, subject) == Record(subject, outcome=Outcome.VANISHED)

    def test_an_answer_does_not_change_an_outcome(self, table: NoticesTable) -> None:
        """An outcome that was there stands, and the answer says that it did not take effect."""
        (subject,) = recorded(table, fresh())
        table.close(subject.key, closing())
        assert table.answer([Answer(subject, NOW, outcome=Outcome.LATE, reason="late")]) == {subject.key: False}
        assert record(table, subject) == Record(subject, outcome=Outcome.SAVED)

    def test_an_answer_does_not_change_another(self, table: NoticesTable) -> None:
        """Of two answers with outcomes the first stands, and the second learns of it."""
        (subject,) = recorded(table, fresh())
        answers = [Answer(subject, NOW, outcome=outcome, reason=f"it is {outcome}") for outcome in (Outcome.FAILED, Outcome.LATE)]
        assert [table.answer([answer])[subject.key] for answer in answers] == [True, Closing(Outcome.FAILED, "it is failed", NOW, "")]
        assert record(table, subject).outcome is Outcome.FAILED

    def test_an_answer_does_not_close_what_was_asked(self, table: NoticesTable) -> None:
        """A notice whose instance was asked stays open for the command's result, whatever a second answer makes of it."""
        (subject,) = recorded(table, fresh())
        table.answer([Answer(subject, NOW, instance(), command_id="command-1")])
        assert table.answer([Answer(subject, NOW, outcome=Outcome.LATE, reason="late")]) == {subject.key: False}
        assert record(table, subject) == Record(subject, command_id="command-1")
        assert table.close(subject.key, closing())

    def test_a_result_may_come_before_the_answer(self, table: NoticesTable) -> None:
        """If the checkpoint was saved before its command was noted, both are on the item."""
        (subject,) = recorded(table, fresh())
        table.close(subject.key, closing())
        assert table.answer([Answer(subject, NOW, instance(), command_id="command-1")]) == {subject.key: True}
        assert record(table, subject) == Record(subject, "command-1", Outcome.SAVED)

    def test_an_answer_makes_no_item(self, table: NoticesTable) -> None:
        """Answering a notice that is not there changes nothing, and makes no item."""
        subjects = [fresh(), fresh()]
        answers = [Answer(subjects[0], NOW, command_id="command-1"), Answer(subjects[1], NOW, outcome=Outcome.LATE, reason="late")]
        assert table.answer(answers) == {subject.key: False for subject in subjects}
        assert table.read(subjects) == {}

    def test_one_that_fails_does_not_stop_the_others(self, table: NoticesTable) -> None:
        """Of 25 answers of which one is for nothing that exists, 24 are written."""
        missing = fresh()
        subjects = recorded(table, *(fresh() for _ in range(24)))
        answers = [Answer(subject, NOW, instance(), command_id="command-1") for subject in (*subjects[:10], missing, *subjects[10:])]
        written = table.answer(answers)
        assert [key for key, result in written.items() if result is not True] == [missing.key]
        found = table.read(subjects)
        assert {one.command_id for one in found.values()} == {"command-1"}
        assert len(found) == 24

    def test_nothing_to_answer(self, table: NoticesTable) -> None:
        """No answers, no calls, no results."""
        assert table.answer([]) == {}
