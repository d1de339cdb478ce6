"""The notices that came together are answered together: one describe, one command for many instances.

In come the stream records of new items; out go commands, each notice's answer in the table, and a line for each. A
record whose item says that it is answered is not answered again, so that a redelivered batch asks nobody twice; but what
comes after the writing, a line or the word to a job, an invocation that was stopped may have left undone: that is done
again. What could not be finished in this invocation is handed back to the stream.

While a command is sent, the answers of the one before it are written, ``beside``: one at a time, and the word to jobs, the closing and the
end of the invocation wait for it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from spot_responder.domain import lines
from spot_responder.domain.errors import CallFailed, InvalidInput, Unavailable
from spot_responder.domain.jobs import Told
from spot_responder.domain.plans import Outcome, Plan, decide, needs_describing, supersede
from spot_responder.use_cases.ask_checkpoints import AskCheckpoints, Asked, NotAsked, PutOff
from spot_responder.use_cases.patience import keep_trying, pauses
from spot_responder.use_cases.ports import Answer, Closing, NotWritten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future
    from datetime import datetime

    from spot_responder.domain.instances import Instance
    from spot_responder.domain.jobs import Attempt
    from spot_responder.domain.notices import Notice, NoticeKey
    from spot_responder.domain.plans import Policy
    from spot_responder.use_cases.ports import Clock, Commands, Fleet, Jobs, NoticesTable, Record, Story

type Instances = Mapping[str, Instance]

NO_TIME = NotWritten("this invocation had no time left", for_good=False)
UNTOLD = Told("there was no time left to tell it", is_trouble=True)
KEYS_AT_ONCE = 100
"""As many as one call to the table reads: what was read need not be read again."""
READING_TIME = timedelta(seconds=10)
"""For the table to say what was done before. Longer, no checkpoint waits for that: rather twice than not at all."""
QUICK_WRITE = timedelta(seconds=1)
"""Calls of a command's write begin within this time. What is not written by then is written after all commands are sent."""
NO_WRITE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Unwritten:
    """An answer that the table did not take, and why."""

    answer: Answer
    trouble: NotWritten


@dataclass(frozen=True, slots=True)
class RespondToNotices:
    """Answer the notices of one stream batch.

    ``beside`` makes the executor, of one worker, in which answers are written while commands are sent: one for each batch. The end of its
    ``with`` waits for the write. While it works, only it uses ``notices``.
    """

    notices: NoticesTable
    fleet: Fleet
    commands: Commands
    jobs: Jobs
    story: Story
    clock: Clock
    policy: Policy
    beside: Callable[[], Executor]

    def __call__(self, batch: Iterable[Notice | InvalidInput], until: datetime) -> set[NoticeKey]:
        """Answer a batch before ``until``, the end of this invocation; return the notices to be delivered again."""
        arrived = self._valid(batch)
        records = self._read(arrived.values(), until)
        answered = {key: record for key, record in records.items() if record.is_answered}
        self._tell_again(answered.values())
        todo = [notice for key, notice in arrived.items() if key not in answered]
        began = self.clock.now()
        untold = [Plan(record.notice, "asked before", replaces=record.replaces) for record in answered.values() if not record.notice.is_late(began)]
        try:
            instances = self._describe(todo, began, until)
        except CallFailed as error:
            return self._give_up(todo, untold, error, began, until)
        now = self.clock.now()
        plans = supersede(decide(notice, instances.get(notice.instance_id), self.policy, now) for notice in todo)
        return self._carry_out(plans, untold, instances, until)

    def _valid(self, batch: Iterable[Notice | InvalidInput]) -> dict[NoticeKey, Notice]:
        valid: dict[NoticeKey, Notice] = {}
        for item in batch:
            if isinstance(item, InvalidInput):
                self.story.tell(lines.input_rejected(item))
            else:
                valid[item.key] = item
        return valid

    def _read(self, notices: Collection[Notice], until: datetime) -> dict[NoticeKey, Record]:
        """Return what is known of these notices; nothing of those that the table does not bring out in time."""
        until = min(until, self.clock.now() + READING_TIME)
        records: dict[NoticeKey, Record] = {}
        with suppress(Unavailable):
            for some in batched(notices, KEYS_AT_ONCE, strict=False):
                records |= keep_trying(partial(self.notices.read, some), until, self.clock)
        return records

    def _tell_again(self, answered: Iterable[Record]) -> None:
        """Tell of the notices that were closed before: whoever did may have been stopped before the line. Rather twice than never."""
        for record in answered:
            if record.closing is not None and not record.closing.by:
                self._tell_closing(record.notice, record.closing)

    def _tell_closing(self, notice: Notice, closing: Closing) -> None:
        self.story.tell(lines.notice_closed(notice, closing.outcome, closing.reason, closing.at))

    def _describe(self, todo: Sequence[Notice], now: datetime, until: datetime) -> Instances:
        wanted = [notice for notice in todo if needs_describing(notice, now)]
        if not wanted:
            return {}
        last_deadline = max(notice.deadline for notice in wanted)
        instance_ids = {notice.instance_id for notice in wanted}
        return keep_trying(lambda: self.fleet.describe(instance_ids), min(last_deadline, until), self.clock)

    def _give_up(self, todo: Sequence[Notice], untold: Sequence[Plan], error: CallFailed, began: datetime, until: datetime) -> set[NoticeKey]:
        """EC2 did not say what these instances are: what has time left after this invocation goes back to the stream, the rest failed."""
        again = {notice.key for notice in todo if isinstance(error, Unavailable) and notice.deadline > until}
        plans = [
            Plan(notice, str(error), Outcome.FAILED) if needs_describing(notice, began) else decide(notice, None, self.policy, began)
            for notice in todo
            if notice.key not in again
        ]
        return again | self._carry_out(plans, untold, {}, until)

    def _carry_out(self, plans: Sequence[Plan], untold: Sequence[Plan], instances: Instances, until: datetime) -> set[NoticeKey]:
        """Do the asking first, then tell the jobs, then close notices. ``untold`` were asked before, their jobs perhaps not told."""
        put_off: set[NoticeKey] = set()
        plan_of = {plan.notice.key: plan for plan in plans}
        to_close = [plan for plan in plans if not plan.is_checkpoint]
        unwritten: list[Unwritten] = []
        writing: Future[list[Unwritten]] | None = None
        ask = AskCheckpoints(self.commands, self.clock, until)
        with self.beside() as beside:
            for result in ask(plan.notice for plan in plans if plan.is_checkpoint):
                match result:
                    case Asked(notices, command_id):
                        answers = self._tell_asked([plan_of[notice.key] for notice in notices], command_id, instances)
                        unwritten += writing.result() if writing else []
                        is_quick = all(left.trouble.for_good for left in unwritten)
                        writing = beside.submit(self._write_within, QUICK_WRITE if is_quick else NO_WRITE, answers, until)
                    case NotAsked(notice, reason):
                        to_close.append(Plan(notice, reason, Outcome.FAILED, plan_of[notice.key].replaces))
                    case PutOff(notices):
                        put_off |= {notice.key for notice in notices}
            unwritten += writing.result() if writing else []
        self._replace([*(plan for plan in plans if plan.is_checkpoint), *untold], until)
        unwritten += self._close(to_close, instances, until)
        return put_off | self._insist(unwritten, until)

    def _replace(self, plans: Sequence[Plan], until: datetime) -> None:
        """Let the jobs go on elsewhere. Should we crash before, the items name the attempts, and the next delivery does it."""
        waiting = {plan.replaces: plan.notice for plan in plans if plan.replaces is not None}
        trouble: dict[Attempt, Told] = {}
        for pause in pauses():
            if not waiting:
                return
            until = min(until, max(notice.deadline for notice in waiting.values()))
            trouble |= self._tell_jobs(waiting, until)
            if self.clock.now() + timedelta(seconds=pause) >= until:
                break
            if waiting:
                self.clock.sleep(pause)
        for attempt, notice in waiting.items():
            self.story.tell(lines.replacement_asked(notice, attempt, trouble.get(attempt, UNTOLD), self.clock.now()))

    def _tell_jobs(self, waiting: dict[Attempt, Notice], until: datetime) -> dict[Attempt, Told]:
        """Tell each job once while there is time, and the story how that went; leave in ``waiting``, and return why, what is worth another try."""
        trouble: dict[Attempt, Told] = {}
        for attempt, told in self.jobs.interrupted(dict(waiting)):
            if told.is_worth_another_try:
                trouble[attempt] = told
            else:
                self.story.tell(lines.replacement_asked(waiting.pop(attempt), attempt, told, self.clock.now()))
            if self.clock.now() >= until:
                break
        return trouble

    def _close(self, plans: Sequence[Plan], instances: Instances, until: datetime) -> list[Unwritten]:
        now = self.clock.now()
        return self._write(
            [
                Answer(plan.notice, now, instances.get(plan.notice.instance_id), outcome=plan.outcome, reason=plan.reason, replaces=plan.replaces)
                for plan in plans
            ],
            until,
        )

    def _tell_asked(self, plans: Sequence[Plan], command_id: str, instances: Instances) -> list[Answer]:
        """Tell before anything is waited for, and return what is to be written: should we crash before that, all is done and told again."""
        now = self.clock.now()
        for plan in plans:
            self.story.tell(lines.checkpoint_asked(plan.notice, command_id, now))
        return [Answer(plan.notice, now, instances.get(plan.notice.instance_id), command_id=command_id, replaces=plan.replaces) for plan in plans]

    def _write_within(self, time: timedelta, answers: Sequence[Answer], until: datetime) -> list[Unwritten]:
        """Write while the table is quick, so that a crash repeats few commands. Where it is not, the other commands come first."""
        return self._write(answers, min(until, self.clock.now() + time))

    def _write(self, answers: Sequence[Answer], until: datetime) -> list[Unwritten]:
        """Write answers once, telling of the notices closed as it goes; return those that are still to be written."""
        unwritten: list[Unwritten] = []
        for some in batched(answers, self.notices.batch_size, strict=False):
            if self.clock.now() >= until:
                unwritten += (Unwritten(answer, NO_TIME) for answer in some)
            else:
                unwritten += self._write_batch(some)
        return unwritten

    def _write_batch(self, answers: Sequence[Answer]) -> Iterator[Unwritten]:
        """Write as many as one call takes. A notice that was found closed is told as its item has it: whoever closed it may not have heard of it."""
        written = self.notices.answer(answers)
        for answer in answers:
            match written[answer.notice.key]:
                case NotWritten() as trouble:
                    yield Unwritten(answer, trouble)
                case Closing() as earlier:
                    self._tell_closing(answer.notice, earlier)
                case True if answer.outcome is not None:
                    self._tell_closing(answer.notice, Closing(answer.outcome, answer.reason, answer.at, by=""))

    def _insist(self, unwritten: Sequence[Unwritten], until: datetime) -> set[NoticeKey]:
        """Write what is left while there is time; return what is to be delivered again. What never will be written is only told."""
        for pause in pauses():
            waiting = [left.answer for left in unwritten if not left.trouble.for_good]
            if not waiting or self.clock.now() + timedelta(seconds=pause) >= until:
                break
            self.clock.sleep(pause)
            hopeless = [left for left in unwritten if left.trouble.for_good]
            unwritten = [*hopeless, *self._write(waiting, until)]
        for left in unwritten:
            self.story.tell(lines.answer_unwritten(left.answer.notice, left.trouble.reason, self.clock.now(), for_good=left.trouble.for_good))
        return {left.answer.notice.key for left in unwritten if not left.trouble.for_good}
