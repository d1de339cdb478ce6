"""The notices that came together are answered together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_responder.domain.errors import ConfigurationError, InvalidInput, Refused
from spot_responder.domain.jobs import Told
from spot_responder.domain.lines import Happened
from spot_responder.domain.notices import Action, Notice, NoticeKind, seconds_between
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Record
from spot_responder.use_cases.respond_to_notices import RespondToNotices
from tests.examples import LOG_ONLY, NOW, POLICY, REPLACE, attempt, instance, instance_id, notice, rebalance, seconds, worker
from tests.fakes.ports import THROTTLED, AtLast, AtOnce, FakeClock, FakeCommands, FakeFleet, FakeJobs, FakeNoticesTable, FakeStory, Row, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from spot_responder.domain.instances import Instance
    from spot_responder.domain.jobs import Attempt
    from spot_responder.domain.notices import NoticeKey
    from spot_responder.domain.plans import Policy
    from spot_responder.use_cases.ports import Answer, Written

DENIED = Refused("ec2:DescribeInstances: UnauthorizedOperation: You are not authorized to perform this operation.")


@dataclass
class World:
    """The use case in a world of fakes, with ``time`` seconds to the end of the invocation."""

    notices: FakeNoticesTable = field(default_factory=FakeNoticesTable)
    fleet: FakeFleet = field(default_factory=FakeFleet)
    commands: FakeCommands = field(default_factory=FakeCommands)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    story: FakeStory = field(default_factory=FakeStory)
    clock: FakeClock = field(default_factory=FakeClock)
    policy: Policy = POLICY
    time: float = 140
    beside: type[Executor] = AtOnce

    def respond(self, *batch: Notice | InvalidInput) -> set[NoticeKey]:
        """Answer a batch of the stream."""
        subject = RespondToNotices(self.notices, self.fleet, self.commands, self.jobs, self.story, self.clock, self.policy, self.beside)
        return subject(batch, self.clock.now() + seconds(self.time))

    def outcome(self, subject: Notice) -> tuple[str | None, str]:
        """Return a notice's outcome and its reason."""
        row = self.notices.of(subject)
        return row.outcome, row.reason


def world_with(*notices: Notice, instances: list[Instance] | None = None, policy: Policy = POLICY) -> World:
    """Return a world in which these notices were recorded, and whose instances (all opted in, unless given) run."""
    world = World(policy=policy)
    world.notices.put(*rows(notices))
    running = instances if instances is not None else [replace(instance(), instance_id=subject.instance_id) for subject in notices]
    world.fleet.run(*running)
    return world


def many(count: int) -> list[Notice]:
    """Return warnings for so many instances."""
    return [notice(number) for number in range(count)]


@pytest.mark.parametrize(("notices", "commands"), [(1, 1), (100, 2), (1000, 20)])
def test_one_describe_and_few_commands(notices: int, commands: int) -> None:
    """However many notices come together, there is one describe, and one command for each fifty."""
    world = world_with(*many(notices))
    assert world.respond(*many(notices)) == set()
    assert (len(world.fleet.calls), world.commands.tries) == (1, commands)
    assert all(row.command_id and row.outcome is None for row in world.notices.rows.values())
    assert world.story.events == [Happened.CHECKPOINT_ASKED] * notices


def test_what_was_found_is_on_the_item() -> None:
    """The answer brings what EC2 said of the instance to the notice's item."""
    world = world_with(notice())
    world.respond(notice())
    assert world.notices.of(notice()).instance == instance()


def test_each_ends_its_own_way() -> None:
    """In one batch: asked, vanished, not opted in, late, hibernating, superseded; each told in one line with its outcome."""
    subjects = [notice(1), notice(2), notice(3), notice(4, age=125), notice(5, action=Action.HIBERNATE), rebalance(1)]
    world = world_with(*subjects, instances=[instance(1), instance(3, opted_in=False), instance(4), instance(5)])
    assert world.respond(*subjects) == set()
    assert world.commands.asked == [instance_id(1)]
    expected = [None, Outcome.VANISHED, Outcome.NOT_OPTED_IN, Outcome.LATE, Outcome.LOGGED_ONLY, Outcome.SUPERSEDED]
    assert [world.outcome(subject)[0] for subject in subjects] == expected
    assert sorted(world.story.events) == [Happened.CHECKPOINT_ASKED] + [Happened.NOTICE_CLOSED] * 5


def test_rebalance_is_logged_where_the_operator_wants_it() -> None:
    """With RebalanceResponse log, nobody is asked, and the notice is closed as logged only."""
    world = world_with(rebalance(), policy=LOG_ONLY)
    world.respond(rebalance())
    assert (world.commands.tries, world.outcome(rebalance())) == (0, (Outcome.LOGGED_ONLY, "RebalanceResponse is log"))


def test_what_is_late_is_never_described() -> None:
    """A batch in which all is late or hibernates makes no call to EC2 at all."""
    subjects = [notice(1, age=130), rebalance(2, age=700), notice(3, action=Action.HIBERNATE)]
    world = world_with(*subjects)
    world.respond(*subjects)
    assert (world.fleet.calls, world.commands.tries) == ([], 0)
    assert [world.outcome(subject)[0] for subject in subjects] == [Outcome.LATE, Outcome.LATE, Outcome.LOGGED_ONLY]


def test_only_what_may_act_is_described() -> None:
    """The one describe names only the instances on which the plan depends, each once."""
    subjects = [notice(1), rebalance(1), notice(2, age=130)]
    world = world_with(*subjects)
    world.respond(*subjects)
    assert world.fleet.calls == [{instance_id(1)}]


def test_an_empty_batch_makes_no_calls() -> None:
    """Where there is nothing to do, nothing is asked of EC2 or SSM."""
    world = World()
    assert world.respond() == set()
    assert (world.fleet.calls, world.commands.tries, world.story.lines) == ([], 0, [])


@pytest.mark.parametrize(
    "row", [Row(notice(), command_id="c"), Row(notice(), command_id="c", outcome=Outcome.SAVED, closed_by="an invocation of record_checkpoint")]
)
def test_what_is_answered_is_skipped(row: Row) -> None:
    """A redelivered record whose item was answered is not described, asked or told again."""
    world = world_with(notice())
    world.notices.put(row)
    assert world.respond(notice()) == set()
    assert (world.fleet.calls, world.commands.tries, world.story.lines) == ([], 0, [])


def test_what_was_closed_is_told_again() -> None:
    """A redelivered record that was closed here is told as it was closed then: the invocation that did it may have been stopped before its line."""
    world = world_with(notice(age=130))
    world.respond(notice(age=130))
    world.clock.sleep(60)
    world.respond(notice(age=130))
    first, second = world.story.lines
    assert (first.outcome, first) == (Outcome.LATE, second)
    assert (world.fleet.calls, world.commands.tries) == ([], 0)


def test_a_result_that_came_first_is_no_answer() -> None:
    """If the function was stopped after the command and its result came before the redelivery, asking and telling are made up for."""
    world = jobs_world(notice())
    world.notices.put(Row(notice(), outcome=Outcome.SAVED, closed_by="an invocation of record_checkpoint"))
    assert world.respond(notice()) == set()
    assert world.story.events == [Happened.CHECKPOINT_ASKED, Happened.REPLACEMENT_ASKED]
    assert world.notices.of(notice()).record == Record(notice(), "command-1", Outcome.SAVED, replaces=attempt(of_job=f"job-{instance_id()}"))


def test_a_redelivered_batch_does_only_what_is_left() -> None:
    """Of a redelivered batch only the unanswered notices are answered."""
    world = world_with(notice(1), notice(2))
    world.notices.put(Row(notice(1), command_id="c"))
    world.respond(notice(1), notice(2))
    assert world.commands.asked == [instance_id(2)]


def test_a_crash_before_the_write_repeats_the_command() -> None:
    """If the function is stopped between command and write, the redelivery asks again: twice, never not at all."""
    world = world_with(notice())
    world.notices.failures.plan("answer", RuntimeError("the function was stopped"))
    with pytest.raises(RuntimeError):
        world.respond(notice())
    world.respond(notice())
    assert world.commands.asked == [instance_id()] * 2
    assert world.story.events == [Happened.CHECKPOINT_ASKED] * 2
    assert world.notices.of(notice()).command_id == "command-2"


def test_a_notice_is_answered_once_in_a_batch() -> None:
    """The same notice twice in one batch is one notice."""
    world = world_with(notice())
    world.respond(notice(), notice())
    assert world.commands.asked == [instance_id()]


def test_a_bad_record_holds_up_nobody() -> None:
    """A record that is no notice is one line; the others are answered, and nothing is redelivered."""
    world = world_with(notice())
    assert world.respond(InvalidInput("dynamodb.NewImage", "an item", None), notice()) == set()
    assert world.story.events == [Happened.INPUT_REJECTED, Happened.CHECKPOINT_ASKED]


def test_who_cannot_be_reached_failed() -> None:
    """An unmanaged instance fails with SSM's reason, and the other 49 of its command get theirs."""
    world = world_with(*many(50))
    world.commands.unmanaged[instance_id(7)] = "SSM does not manage this instance"
    assert world.respond(*many(50)) == set()
    assert world.outcome(notice(7)) == (Outcome.FAILED, "SSM does not manage this instance")
    assert sum(row.command_id is not None for row in world.notices.rows.values()) == 49


def test_a_throttled_describe_is_tried_again() -> None:
    """A describe that is throttled is repeated inside the time left."""
    world = world_with(notice())
    world.fleet.failures.plan("describe", THROTTLED, THROTTLED)
    assert world.respond(notice()) == set()
    assert (len(world.fleet.calls), world.commands.asked) == (3, [instance_id()])


def test_a_describe_that_never_succeeds_in_time_failed() -> None:
    """What EC2 would not describe until it was late has failed, with EC2's reason, and does not go back to the stream."""
    world = world_with(notice(age=100))
    world.fleet.failures.plan("describe", *[THROTTLED] * 99)
    assert world.respond(notice(age=100)) == set()
    assert world.outcome(notice(age=100)) == (Outcome.FAILED, str(THROTTLED))
    assert 5 < len(world.fleet.calls) < 15


def test_what_has_time_left_goes_back_to_the_stream() -> None:
    """Where EC2 is out of reach to the end of the invocation, the notices in time are handed back, and the late one is closed."""
    world = world_with(notice(1), notice(2, age=119))
    world.time = 10
    world.fleet.failures.plan("describe", *[THROTTLED] * 99)
    assert world.respond(notice(1), notice(2, age=119)) == {notice(1).key}
    assert world.outcome(notice(1))[0] is None
    assert world.outcome(notice(2, age=119)) == (Outcome.FAILED, str(THROTTLED))


def test_a_refused_describe_failed_at_once() -> None:
    """A describe that EC2 refuses (no permission) fails the notices with EC2's sentence; trying again would not help."""
    world = world_with(notice(1), notice(2))
    world.fleet.failures.plan("describe", DENIED)
    assert world.respond(notice(1), notice(2)) == set()
    assert {world.outcome(notice(number)) for number in (1, 2)} == {(Outcome.FAILED, str(DENIED))}
    assert len(world.fleet.calls) == 1


def test_late_is_late_also_where_the_describe_failed() -> None:
    """What arrived late stays late: a failure of others' describe is none of its own."""
    world = world_with(notice(1), notice(2, age=130), notice(3, action=Action.HIBERNATE))
    world.fleet.failures.plan("describe", DENIED)
    world.respond(notice(1), notice(2, age=130), notice(3, action=Action.HIBERNATE))
    assert world.outcome(notice(1))[0] is Outcome.FAILED
    assert world.outcome(notice(2, age=130))[0] is Outcome.LATE
    assert world.outcome(notice(3, action=Action.HIBERNATE))[0] is Outcome.LOGGED_ONLY


def test_what_is_put_off_goes_back_to_the_stream() -> None:
    """Instances that SSM's throttling left without a command are handed back, unanswered; the others keep theirs."""
    world = world_with(*many(60))
    world.time = 5
    world.commands.failures.plan("ask_checkpoint", *[THROTTLED] * 99)
    world.commands.failures.planned["ask_checkpoint"][1] = None
    keys = world.respond(*many(60))
    assert keys == {notice(number).key for number in range(50)}
    assert [world.notices.of(notice(number)).command_id for number in (0, 59)] == [None, "command-1"]


def test_an_answer_that_is_not_taken_is_written_again() -> None:
    """An item that is too busy is written again, and its line is told once, when it is written."""
    world = world_with(notice(1), notice(2), instances=[instance(1)])
    world.notices.unwritable = {notice(1).key: 2, notice(2).key: 2}
    assert world.respond(notice(1), notice(2)) == set()
    assert world.notices.of(notice(1)).command_id == "command-1"
    assert world.outcome(notice(2))[0] is Outcome.VANISHED
    assert sorted(world.story.events) == [Happened.CHECKPOINT_ASKED, Happened.NOTICE_CLOSED]


def test_an_answer_that_is_never_taken_goes_back_to_the_stream() -> None:
    """What cannot be written to the end of the invocation is told as unwritten, and handed back; the others are not."""
    world = world_with(notice(1), notice(2))
    world.time = 5
    world.notices.unwritable = {notice(1).key: 99}
    assert world.respond(notice(1), notice(2)) == {notice(1).key}
    (line,) = world.story.of(Happened.ANSWER_UNWRITTEN)
    assert (line.instance_id, line.reason) == (instance_id(1), "ThrottlingError: the item is too busy")
    assert world.notices.of(notice(2)).command_id == "command-1"


def test_an_answer_that_is_refused_for_good_stops_nothing() -> None:
    """An item that DynamoDB will never take is told, is not tried again, and is not delivered again."""
    world = world_with(*many(60))
    world.notices.refused = {notice(7).key}
    assert world.respond(*many(60)) == set()
    (line,) = world.story.of(Happened.ANSWER_UNWRITTEN)
    assert (line.instance_id, line.reason) == (instance_id(7), "ValidationError: the item is too large")
    assert "again" not in line.message
    assert world.clock.slept == []
    assert sum(row.command_id is not None for row in world.notices.rows.values()) == 59


def test_the_asking_comes_first() -> None:
    """Commands are sent before any notice is closed: 50 instances that did not opt in hold up none that did."""
    bystanders = [instance(number, opted_in=False) for number in range(50)]
    world = world_with(*many(60), instances=[*bystanders, *(instance(number) for number in range(50, 60))])
    world.respond(*many(60))
    assert world.story.events[:10] == [Happened.CHECKPOINT_ASKED] * 10


def test_a_table_out_of_reach_holds_up_no_command() -> None:
    """Where nothing can be written, every command is sent before anything is written again."""
    world = world_with(*many(150))
    world.notices.failures.plan("answer", *[THROTTLED] * 3)
    assert world.respond(*many(150)) == set()
    assert [sent.at for sent in world.commands.sent] == [NOW] * 3
    assert all(row.command_id for row in world.notices.rows.values())


def test_a_slow_table_holds_up_no_command() -> None:
    """Where a write takes ten seconds, only the first of them stands between commands; nor does any closing, and all are written in the end."""
    world = world_with(*many(150))
    world.commands.unmanaged = {instance_id(number): "offline" for number in range(5)}
    world.notices = SlowTable(world.clock, rows=world.notices.rows)
    assert world.respond(*many(150)) == set()
    assert (world.commands.sent[-1].at - NOW).total_seconds() == 10
    assert all(row.command_id or row.outcome is Outcome.FAILED for row in world.notices.rows.values())


def test_answers_are_written_while_the_next_command_is_sent() -> None:
    """A write is awaited before the next write, not before the next command: of three commands, two go before the first write is done."""
    world = world_with(*many(150))
    world.beside = AtLast
    world.notices = SlowTable(world.clock, rows=world.notices.rows)
    assert world.respond(*many(150)) == set()
    sent_at = {sent.command_id: sent.at for sent in world.commands.sent}
    assert [(at - NOW).total_seconds() for at in sent_at.values()] == [0, 0, 10]
    assert all(row.command_id for row in world.notices.rows.values())
    assert all(line.seconds_since_event == seconds_between(notice().time, sent_at[line.command_id or ""]) for line in world.story.lines)
    assert len(world.story.lines) == 150


@pytest.mark.parametrize("beside", [AtOnce, AtLast])
def test_a_command_is_told_though_the_write_before_it_fails(beside: type[Executor]) -> None:
    """If a write fails as nothing should, the batch fails; the command that was sent meanwhile has its lines, and no third one is sent."""
    world = world_with(*many(150))
    world.beside = beside
    world.notices.failures.plan("answer", RuntimeError("the table is no table"))
    with pytest.raises(RuntimeError):
        world.respond(*many(150))
    assert len(world.commands.sent) == 2
    assert {line.command_id for line in world.story.lines} == {"command-1", "command-2"}


def test_the_answers_are_written_before_jobs_are_told() -> None:
    """When a job is told, the item names its attempt: should we crash then, the next delivery tells it again."""
    world = jobs_world(notice(1), notice(2))
    world.beside = AtLast
    world.jobs = LookingJobs(world.notices, waiting=world.jobs.waiting)
    world.respond(notice(1), notice(2))
    assert len(world.jobs.told) == 2


@dataclass(slots=True)
class LookingJobs(FakeJobs):
    """Jobs that look whether their attempts are on the items."""

    notices: FakeNoticesTable = field(default_factory=FakeNoticesTable)

    def __init__(self, notices: FakeNoticesTable, waiting: dict[str, Attempt | None]) -> None:
        FakeJobs.__init__(self, waiting)
        self.notices = notices

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """Look, then tell."""
        assert {self.notices.of(told_of).replaces for told_of in attempts.values()} == set(attempts)
        return FakeJobs.interrupted(self, attempts)


@dataclass(slots=True)
class SlowTable(FakeNoticesTable):
    """A table that takes ten seconds for each write."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __init__(self, clock: FakeClock, rows: dict[NoticeKey, Row]) -> None:
        FakeNoticesTable.__init__(self, rows)
        self.clock = clock

    def answer(self, answers: Sequence[Answer]) -> Mapping[NoticeKey, Written]:
        """Take its time."""
        self.clock.present += seconds(10)
        return FakeNoticesTable.answer(self, answers)


def test_a_closed_notice_is_not_told_again() -> None:
    """An outcome that came meanwhile (the instance ended) stands, and ours is not told."""
    world = world_with(notice(), instances=[])
    world.notices.put(Row(notice()))
    world.notices.failures.plan("answer", THROTTLED)
    world.clock = MeanwhileClock(world)
    world.respond(notice())
    assert world.outcome(notice())[0] is Outcome.MISSED
    assert world.story.lines == []


@dataclass(slots=True)
class MeanwhileClock(FakeClock):
    """A clock during whose first pause the instance's end is recorded."""

    world: World = field(default_factory=World)

    def __init__(self, world: World) -> None:
        self.world, self.present, self.slept = world, NOW, []

    def sleep(self, seconds_: float) -> None:
        """Move on, and close the notice."""
        row = self.world.notices.of(notice())
        row.outcome, row.closed_by = Outcome.MISSED, "an invocation of record_instance_state"
        self.present += seconds(seconds_)


def test_a_table_that_cannot_be_read_holds_up_no_checkpoint() -> None:
    """What was done before is asked for ten seconds; then the instances are asked for their checkpoints, some perhaps twice, none never."""
    world = world_with(notice(1), notice(2))
    world.notices.put(Row(notice(2), command_id="command-0"))
    world.notices.failures.plan("read", *[THROTTLED] * 99)
    assert world.respond(notice(1), notice(2)) == set()
    assert world.commands.asked == [instance_id(1), instance_id(2)]
    assert 5 < (world.commands.sent[0].at - NOW).total_seconds() <= 10


@pytest.mark.parametrize("age", [3, 130])
def test_what_was_closed_before_is_told_though_the_table_could_not_be_read(age: float) -> None:
    """A notice whose closing was written, and only the answer lost, is told as it was closed then, also where another outcome is found now."""
    world = world_with(notice(age=age))
    world.notices.put(Row(notice(age=age), outcome=Outcome.VANISHED, reason="it is gone", closed_at=NOW - seconds(9)))
    world.fleet.instances.clear()
    world.notices.failures.plan("read", *[THROTTLED] * 99)
    assert world.respond(notice(age=age)) == set()
    assert world.outcome(notice(age=age)) == (Outcome.VANISHED, "it is gone")
    (line,) = world.story.lines
    assert (line.event, line.outcome, line.reason, line.seconds_since_event) == (Happened.NOTICE_CLOSED, Outcome.VANISHED, "it is gone", age - 9)


def test_what_was_asked_is_not_closed_though_the_table_could_not_be_read() -> None:
    """A late copy of an asked notice, which the table does not bring out in time, closes nothing: the command's result is still to come."""
    subject = notice(age=130)
    world = world_with(subject)
    world.notices.put(Row(subject, command_id="command-1"))
    world.notices.failures.plan("read", *[THROTTLED] * 50)
    assert world.respond(subject) == set()
    assert (world.outcome(subject), world.story.events) == ((None, ""), [])


def test_what_was_read_is_not_read_again() -> None:
    """Of 300 notices the second hundred cannot be read at first: it is, without the first, and who was asked before is not asked again."""
    world = world_with(*many(300))
    world.notices.put(*(Row(notice(number), command_id="command-0") for number in range(250)))
    world.notices.failures.plan("read", None, THROTTLED)
    world.respond(*many(300))
    assert len(world.commands.asked) == 50
    assert not world.notices.failures.planned["read"]


def test_a_table_that_does_not_exist_fails_the_batch() -> None:
    """A wrong setting is nobody's bad luck: the invocation fails."""
    world = world_with(notice())
    world.notices.failures.plan("read", ConfigurationError("NOTICES_TABLE is notices: there is no such table"))
    with pytest.raises(ConfigurationError):
        world.respond(notice())
    assert (world.fleet.calls, world.commands.tries) == ([], 0)


def test_a_table_that_is_slow_to_read_is_read_again() -> None:
    """A throttled read is repeated."""
    world = world_with(notice())
    world.notices.failures.plan("read", THROTTLED)
    assert world.respond(notice()) == set()
    assert world.commands.asked == [instance_id()]


SUBJECTS = st.builds(notice, st.integers(0, 6), action=st.sampled_from(Action), age=st.sampled_from([0, 3, 118, 130, 650]))
TROUBLE = st.lists(st.sampled_from([None, THROTTLED]), max_size=4)


@given(
    st.lists(SUBJECTS, max_size=15),
    TROUBLE,
    TROUBLE,
    TROUBLE,
    st.dictionaries(st.integers(0, 6), st.integers(1, 30)),
    st.sampled_from([1, 20, 140]),
    st.sampled_from([AtOnce, AtLast]),
)
@settings(max_examples=80)
def test_every_notice_is_answered_or_handed_back(
    subjects: list[Notice],
    describe: list[Exception | None],
    ask: list[Exception | None],
    answer: list[Exception | None],
    unwritable: dict[int, int],
    time: float,
    beside: type[Executor],
) -> None:
    """Whatever happens, each notice has a command or an outcome, or goes back to the stream; none is both closed and asked by us."""
    world = world_with(*subjects, instances=[instance(number, opted_in=number != 3) for number in range(5)])
    world.time, world.beside, world.commands.batch_size = time, beside, 3
    world.fleet.failures.plan("describe", *describe)
    world.commands.failures.plan("ask_checkpoint", *ask)
    world.commands.unmanaged[instance_id(2)] = "SSM does not manage this instance"
    world.notices.failures.plan("answer", *answer)
    keys = {subject.key for subject in subjects}
    world.notices.unwritable = {key: unwritable.get(number, 0) for number, key in enumerate(sorted(keys, key=lambda key: key.notice_id))}
    again = world.respond(*subjects)
    assert again <= keys
    for key, row in world.notices.rows.items():
        assert (row.record.is_answered, key in again) in ((True, False), (False, True))
        assert not (row.command_id and row.outcome)
    asked = [sent for sent in world.commands.asked if sent == instance_id(2)]
    assert asked == []
    assert {subject.kind for subject in subjects} <= set(NoticeKind)


def jobs_world(*subjects: Notice, policy: Policy = POLICY, waiting: bool = True) -> World:
    """Return a world in which each notice's instance works on a job of its own, which waits for it."""
    attempts = [attempt(of_job=f"job-{subject.instance_id}") for subject in subjects]
    workers = [replace(of, instance_id=subject.instance_id) for of, subject in zip(attempts, subjects, strict=True)]
    world = world_with(*subjects, instances=[worker(one) for one in workers], policy=policy)
    if waiting:
        world.jobs.run(*workers)
    return world


def test_a_job_is_moved_on_after_its_checkpoint_was_asked() -> None:
    """The instance is asked first, then the job is told, once, and the story says both."""
    world = jobs_world(notice())
    assert world.respond(notice()) == set()
    assert world.story.events == [Happened.CHECKPOINT_ASKED, Happened.REPLACEMENT_ASKED]
    assert [word for word, _ in world.jobs.told] == ["interrupted"]
    assert world.clock.slept == []


def test_many_jobs_are_told_together() -> None:
    """A hundred interrupted jobs: one describe, two commands, and all jobs in one go."""
    world = jobs_world(*many(100))
    world.respond(*many(100))
    assert (len(world.fleet.calls), world.commands.tries, len(world.jobs.calls)) == (1, 2, 1)
    assert len(world.jobs.told) == 100


def test_a_batch_without_jobs_tells_nobody() -> None:
    """Where no instance is a job's, the jobs are not even asked."""
    world = world_with(*many(3))
    world.respond(*many(3))
    assert world.jobs.calls == []


def test_a_job_is_told_once_for_both_notices() -> None:
    """Interruption and recommendation of one instance, together, move its job once."""
    world = jobs_world(notice(), policy=REPLACE)
    world.notices.put(*rows([rebalance()]))
    world.respond(rebalance(), notice())
    assert (len(world.jobs.calls), len(world.jobs.told)) == (1, 1)


def test_a_job_that_knows_already_is_no_trouble() -> None:
    """A job that somebody told before, or that runs elsewhere already, is told in one plain line; nothing is tried again."""
    world = jobs_world(notice(), waiting=False)
    assert world.respond(notice()) == set()
    (line,) = world.story.of(Happened.REPLACEMENT_ASKED)
    assert (line.reason, line.is_trouble, len(world.jobs.calls)) == ("somebody told it before", False, 1)


def test_a_job_whose_instance_cannot_be_asked_is_moved_on() -> None:
    """That SSM does not reach an instance fails its checkpoint, and moves its job all the same."""
    world = jobs_world(notice())
    world.commands.unmanaged[notice().instance_id] = "offline"
    world.respond(notice())
    assert world.outcome(notice())[0] is Outcome.FAILED
    assert len(world.jobs.told) == 1


def test_throttled_jobs_are_told_again() -> None:
    """A job that could not be told is tried again, alone; the others are told once."""
    world = jobs_world(*many(3))
    world.jobs.failures.plan("interrupted", None, THROTTLED, None, THROTTLED)
    world.respond(*many(3))
    assert [len(call) for call in world.jobs.calls] == [3, 1, 1]
    assert len(world.jobs.told) == 3
    assert len(world.story.of(Happened.REPLACEMENT_ASKED)) == 3


def test_a_job_that_cannot_be_told_at_all_is_trouble() -> None:
    """What IAM refuses is not tried again: one line of trouble, and the checkpoint is asked as ever."""
    world = jobs_world(*many(2))
    world.jobs.failures.plan("interrupted", DENIED)
    assert world.respond(*many(2)) == set()
    (line,) = world.story.of(Happened.REPLACEMENT_FAILED)
    assert (line.is_trouble, len(world.jobs.calls), len(world.jobs.told)) == (True, 1, 1)
    assert all(row.command_id for row in world.notices.rows.values())


def test_jobs_that_take_long_to_tell_hold_up_no_answer() -> None:
    """If telling a job takes twenty seconds, no more than a few are told; the others are trouble, and who did not opt in is told so all the same."""
    subjects = many(11)
    world = jobs_world(*subjects[:10])
    world.notices.put(*rows(subjects))
    world.jobs = SlowJobs(world.clock)
    assert world.respond(*subjects) == set()
    assert world.outcome(subjects[10])[0] is Outcome.VANISHED
    untold = world.story.of(Happened.REPLACEMENT_FAILED)
    assert (len(untold), {line.reason for line in untold}) == (4, {"there was no time left to tell it"})
    assert len(world.story.of(Happened.REPLACEMENT_ASKED)) == 6


@dataclass(slots=True)
class SlowJobs(FakeJobs):
    """Jobs of which each takes twenty seconds to tell."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __init__(self, clock: FakeClock) -> None:
        FakeJobs.__init__(self)
        self.clock = clock

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """Take their time."""
        for attempt_ in attempts:
            self.clock.present += seconds(20)
            yield attempt_, Told()


@pytest.mark.parametrize(("age", "time", "until"), [(100, 140, 20), (3, 30, 30)], ids=["deadline", "invocation"])
def test_telling_jobs_ends_in_time(age: float, time: float, until: float) -> None:
    """Trying again ends with the notice's deadline or the invocation, whichever is first, and is told as trouble."""
    world = jobs_world(notice(age=age))
    world.time = time
    world.jobs.failures.plan("interrupted", *[THROTTLED] * 100)
    assert world.respond(notice(age=age)) == set()
    assert [line.event for line in world.story.lines if line.is_trouble] == [Happened.REPLACEMENT_FAILED]
    assert 0 < sum(world.clock.slept) < until


@pytest.mark.parametrize("is_managed", [True, False])
def test_a_redelivered_notice_tells_its_job_again(is_managed: bool) -> None:  # noqa: FBT001  # asked, or not to be asked
    """Whether the job was told, the item does not say, only which attempt it is: the job is told again, which it takes once."""
    world = jobs_world(notice())
    world.commands.unmanaged |= {} if is_managed else {instance_id(): "offline"}
    for _ in range(2):
        world.respond(notice())
    assert (len(world.jobs.calls), len(world.jobs.told)) == (2, 1)
    assert (len(world.fleet.calls), len(world.commands.asked)) == (1, int(is_managed))


def test_a_late_redelivery_tells_no_job() -> None:
    """After its deadline a notice is nobody's concern: the instance's end has told the job."""
    world = jobs_world(notice())
    world.respond(notice())
    world.clock.sleep(120)
    world.respond(notice())
    assert len(world.jobs.calls) == 1
