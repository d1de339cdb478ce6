"""The agent at work: learn what happened, decide, carry out one step, decide again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Callable, NamedTuple

from spot_agent.decisions import decide, kill_time, pause, reply_to
from spot_agent.errors import CallFailed, NotSaved, Overtaken, Refused, Unavailable, Unusable
from spot_agent.job import FINISHED, Job
from spot_agent.knowledge import Do, Known, Leaving, Me, Phase, Saved, Step
from spot_agent.ports import EndedByItself, Mark, Outcome, Ports, Prefetched, Request, Restored

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS_IN_A_TURN = 50
"""Far more than any turn takes; it keeps a mistake from holding the processor."""
BLIPS = 2
"""So many failures in a row are worth a line."""
SIGNAL_SECONDS = 120.0
"""How long a program may take to save itself and exit, where no deadline is nearer."""
KILLED = 137
"""The exit status of a program that SIGKILL ended, as the kernel does where memory runs out."""
CAUSE_CHARACTERS = 4000
"""How much of the program's output the cause of a failure carries; Step Functions takes 256 KB in all."""


class Asked(NamedTuple):
    """A request that waits for its answer: a checkpoint not older than ``since``."""

    request: Request
    since: float


class Agent:
    """One attempt at one job. `turn` is called again and again until `is_over`."""

    def __init__(self, me: Me, ports: Ports) -> None:
        self.known = Known(me, since=ports.clock())
        self.ports = ports
        self._asked: list[Asked] = []
        self._failing: dict[Do, str] = {}
        self._hands: Mapping[Do, Callable[[Step, float], None]] = {
            Do.READ_JOB: self._read_job,
            Do.LOOK_FOR_NOTICE: self._look_for_notice,
            Do.HEARTBEAT: self._heartbeat,
            Do.ANNOUNCE_READY: self._announce_ready,
            Do.PREFETCH: self._prefetch,
            Do.CLAIM: self._claim,
            Do.RESTORE: self._restore,
            Do.START: self._start,
            Do.RECORD_DEADLINE: self._record_deadline,
            Do.TELL_INTERRUPTED: self._tell_interrupted,
            Do.WRITE_PROGRESS: self._write_progress,
            Do.MEASURE: self._measure,
            Do.SAVE: self._save,
            Do.SAVE_FINAL: self._save_final,
            Do.SAVE_RESULT: self._save,
            Do.MARK: self._mark,
            Do.MARK_STOPPED: self._mark_stopped,
            Do.RECORD_ATTEMPT: self._record_attempt,
            Do.TELL_RESULT: self._tell_result,
            Do.FINISH: self._finish,
            Do.FAIL: self._fail,
            Do.LEAVE: self._leave,
            Do.STOP: self._stop,
        }

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.known.phase is Phase.OVER

    def turn(self) -> float:
        """Do all that is to be done now; return the seconds until the next turn, if nothing happens before."""
        self._learn(self.ports.clock())
        failed: set[Do] = set()
        for _ in range(STEPS_IN_A_TURN):
            self.known = self.known.troubled(self.ports.story.troubles())
            # Once a turn: two calls that hang would, by turns, keep all others from being made.
            steps = [step for step in decide(self.known, self.ports.clock()) if step.do not in failed]
            if not steps:
                break
            # What one step brings to light may make the next ones wrong.
            if not self._carry_out(steps[0]):
                failed.add(steps[0].do)
        self._answer()
        return pause(self.known, self.ports.clock())

    def shut_down(self) -> None:
        """Save what can be saved: the operating system goes down, or somebody ends the agent."""
        if not self.known.is_shutting_down:
            self._tell("shutting down", "Asked to end: the work is saved and handed over")
            self.known = self.known.shut_down(self.ports.clock())

    def _carry_out(self, step: Step) -> bool:
        """Carry out one step, and tell whether it worked; a call that fails is tried again when `decide` says so."""
        try:
            self._hands[step.do](step, self.ports.clock())
        except Overtaken as error:
            self.known = self.known.tried(step.do, self.ports.clock(), worked=False).doubted()
            self._failed_once(step.do, error)
        except CallFailed as error:
            refusal = str(error) if isinstance(error, Refused) else ""
            self.known = self.known.tried(step.do, self.ports.clock(), worked=False, refusal=refusal)
            self._failed_once(step.do, error)
        else:
            self.known = self.known.tried(step.do, self.ports.clock(), worked=True)
            if self._failing.pop(step.do, None):
                self._tell("works again", f"Works again: {step.do.value}")
            return True
        return False

    def _failed_once(self, do: Do, error: CallFailed) -> None:
        """Tell a failure when it begins, not with every try; a connection that breaks once is none."""
        kind = type(error).__name__
        is_blip = isinstance(error, Unavailable) and self.known.tries[do].failures < BLIPS
        if self._failing.get(do) != kind and not is_blip:
            self._failing[do] = kind
            self._tell("call failed", f"Could not {do.value}: {error}", trouble=True)

    def _tell(self, event: str, message: str, **facts: object) -> None:
        self.ports.story.tell(event, message, **facts)

    # What has happened

    def _learn(self, now: float) -> None:
        for request in self.ports.requests.arrived():
            self._hear(request, now)
        # First, since a save that finds the program ended is no failure.
        if self.known.phase is Phase.WORKING:
            self._watch_program(now)
        for number, outcome in self.ports.keeper.outcomes():
            if self.known.activity is not None and self.known.activity.number == number:
                self._take(self.known.activity.do, outcome, now)
            elif self.known.earlier is not None and self.known.earlier.number == number:
                self._take_earlier(outcome)

    def _hear(self, request: Request, now: float) -> None:
        """Take a request of the hook; it may be the first to know of an interruption."""
        self._tell("checkpoint asked", f"A checkpoint is asked for ({request.kind})", kind=request.kind)
        if request.kind == "interruption" and request.deadline is not None:
            self._noticed(request.action, request.deadline, now)
            # The metadata service knows the true time: ask it now.
            self.known = self.known.untried(Do.LOOK_FOR_NOTICE)
        notice = self.known.notice
        since = notice.seen_at if notice and request.kind == "interruption" else now
        self._asked.append(Asked(request, since))
        self.known = self.known.asked(since)

    def _noticed(self, action: str, deadline: float, now: float) -> None:
        if self.known.notice is None:
            self._tell("notice", f"EC2 takes this instance back ({action}) in {deadline - now:.1f} s", action=action, deadline=deadline)
        self.known = self.known.noticed(action, deadline, now)

    def _watch_program(self, now: float) -> None:
        percent = self.ports.program.percent()
        if percent is not None:
            self.known = replace(self.known, percent=percent)
        status = self.ports.program.exit_status()
        if status is not None and self.known.exit_status is None:
            self._abandon()
            self.known = self.known.ended(status, now)

    def _take(self, do: Do, outcome: Outcome, now: float) -> None:
        """Take the outcome of what went on in the background."""
        self.known = self.known.activity_over()
        if isinstance(outcome, Restored):
            self._restored(outcome)
        elif isinstance(outcome, Saved):
            self._saved(outcome, now)
        elif isinstance(outcome, EndedByItself):
            self.known = self.known.entered(Phase.WORKING, now)
            # Before the next decision, which would be for the same save again.
            self._watch_program(now)
        elif isinstance(outcome, Exception):
            self._went_wrong(do, outcome, now)
        elif isinstance(outcome, Prefetched):
            self.known = replace(self.known, has_prefetched=True)

    def _take_earlier(self, outcome: Outcome) -> None:
        """Take a save that the final one has overtaken, unless that is there already."""
        self.known = replace(self.known, earlier=None)
        if isinstance(outcome, Saved) and self.known.saved is None:
            self.known = replace(self.known, saved=outcome)

    def _restored(self, restored: Restored) -> None:
        for fault in restored.faults:
            self._tell("checkpoint unusable", f"Checkpoint unusable: {fault}", trouble=True)
        good = restored.checkpoint
        self.known = self.known.restored(good)
        self._tell("restored", f"Restored {good.key} ({good.percent:.2f} %)" if good else "There is no checkpoint: the work begins empty")

    def _saved(self, saved: Saved, now: float) -> None:
        self.known = self.known.save_ended(saved, now)
        if saved.note:
            self._tell("not saved", saved.note, trouble=True)
        if saved.stopped_at is not None:
            percent = saved.checkpoint.percent if saved.checkpoint else self.known.percent
            self.known = self.known.stopped(saved.stopped_at, percent)

    def _went_wrong(self, do: Do, error: Exception, now: float) -> None:
        """What was begun in the background came to nothing."""
        if not isinstance(error, (CallFailed, NotSaved, Unusable)):
            raise error
        if do is Do.RESTORE:
            self._failed(f"the last checkpoint cannot be restored: {error}", now)
        elif do is Do.PREFETCH:
            # It may have been deleted since, for newer ones. The restore will tell whether it matters.
            self.known = replace(self.known, has_prefetched=True)
        elif do is Do.SAVE_RESULT:
            self._failed(f"the result cannot be saved: {error}", now)
        else:
            self._tell("not saved", f"No checkpoint this time: {error}", trouble=True)
            self.known = self.known.save_failed(do, str(error), now)

    # What the state machine and the table are told

    def _read_job(self, _step: Step, now: float) -> None:
        self.known = self.known.job_seen(self.ports.jobs.read(), now)

    def _look_for_notice(self, _step: Step, now: float) -> None:
        shown = self.ports.metadata.notice()
        if shown is not None:
            self._noticed(shown[0], shown[1], now)

    def _heartbeat(self, _step: Step, _now: float) -> None:
        token = self._job.token
        if not self.ports.tasks.heartbeat(token):
            self._tell("heartbeat refused", "The state machine no longer waits for this attempt")
            self.known = replace(self.known, spent_token=token).doubted()

    def _tell_interrupted(self, _step: Step, _now: float) -> None:
        notice, token = self.known.notice, self._job.token
        if notice is None:
            return
        first = self.ports.tasks.succeed(token, {"result": "interrupted", "deadline": notice.deadline})
        self.known = replace(self.known, has_told_interruption=True, spent_token=token)
        self._tell("interruption told", f"The state machine {'is told' if first else 'already knew'} of the interruption")

    def _announce_ready(self, _step: Step, now: float) -> None:
        self.known = self.known.job_seen(self.ports.jobs.announce_ready(), now).entered(Phase.WAITING, now)
        self._tell("ready", f"Ready to take over from attempt {self._job.owner}")

    def _record_deadline(self, _step: Step, now: float) -> None:
        if self.known.notice is not None:
            self.known = self.known.job_seen(self.ports.jobs.record_deadline(self.known.notice.deadline), now)

    def _write_progress(self, _step: Step, now: float) -> None:
        # While it restores, what was done before stays written down: so much of it is done twice, should this attempt not come to work.
        percent = self._job.percent if self.known.phase is Phase.CLAIMED else self.known.percent
        self.known = self.known.job_seen(self.ports.jobs.write_progress(percent, now), now)

    def _record_attempt(self, _step: Step, _now: float) -> None:
        self.ports.jobs.record_attempt(self.known.unrecorded)
        self.known = replace(self.known, unrecorded={})

    def _measure(self, _step: Step, now: float) -> None:
        # The workshop's metrics belong to its demonstration job: other jobs would share them.
        if not self._job.command:
            self.ports.measures.sample(now, self.known.percent, self.known.good.percent if self.known.good else 0.0)

    # Taking over

    @property
    def _job(self) -> Job:
        """The item as last seen; no step that needs it is decided before it was."""
        if self.known.job is None:
            raise AssertionError("decided before the job's item was read")
        return self.known.job

    @property
    def _interval(self) -> float:
        return self._job.checkpoint_minutes * 60

    def _prefetch(self, _step: Step, now: float) -> None:
        checkpoint = self._job.checkpoint
        self.known = self.known.began(Do.PREFETCH, now)
        if checkpoint is not None:
            self.ports.keeper.prefetch(self.known.numbers, checkpoint, self._job)

    def _claim(self, step: Step, _now: float) -> None:
        before = self._job
        job = self.ports.jobs.claim(before.owner)
        self._abandon()
        self.known = replace(self.known.claimed(job, self.ports.clock()), unrecorded={**self.known.unrecorded, **_handed_down(before)})
        self._tell("claimed", f"The job is this attempt's: {step.why}", owner_before=before.owner)

    def _restore(self, _step: Step, now: float) -> None:
        self.known = self.known.began(Do.RESTORE, now)
        self.ports.keeper.restore(self.known.numbers, self._job)

    def _start(self, _step: Step, now: float) -> None:
        try:
            self.ports.program.start(self._job, self.known.me.attempt)
        except (OSError, ValueError) as error:  # ValueError: a NUL character
            self._failed(f"the program cannot be started: {error}", now)
            return
        started = self.ports.clock()
        percent = self.known.good.percent if self.known.good else 0.0
        facts = {**self.known.unrecorded, "started_at": started, "resumed_percent": percent}
        self.known = replace(self.known.started(started, self._interval), unrecorded=facts)
        self._tell("program started", f"The program runs, from {percent:.2f} % on", percent=percent)

    # The program's end

    def _finish(self, _step: Step, now: float) -> None:
        self._tell("program ended", "The program has ended with exit status 0: the job is done")
        self.ports.program.kill()  # what it may have left behind
        known = replace(self.known.stopped(self.known.ended_at, 100.0), percent=100.0, saved=None)
        self.known = known.entered(Phase.FINISHING, now)

    def _fail(self, _step: Step, now: float) -> None:
        self.known = self.known.stopped(self.known.ended_at, self.known.percent)
        self._failed(cause_of(self.known.exit_status or 0, self.ports.program.last_lines()), now)

    def _failed(self, cause: str, now: float) -> None:
        self._tell("attempt failed", f"The attempt has failed: {cause}", trouble=True)
        self._abandon()
        self.known = replace(self.known, cause=cause, saved=None).entered(Phase.FAILING, now)

    # Saving

    def _save(self, step: Step, now: float) -> None:
        self.known = self.known.began(step.do, now)
        self.ports.keeper.save(self.known.numbers, step.do, self._job, now)

    def _save_final(self, step: Step, now: float) -> None:
        if self.known.phase is Phase.WORKING:
            self._tell("hand-over", f"The program is stopped for the final checkpoint: {step.why}")
            self.known = self.known.entered(Phase.HANDING_OVER, now)
        if self.known.is_doing(Do.SAVE):
            self.known = self.known.overlapped()
        self._abandon()
        self.known = self.known.began(Do.SAVE_FINAL, now)
        limit = kill_time(self.known.notice) if self.known.notice else now + SIGNAL_SECONDS
        self.ports.keeper.save(self.known.numbers, Do.SAVE_FINAL, self._job, min(limit, now + SIGNAL_SECONDS))

    def _mark(self, _step: Step, _now: float) -> None:
        """Record a save in the item. From then on the checkpoint counts, and, if it is the last one, the next attempt may go on."""
        saved, before = self.known.saved, self._job
        if saved is None:
            return
        job = self.ports.jobs.mark(self._mark_for(saved))
        now = self.ports.clock()
        self.known = self.known.marked(job, now, self._interval)
        if saved.checkpoint is not None:
            text = f"Checkpoint saved: {saved.checkpoint.percent:.2f} % in {saved.seconds:.2f} s"
            self._tell("checkpoint saved", text, key=saved.checkpoint.key, percent=saved.checkpoint.percent)
            self.ports.keeper.forget(job, _obsolete(before, job))
        self._measure(_step, now)
        if saved.do is Do.SAVE_FINAL:
            self._depart(f"the job is handed over to attempt {max(job.attempt, self.known.me.attempt + 1)}", now, None)
        elif saved.do is Do.SAVE_RESULT:
            self._depart("the job is finished", now, {"result": "finished"})

    def _mark_for(self, saved: Saved) -> Mark:
        is_result = saved.do is Do.SAVE_RESULT
        percent = 100.0 if is_result else saved.checkpoint.percent if saved.checkpoint else None
        return Mark(
            checkpoint=saved.checkpoint,
            before=self.known.good,
            seconds=saved.seconds if saved.checkpoint else None,
            percent=percent if saved.do is not Do.SAVE else None,
            is_final=saved.do is not Do.SAVE,
            is_finished=is_result,
            stopped_at=saved.stopped_at,
        )

    def _mark_stopped(self, step: Step, _now: float) -> None:
        """Let the next attempt go on from the last good checkpoint; an attempt that gives way has done no work."""
        stopped = self.known.unrecorded.get("stopped_at")
        self.ports.jobs.mark(Mark(is_final=True, stopped_at=None if stopped is None else float(stopped)))
        result = {"result": "failed", "cause": self.known.cause} if self.known.phase is Phase.FAILING else None
        self._depart(step.why, self.ports.clock(), result)

    def _abandon(self) -> None:
        """Let go of what goes on in the background."""
        if self.known.activity is not None:
            self.ports.keeper.abandon(self.known.activity.number)
            self.known = self.known.activity_over()

    def _abandon_all(self) -> None:
        """Let go of an earlier save as well."""
        self._abandon()
        if self.known.earlier is not None:
            self.ports.keeper.abandon(self.known.earlier.number)

    # The end

    def _leave(self, step: Step, now: float) -> None:
        """End the program at once, whatever it does: it is not this attempt's turn (any more)."""
        self._depart(step.why, now, step.result)

    def _depart(self, why: str, now: float, result: Mapping[str, str] | None) -> None:
        self._abandon_all()
        self.ports.program.kill()
        me, job = self.known.me, self.known.job
        is_clean = job is not None and (job.owner, job.owner_id) == (me.attempt, me.agent_id)
        self.known = self.known.left(Leaving(why, now, result, is_clean=is_clean))
        self._tell("leaves", f"This attempt has ended: {why}", trouble=not is_clean)

    def _tell_result(self, step: Step, _now: float) -> None:
        result, token = step.result or {}, self._job.token
        taken = self.ports.tasks.succeed(token, result)
        self.known = replace(self.known, spent_token=token)
        if taken and self.known.leaving is not None:
            self.known = replace(self.known, leaving=replace(self.known.leaving, result=None))
            self._tell("told", f"The state machine is told: {result.get('result')}")
        elif result.get("result") == FINISHED:
            self._tell("token spent", "This token is no longer waited for: the next one is told")

    def _stop(self, _step: Step, now: float) -> None:
        if self.known.leaving is None or self.known.leaving.is_clean:
            self.ports.measures.flush()
        self.known = self.known.entered(Phase.OVER, now)
        self._answer()
        if not self.known.is_shutting_down:
            self._tell("stops", "The instance is stopped")
            self.ports.machine.stop()

    # The hook

    def _answer(self) -> None:
        """Answer those whose checkpoint is there, or will not come."""
        waiting = []
        for asked in self._asked:
            reply = reply_to(self.known, asked.since)
            if reply is None:
                waiting.append(asked)
            else:
                self.ports.requests.answer(asked.request, *reply)
        self._asked = waiting


def cause_of(status: int, lines: list[str]) -> str:
    """Return a failed program's exit status and the end of its output, as the execution's cause has it."""
    output = "\n".join(lines)[-CAUSE_CHARACTERS:]
    guess = " (killed; out of memory, as a rule)" if status == KILLED else ""
    return f"exit status {status}{guess}: {output or 'no output'}"


def _handed_down(job: Job) -> dict[str, float]:
    """Return what is known of the work before a claim: how far it was, and when it stopped (its last sign of life, where it did not say)."""
    if not job.owner:
        return {}
    stopped = job.stopped_at if job.final == job.owner and job.stopped_at else job.percent_at
    facts = {"previous_percent": job.percent}
    return {**facts, "previous_stopped_at": stopped} if stopped else facts


def _obsolete(before: Job, now: Job) -> list[str]:
    """Return the keys of checkpoints that the item does not name any more."""
    kept = {checkpoint.key for checkpoint in (now.checkpoint, now.checkpoint_before) if checkpoint}
    return [c.key for c in (before.checkpoint, before.checkpoint_before) if c and c.key not in kept]
