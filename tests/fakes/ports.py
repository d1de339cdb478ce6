"""The use cases' ports in memory. The contract tests hold them to what AWS does.

Each can be told to fail: ``failures`` are raised by the next calls, one for each, ``None`` for a call that goes well.
"""

from __future__ import annotations

from collections import defaultdict, deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spot_responder.domain.errors import CallFailed, InstancesRefused, Refused, Unavailable
from spot_responder.domain.jobs import Told
from spot_responder.domain.notices import timestamp
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import Closing, Invocation, NotWritten, Record
from tests.examples import NOW, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from spot_responder.domain.events import InstanceEnded
    from spot_responder.domain.instances import Instance
    from spot_responder.domain.jobs import Attempt
    from spot_responder.domain.lines import Happened, Line
    from spot_responder.domain.notices import Notice, NoticeKey
    from spot_responder.use_cases.ports import Answer, Written

THROTTLED = Unavailable("ec2:Any: RequestLimitExceeded: Request limit exceeded.")


@dataclass(slots=True)
class Failures:
    """What the next calls raise, by the name of the call."""

    planned: dict[str, deque[Exception | None]] = field(default_factory=lambda: defaultdict(deque))

    def plan(self, call: str, *errors: Exception | None) -> None:
        """Let the next calls of this name raise these."""
        self.planned[call].extend(errors)

    def happen(self, call: str) -> None:
        """Raise what was planned for this call, if anything."""
        error = self.planned[call].popleft() if self.planned[call] else None
        if error is not None:
            raise error


@dataclass(slots=True)
class FakeClock:
    """A clock that only sleeping moves."""

    present: datetime = NOW
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the present."""
        return self.present

    def sleep(self, seconds_: float) -> None:
        """Move on."""
        self.slept.append(seconds_)
        self.present += seconds(seconds_)


@dataclass(slots=True)
class FakeStory:
    """A story that remembers its lines."""

    lines: list[Line] = field(default_factory=list)

    def tell(self, line: Line) -> None:
        """Remember one line."""
        self.lines.append(line)

    def of(self, happened: Happened) -> list[Line]:
        """Return the lines that tell of this."""
        return [line for line in self.lines if line.event is happened]

    @property
    def outcomes(self) -> dict[str | None, str | None]:
        """The outcome told for each instance."""
        return {line.instance_id: line.outcome for line in self.lines if line.outcome is not None}

    @property
    def events(self) -> list[str]:
        """What happened, in order."""
        return [str(line.event) for line in self.lines]


@dataclass(slots=True)
class Row:
    """An item of the table."""

    notice: Notice
    recorded_by: str = ""
    command_id: str | None = None
    instance: Instance | None = None
    outcome: Outcome | None = None
    reason: str = ""
    closed_at: datetime = NOW
    closed_by: str = ""
    replaces: Attempt | None = None
    gone_at: str | None = None
    gone_by: str | None = None

    @property
    def record(self) -> Record:
        """The item as the use cases see it."""
        closing = Closing(self.outcome, self.reason, self.closed_at, self.closed_by) if self.outcome else None
        return Record(self.notice, self.command_id, self.outcome, self.gone_by, self.replaces, closing)


@dataclass(slots=True)
class FakeNoticesTable:
    """A table in memory. ``unwritable`` counts, for single answers, how many more times they are not taken; ``refused`` never are."""

    rows: dict[NoticeKey, Row] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    unwritable: dict[NoticeKey, int] = field(default_factory=dict)
    refused: set[NoticeKey] = field(default_factory=set)
    batch_size: int = 25

    def put(self, *rows: Row) -> None:
        """Put items there, as if they had been recorded before."""
        self.rows |= {row.notice.key: row for row in rows}

    def of(self, notice: Notice) -> Row:
        """Return a notice's item."""
        return self.rows[notice.key]

    def add(self, notice: Notice, now: datetime, by: str) -> bool:
        """See ``NoticesTable.add``."""
        self.failures.happen("add")
        assert now.tzinfo
        return self.rows.setdefault(notice.key, Row(notice, recorded_by=by)).recorded_by == by

    def read(self, notices: Collection[Notice]) -> Mapping[NoticeKey, Record]:
        """See ``NoticesTable.read``."""
        self.failures.happen("read")
        return {notice.key: self.rows[notice.key].record for notice in notices if notice.key in self.rows}

    def of_instance(self, account_region: str, instance_id: str) -> Sequence[Record]:
        """See ``NoticesTable.of_instance``."""
        self.failures.happen("of_instance")
        mine = (key for key in sorted(self.rows, key=lambda key: key.notice_id) if key.account_region == account_region)
        return [self.rows[key].record for key in mine if key.notice_id.startswith(f"{instance_id}#")]

    def answer(self, answers: Sequence[Answer]) -> Mapping[NoticeKey, Written]:
        """See ``NoticesTable.answer``."""
        assert len(answers) <= self.batch_size
        try:
            self.failures.happen("answer")
        except Unavailable as error:
            return {answer.notice.key: NotWritten(str(error), for_good=False) for answer in answers}
        return {answer.notice.key: self._answer(answer) for answer in answers}

    def _answer(self, answer: Answer) -> Written:
        key = answer.notice.key
        if self.unwritable.get(key, 0):
            self.unwritable[key] -= 1
            return NotWritten("ThrottlingError: the item is too busy", for_good=False)
        if key in self.refused:
            return NotWritten("ValidationError: the item is too large", for_good=True)
        row = self.rows.get(key)
        if row is None:
            return False
        if answer.outcome is not None and (row.record.closing is not None or row.command_id is not None):
            return False if row.closed_by or row.record.closing is None else row.record.closing
        row.instance = answer.instance or row.instance
        row.command_id = answer.command_id or row.command_id
        row.replaces = answer.replaces or row.replaces
        if answer.outcome is not None:
            row.outcome, row.reason, row.closed_at = answer.outcome, answer.reason, answer.at
        return True

    def close(self, key: NoticeKey, closing: Closing) -> bool:
        """See ``NoticesTable.close``."""
        self.failures.happen("close")
        row = self.rows.get(key)
        if row is None:
            return False
        guesses = (Outcome.MISSED, Outcome.FAILED) if closing.outcome is Outcome.SAVED else ()
        if row.outcome is None or row.outcome in guesses:
            row.outcome, row.reason, row.closed_at, row.closed_by = closing.outcome, closing.reason, closing.at, closing.by
        return row.closed_by == closing.by

    def mark_gone(self, key: NoticeKey, ended: InstanceEnded, by: str) -> bool:
        """See ``NoticesTable.mark_gone``."""
        self.failures.happen("mark_gone")
        row = self.rows.get(key)
        if row is None:
            return False
        if row.gone_at is None:
            row.gone_at, row.gone_by = timestamp(ended.time), by
        return row.gone_by == by


@dataclass(slots=True)
class FakeFleet:
    """Instances in memory."""

    instances: dict[str, Instance] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    calls: list[set[str]] = field(default_factory=list)

    def run(self, *instances: Instance) -> None:
        """Let EC2 know these instances."""
        self.instances |= {instance.instance_id: instance for instance in instances}

    def describe(self, instance_ids: Collection[str]) -> Mapping[str, Instance]:
        """See ``Fleet.describe``."""
        self.calls.append(set(instance_ids))
        self.failures.happen("describe")
        return {instance_id: self.instances[instance_id] for instance_id in instance_ids if instance_id in self.instances}


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that SSM took."""

    command_id: str
    notices: tuple[Notice, ...]
    at: datetime

    @property
    def instance_ids(self) -> list[str]:
        """The instances that it went to."""
        return [notice.instance_id for notice in self.notices]


@dataclass(slots=True)
class FakeCommands:
    """SSM Run Command in memory: one instance that it cannot serve fails the whole call.

    ``unmanaged`` maps ids to the reason that ``unreachable`` gives, or to None where SSM calls them Online all the same.
    ``online``, if given, are the only others: whoever is not among them is unmanaged too.
    ``is_naming`` says whether SSM names the ids that it refuses; those that IAM denies are always named.
    """

    unmanaged: dict[str, str | None] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    is_naming: bool = False
    batch_size: int = 50
    failures: Failures = field(default_factory=Failures)
    sent: list[Sent] = field(default_factory=list)
    tries: int = 0
    invocations: dict[tuple[str, str], Invocation] = field(default_factory=dict)
    online: set[str] | None = None

    def ask_checkpoint(self, notices: Sequence[Notice], now: datetime) -> str:
        """See ``Commands.ask_checkpoint``."""
        self.tries += 1
        self.failures.happen("ask_checkpoint")
        ids = [notice.instance_id for notice in notices]
        self._refuse(ids)
        self.sent.append(Sent(f"command-{len(self.sent) + 1}", tuple(notices), now))
        return self.sent[-1].command_id

    def _refuse(self, ids: Sequence[str]) -> None:
        if not 1 <= len(ids) <= self.batch_size:
            raise Refused(f"ssm:SendCommand: ValidationException: {len(ids)} instance ids")
        if len(set(ids)) < len(ids):
            raise Refused("ssm:SendCommand: DuplicateInstanceId")
        denied = self.denied.intersection(ids)
        if denied:
            raise InstancesRefused("ssm:SendCommand: AccessDeniedException: not authorized", sorted(denied)[:1])
        unknown = [instance_id for instance_id in ids if self._is_unknown(instance_id)]
        if unknown:
            raise InstancesRefused("ssm:SendCommand: InvalidInstanceId: Instances not in a valid state", unknown if self.is_naming else ())

    def _is_unknown(self, instance_id: str) -> bool:
        return instance_id in self.unmanaged or (self.online is not None and instance_id not in self.online)

    def unreachable(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """See ``Commands.unreachable``."""
        self.failures.happen("unreachable")
        reasons = {instance_id: self.unmanaged.get(instance_id, "not managed") for instance_id in instance_ids if self._is_unknown(instance_id)}
        return {instance_id: reason for instance_id, reason in reasons.items() if reason is not None}

    def invocation(self, command_id: str, instance_id: str) -> Invocation:
        """See ``Commands.invocation``."""
        self.failures.happen("invocation")
        try:
            return self.invocations[command_id, instance_id]
        except KeyError:
            raise Refused("ssm:GetCommandInvocation: InvocationDoesNotExist: ") from None

    @property
    def asked(self) -> list[str]:
        """All instances that a command went to, in order, with repetitions."""
        return [instance_id for sent in self.sent for instance_id in sent.instance_ids]


@dataclass(slots=True)
class FakeJobs:
    """Jobs in memory, each with the attempt that it waits for, if any; ``told`` are the words that they took.

    Failures planned for ``interrupted`` meet one attempt after the other, those for ``lost`` the call.
    """

    waiting: dict[str, Attempt | None] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    told: list[tuple[str, Attempt]] = field(default_factory=list)
    calls: list[set[Attempt]] = field(default_factory=list)

    def run(self, *attempts: Attempt) -> None:
        """Let jobs wait for these attempts."""
        self.waiting |= {attempt.job_id: attempt for attempt in attempts}

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """See ``Jobs.interrupted``."""
        self.calls.append(set(attempts))
        yield from ((attempt, self._interrupt(attempt)) for attempt in attempts)

    def _interrupt(self, attempt: Attempt) -> Told:
        try:
            self.failures.happen("interrupted")
        except CallFailed as error:
            return Told(str(error), is_trouble=True, is_worth_another_try=isinstance(error, Unavailable))
        return Told() if self._take("interrupted", attempt) else Told("somebody told it before")

    def lost(self, ended: InstanceEnded) -> Attempt | None:
        """See ``Jobs.lost``."""
        self.failures.happen("lost")
        found = [attempt for attempt in self.waiting.values() if attempt and attempt.instance_id == ended.instance_id]
        return found[0] if found and self._take("lost", found[0]) else None

    def _take(self, word: str, attempt: Attempt) -> bool:
        if self.waiting.get(attempt.job_id) != attempt:
            return False
        self.waiting[attempt.job_id] = None
        self.told.append((word, attempt))
        return True


class AtOnce(Executor):
    """An executor that does what it is given before it goes on: as if the other thread were the quicker one."""

    def __init__(self, max_workers: int = 1) -> None:
        """Have as many workers as you like; none is needed."""

    def submit[**P, T](self, act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``Executor.submit``."""
        promise = Promise(lambda: act(*args, **kwargs))
        promise.keep()
        return promise


class AtLast(Executor):
    """An executor that does nothing before its result is asked for, or it is left: as if the other thread were the slower one.

    In a process that is killed, it does nothing any more.
    """

    def __init__(self, max_workers: int = 1) -> None:
        """Have one worker, who is slow."""
        assert max_workers == 1
        self.promises: list[Promise[Any]] = []

    def submit[**P, T](self, act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``Executor.submit``."""
        promise = Promise(lambda: act(*args, **kwargs))
        self.promises.append(promise)
        return promise

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Do what is left."""
        if error is None or issubclass(error, Exception):
            for promise in self.promises:
                promise.keep()


class Promise[T](Future[T]):
    """What an act will have returned or raised; only the end of the process comes out at once."""

    def __init__(self, act: Callable[[], T]) -> None:
        super().__init__()
        self._act = act

    def keep(self) -> None:
        """Act, unless that is done."""
        if self.done():
            return
        try:
            self.set_result(self._act())
        except Exception as error:  # noqa: BLE001  # whatever it is, whoever asks for the result gets it
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> T:
        """Act, if that is not done yet."""
        self.keep()
        return super().result(timeout)


def rows(notices: Iterable[Notice]) -> list[Row]:
    """Return the items that ``record_notice`` leaves behind."""
    return [Row(notice, recorded_by="the invocation that recorded it") for notice in notices]
