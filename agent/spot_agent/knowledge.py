"""What the agent knows, and how each fact changes it. Pure: every method returns the new knowledge."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spot_agent.job import Checkpoint, Job

NEVER = float("-inf")
FIRST_RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 8.0
"""The longest wait between two tries of a call that fails; with a deadline ahead it is `HASTE_SECONDS`."""
HASTE_SECONDS = 1.0
BLIND_SECONDS = 10.0
"""Without a look at the item for so long, the agent may have been frozen, or cut off from the table: it looks before it writes or judges."""
GUESSED_CHECKPOINT_SECONDS = 3.0
"""How long a checkpoint takes, while none has been measured."""
RECENT_CHECKPOINTS = 3
"""One quick checkpoint among slow ones is no promise for the last."""
SHUTDOWN = "shutdown"
"""The action of a notice that comes from the operating system and not from EC2."""
SHUTDOWN_SECONDS = 25.0
"""What an operating system that goes down leaves its services, at least, before it kills them."""


class Phase(enum.Enum):
    """Where the agent stands in the life of its attempt."""

    EXPECTED = "the state machine has not named this attempt yet"
    WAITING = "ready, but the job's owner still works"
    CLAIMED = "owner of the job; its last checkpoint is being restored"
    WORKING = "the program runs"
    HANDING_OVER = "the last checkpoint is being saved, the program does not work any more"
    FINISHING = "the program has ended with exit status 0, its result is being saved"
    FAILING = "the attempt has failed; that it stopped is being written"
    LEAVING = "nothing is left but to write the record and tell the state machine"
    OVER = "nothing is left"


class Do(enum.Enum):
    """Everything the agent can do."""

    READ_JOB = "read the job's item"
    LOOK_FOR_NOTICE = "ask IMDS for an interruption notice"
    HEARTBEAT = "send a heartbeat to the state machine"
    ANNOUNCE_READY = "announce that this attempt is ready"
    PREFETCH = "fetch the current checkpoint while waiting"
    CLAIM = "become the job's owner"
    RESTORE = "restore the last checkpoint"
    START = "start the program"
    RECORD_DEADLINE = "write when this instance ends"
    TELL_INTERRUPTED = "tell the state machine of the interruption"
    WRITE_PROGRESS = "write the progress"
    MEASURE = "publish the progress"
    SAVE = "save a checkpoint"
    SAVE_FINAL = "save the final checkpoint"
    SAVE_RESULT = "save the result"
    MARK = "record the checkpoint"
    MARK_STOPPED = "write that this attempt has stopped"
    RECORD_ATTEMPT = "write the attempt's record"
    TELL_RESULT = "tell the state machine the result"
    FINISH = "take the job for finished"
    FAIL = "take the attempt for failed"
    LEAVE = "leave the job"
    STOP = "stop the instance"


SAVES = (Do.SAVE, Do.SAVE_FINAL, Do.SAVE_RESULT)


class Step(NamedTuple):
    """One thing to do, and why, as a person would say it."""

    do: Do
    why: str = ""
    result: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Me:
    """Who this agent is. ``agent_id`` is new in each process, so that not even its own predecessor is taken for it."""

    job_id: str
    attempt: int
    instance_id: str
    agent_id: str


@dataclass(frozen=True)
class Notice:
    """EC2 takes the instance back: ``action`` at ``deadline``, known here since ``seen_at``."""

    action: str
    deadline: float
    seen_at: float


@dataclass(frozen=True)
class Try:
    """The last time that something was tried, and how often it has failed since it last worked.

    ``refusal`` is what AWS answered the last time, and every time since ``refused_since``, if it refused.
    """

    at: float
    failures: int = 0
    refusal: str = ""
    refused_since: float = NEVER


@dataclass(frozen=True)
class Activity:
    """What goes on in the background: one thing at a time, known by its number."""

    number: int
    do: Do
    began: float


@dataclass(frozen=True)
class Saved:
    """A save that ended: the checkpoint (None where the program did not save itself), when its state was captured, how long it all took.

    ``stopped_at`` is when the program did its last work, for a save that ended it.
    """

    do: Do
    checkpoint: Checkpoint | None
    began: float
    seconds: float
    stopped_at: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Leaving:
    """Why the agent leaves the job, since when, and what it still has to tell the state machine."""

    why: str
    since: float
    result: Mapping[str, str] | None = None
    is_clean: bool = True
    """Whether the job was still this agent's: if not, it must not write anything any more."""


@dataclass(frozen=True)
class Known:
    """Everything the agent knows."""

    me: Me
    phase: Phase = Phase.EXPECTED
    since: float = NEVER
    job: Job | None = None
    is_missing: bool = False
    looked_at: float = NEVER
    tries: Mapping[Do, Try] = field(default_factory=dict)
    notice: Notice | None = None
    is_shutting_down: bool = False
    has_told_interruption: bool = False
    spent_token: str = ""
    activity: Activity | None = None
    earlier: Activity | None = None
    """A save that was still going on when the final one began: should that fail, this one is better than nothing."""
    numbers: int = 0
    has_prefetched: bool = False
    is_restored: bool = False
    good: Checkpoint | None = None
    saved: Saved | None = None
    safe_since: float = NEVER
    wanted_since: float = NEVER
    save_due_at: float = float("inf")
    recent_seconds: tuple[float, ...] = ()
    trouble: str = ""
    trouble_at: float = NEVER
    percent: float = 0.0
    exit_status: int | None = None
    ended_at: float = NEVER
    cause: str = ""
    owner_sign: tuple[object, ...] = ()
    owner_sign_at: float = NEVER
    unrecorded: Mapping[str, float | str] = field(default_factory=dict)
    troubles: str = ""
    leaving: Leaving | None = None

    # Questions

    def is_due(self, do: Do, now: float, every: float = 0.0) -> bool:
        """Tell whether it is time to do something again: after ``every`` seconds, or with backoff after a failure."""
        last = self.tries.get(do)
        if last is None:
            return True
        if not last.failures:
            return now - last.at >= every
        patience = HASTE_SECONDS if self.notice or self.is_shutting_down else PATIENCE_SECONDS
        backoff = FIRST_RETRY_SECONDS * 2.0 ** min(last.failures - 1, 10)
        return now - last.at >= min(max(every, backoff), patience)

    def is_doing(self, *dos: Do) -> bool:
        """Tell whether one of these goes on in the background."""
        return self.activity is not None and self.activity.do in dos

    def refusal_of(self, do: Do, seconds: float) -> str:
        """Return how AWS refuses something, if tries more than so many seconds apart were all refused: time without a try proves nothing."""
        last = self.tries.get(do)
        return last.refusal if last is not None and last.at - last.refused_since > seconds else ""

    @property
    def last_look(self) -> float:
        """When the agent last tried to see the job's item."""
        last = self.tries.get(Do.READ_JOB)
        return max(self.looked_at, last.at if last else NEVER)

    def checkpoint_seconds(self, now: float) -> float:
        """Return how long a checkpoint may take: the longest of the last ones here, as measured by an earlier attempt, or guessed.

        One that takes longer than usual at this moment shows that things are slow; but not for ever, since a store out of reach is no
        reason to stop working.
        """
        before = self.job.checkpoint_seconds if self.job else None
        expected = max(self.recent_seconds, default=before or GUESSED_CHECKPOINT_SECONDS)
        present = now - self.activity.began if self.activity and self.activity.do is Do.SAVE else 0.0
        return max(expected, min(present, GUESSED_CHECKPOINT_SECONDS))

    # Facts

    def entered(self, phase: Phase, now: float) -> Known:
        """The agent's life went on to ``phase``."""
        return replace(self, phase=phase, since=now)

    def tried(self, do: Do, now: float, *, worked: bool, refusal: str = "") -> Known:
        """Something was tried; ``refusal`` is AWS's sentence, where it refused."""
        before = self.tries.get(do, Try(now))
        failures = 0 if worked else before.failures + 1
        since = before.refused_since if before.refusal else now
        return replace(self, tries={**self.tries, do: Try(now, failures, refusal, since)})

    def job_seen(self, job: Job | None, now: float) -> Known:
        """The item was read (None: there is none), or came back from a write. One that is assumed leaves the next read as due as it was.

        Silence counts while somebody listens: after a time without a look, in which the owner may have been as cut off as this agent, it begins anew.
        """
        if job is None:
            return replace(self, is_missing=True, looked_at=now)
        sign = (job.owner, job.owner_id, job.percent_at, job.checkpoint, job.handover_until)
        seen = replace(self, job=job, is_missing=False, looked_at=self.looked_at if job.is_assumed else now)
        was_blind = BLIND_SECONDS < now - self.looked_at < float("inf")
        return seen if sign == self.owner_sign and not was_blind else replace(seen, owner_sign=sign, owner_sign_at=now)

    def doubted(self) -> Known:
        """A write found that things are not as known: the item has to be read before anything else is written."""
        return replace(self, looked_at=NEVER).untried(Do.READ_JOB)

    def untried(self, what: Do) -> Known:
        """Something is due at once."""
        tries: dict[Do, Try] = {do: last for do, last in self.tries.items() if do is not what}
        return replace(self, tries=tries)

    def noticed(self, action: str, deadline: float, now: float) -> Known:
        """An interruption notice was seen, by IMDS or by the hook; the earliest deadline counts, the first one asks for a checkpoint."""
        if self.notice is None:
            facts = {} if action == SHUTDOWN else {"notice_at": now, "notice_percent": self.percent}
            return replace(self, notice=Notice(action, deadline, now), wanted_since=now, unrecorded={**self.unrecorded, **facts})
        if deadline < self.notice.deadline:
            return replace(self, notice=replace(self.notice, deadline=deadline))
        return self

    def asked(self, since: float) -> Known:
        """A checkpoint was asked for that is not older than ``since``."""
        return replace(self, wanted_since=max(self.wanted_since, since))

    def shut_down(self, now: float) -> Known:
        """The operating system (or a person) ends the agent: little time is left."""
        return replace(self.noticed(SHUTDOWN, now + SHUTDOWN_SECONDS, now), is_shutting_down=True)

    def began(self, do: Do, now: float) -> Known:
        """Something began in the background."""
        number = self.numbers + 1
        return replace(self, numbers=number, activity=Activity(number, do, now))

    def activity_over(self) -> Known:
        """What went on in the background has ended."""
        return replace(self, activity=None)

    def claimed(self, job: Job, now: float) -> Known:
        """The job is this agent's; ``job`` is its item as the claim left it."""
        return replace(self.job_seen(job, now), percent=job.saved_percent).entered(Phase.CLAIMED, now)

    def restored(self, good: Checkpoint | None) -> Known:
        """The program's directory is as that checkpoint says (None: empty)."""
        return replace(self, is_restored=True, good=good, percent=good.percent if good else 0.0)

    def started(self, now: float, interval: float) -> Known:
        """The program runs; its first checkpoint is due after ``interval`` seconds."""
        return replace(self, save_due_at=now + interval).entered(Phase.WORKING, now)

    def ended(self, status: int, now: float) -> Known:
        """The program ended by itself, or somebody other than this agent ended it."""
        return replace(self, exit_status=status, ended_at=now)

    def stopped(self, at: float, percent: float) -> Known:
        """The program did its last work of this attempt."""
        return replace(self, unrecorded={**self.unrecorded, "stopped_at": at, "stopped_percent": percent})

    def save_ended(self, saved: Saved, now: float) -> Known:
        """A save is done but for its record in the item."""
        recent = (*self.recent_seconds, saved.seconds)[-RECENT_CHECKPOINTS:]
        return replace(self, saved=saved, recent_seconds=recent).tried(saved.do, now, worked=True)

    def save_failed(self, do: Do, why: str, now: float) -> Known:
        """A save came to nothing; it is tried again with backoff."""
        failed = replace(self, trouble=why, trouble_at=now, save_due_at=max(self.save_due_at, now + PATIENCE_SECONDS))
        return failed.tried(do, now, worked=False)

    def marked(self, job: Job, now: float, interval: float) -> Known:
        """The item bears what was saved."""
        saved = self.saved
        if saved is None:
            return self
        seen = replace(self.job_seen(job, now), saved=None, save_due_at=saved.began + interval)
        if saved.checkpoint is None:
            return seen
        return replace(seen, good=saved.checkpoint, safe_since=saved.began, trouble="")

    def overlapped(self) -> Known:
        """The final save begins while another goes on."""
        return replace(self, earlier=self.activity, activity=None)

    def troubled(self, troubles: str) -> Known:
        """These are the latest warnings of the log; the attempt's record is to have them."""
        return self if troubles == self.troubles else replace(self, troubles=troubles, unrecorded={**self.unrecorded, "troubles": troubles})

    def left(self, leaving: Leaving) -> Known:
        """The agent is done with the job."""
        return replace(self, leaving=leaving, activity=None, earlier=None).entered(Phase.LEAVING, leaving.since)
