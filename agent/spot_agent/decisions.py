"""What to do next, given what is known. Pure and total: `decide` has an answer for every knowledge and every time.

Three rules stand above all others:

- Nothing is written before the item has been looked at within the last seconds. An agent that was frozen and wakes up after
  its replacement took over sees that first, and then writes nothing at all.
- The program is not stopped before the replacement is ready, or the last moment has come in which its state can be saved.
- Only the owner runs the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spot_agent.job import FINISHED, RUNNING, Job
from spot_agent.knowledge import BLIND_SECONDS, NEVER, SAVES, Do, Known, Notice, Phase, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_SECONDS: Mapping[Phase, float] = {Phase.EXPECTED: 0.5, Phase.WAITING: 0.3}
"""How often the item is read: closely by those who wait for it."""
CALM_READ_SECONDS = 2.0
HANDOVER_READ_SECONDS = 0.5
NOTICE_SECONDS = 2.0
"""AWS advises to look every 5 seconds; a little oftener costs nothing and brings the replacement sooner.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""
HEARTBEAT_SECONDS = 10.0
PROGRESS_SECONDS = 2.0
SIGN_OF_LIFE_SECONDS = 10.0
"""The owner writes at least so often, whether its percentage has changed or not."""
SILENCE_SECONDS = 30.0
"""An owner of which the attempt that waits has seen nothing new for so long, in reads that worked, is taken for dead by it."""
LAST_RECORD_SECONDS = 10.0
"""An agent that is done tries for so long to write what its attempt's record lacks."""
LAST_SAVE_SECONDS = 900.0
"""An owner that has stopped working, and cannot save for so long, gives no sign of life any more: the attempt that waits may go on."""
MEASURE_SECONDS = 1.0
SAFETY_FACTOR = 1.5
LONGEST_MARGIN_SECONDS = 3.0
SHORTEST_MARGIN_SECONDS = 1.0
MARGIN_SHARE = 0.1
"""So many times the longest of the last checkpoints, and a margin of 3 s or a tenth of a short notice, are left when the final one begins."""
KILL_SHARE = 2 / 3
"""Of the margin, 2 s of the longest: a fixed time would leave the program none to save itself after a short notice."""
LAST_WORD_SECONDS = 60.0
"""How long the agent tries to tell the state machine how it ended."""
REFUSED_SECONDS = 600.0
"""What AWS refuses for so long it will not permit any more: the table or the right to it is gone. Shorter is a slip that somebody mends."""
ESSENTIAL = (Do.READ_JOB, Do.CLAIM, Do.MARK)
"""Without these no attempt comes to an end."""
EXPECTED_SECONDS = 900.0
"""How long it waits for the state machine to name its attempt."""
GRACE_SECONDS = 1.0
SIGNALLED = 128
"""A greater exit status means that a signal ended the program: this plus the signal's number."""

Steps = tuple[Step, ...]


def decide(known: Known, now: float) -> Steps:
    """Return what to do now, in this order; nothing where there is only to wait."""
    if known.phase is Phase.OVER:
        return ()
    if known.phase is Phase.LEAVING:
        return _leaving(known, now)
    end = _reason_to_leave(known)
    if end is not None:
        return (end,)
    steps = [Step(Do.READ_JOB)] if _read_is_due(known, now) else []
    if now - known.last_look >= BLIND_SECONDS:
        return tuple(steps)
    own = _PHASES[known.phase](known, now)
    if _is_urgent(known, now):
        # Before anything that might keep the agent waiting.
        return own
    marks = [step for step in own if step.do is Do.MARK]
    return (*steps, *marks, *_notice(known, now), *_heartbeat(known, now), *own)


def _is_urgent(known: Known, now: float) -> bool:
    """Tell whether this is the time that is left for the last checkpoint and its record."""
    if known.phase is Phase.WORKING:
        return known.exit_status is None and now >= last_moment(known, now)
    is_saving = known.phase in (Phase.HANDING_OVER, Phase.FINISHING)
    return is_saving and known.notice is not None and last_moment(known, now) <= now < known.notice.deadline


def pause(known: Known, now: float) -> float:
    """Return how many seconds the agent may sleep when nothing wakes it."""
    tick = READ_SECONDS.get(known.phase, 1.0 if known.phase is Phase.WORKING else HANDOVER_READ_SECONDS)
    if known.exit_status is not None:
        tick = min(tick, 0.1)
    elif known.phase is Phase.WORKING and known.notice is not None:
        tick = min(HANDOVER_READ_SECONDS, max(last_moment(known, now) - now, 0.05))
    return tick


def last_moment(known: Known, now: float) -> float:
    """Return when the final checkpoint has to begin, at the latest; infinite without a notice."""
    if known.notice is None:
        return float("inf")
    return known.notice.deadline - (SAFETY_FACTOR * known.checkpoint_seconds(now) + _margin(known.notice))


def kill_time(notice: Notice) -> float:
    """Return when a program that was told to save and exit is killed, since after that its work can hardly be saved any more."""
    return notice.deadline - KILL_SHARE * _margin(notice)


def _margin(notice: Notice) -> float:
    return min(max(MARGIN_SHARE * (notice.deadline - notice.seen_at), SHORTEST_MARGIN_SECONDS), LONGEST_MARGIN_SECONDS)


# At any time


def _reason_to_leave(known: Known) -> Step | None:
    """Return the step that ends it all where the item says so, or AWS for good does not let the agent do its work."""
    job = known.job
    if known.is_shutting_down and known.phase in (Phase.EXPECTED, Phase.WAITING):
        return Step(Do.LEAVE, "the instance shuts down")
    cause = _hopeless(known)
    if cause:
        return Step(Do.LEAVE, cause, {"result": "failed", "cause": cause})
    if job is None:
        return None
    if job.status == FINISHED and known.phase is not Phase.FINISHING:
        return Step(Do.LEAVE, "the job is finished", {"result": "finished"} if _has_token(known) else None)
    if job.status not in (RUNNING, FINISHED):
        return Step(Do.LEAVE, f"the job's status is {job.status}")
    why = _before_the_claim(known, job) if known.phase in (Phase.EXPECTED, Phase.WAITING) else _after_the_claim(known, job)
    return Step(Do.LEAVE, why) if why else None


def _hopeless(known: Known) -> str:
    if known.is_missing:
        return f"the item of job {known.me.job_id} does not exist in the jobs table"
    refusal = next(filter(None, (known.refusal_of(do, REFUSED_SECONDS) for do in ESSENTIAL)), "")
    return f"refused for {REFUSED_SECONDS / 60:.0f} minutes: {refusal}" if refusal else ""


def _before_the_claim(known: Known, job: Job) -> str:
    me = known.me
    if known.phase is Phase.EXPECTED and job.attempt > me.attempt:
        return f"superseded: attempt {job.attempt} has been launched"
    if job.ready > me.attempt or job.owner > me.attempt:
        return f"superseded: attempt {max(job.ready, job.owner)} has come first"
    if job.attempt == me.attempt and job.token and job.instance_id != me.instance_id:
        return f"superseded: instance {job.instance_id or 'unknown'} has attempt {me.attempt}"
    return ""


def _after_the_claim(known: Known, job: Job) -> str:
    me = known.me
    if job.owner != me.attempt:
        return f"fenced off: the job belongs to attempt {job.owner}"
    if job.owner_id != me.agent_id:
        return "fenced off: another agent of the same attempt has taken the job"
    return ""


def _read_is_due(known: Known, now: float) -> bool:
    every = READ_SECONDS.get(known.phase, CALM_READ_SECONDS)
    if known.phase is Phase.WORKING and known.job is not None and known.job.attempt > known.me.attempt:
        every = HANDOVER_READ_SECONDS
    return now - known.looked_at >= every and known.is_due(Do.READ_JOB, now, every)


def _notice(known: Known, now: float) -> Steps:
    """Look for a notice; tell the state machine of one, which launches the replacement."""
    steps: list[Step] = []
    if known.is_due(Do.LOOK_FOR_NOTICE, now, NOTICE_SECONDS):
        steps.append(Step(Do.LOOK_FOR_NOTICE))
    tells = known.notice is not None and not known.is_shutting_down and not known.has_told_interruption
    if tells and _has_token(known) and known.phase is not Phase.FINISHING and known.is_due(Do.TELL_INTERRUPTED, now):
        steps.append(Step(Do.TELL_INTERRUPTED))
    return tuple(steps)


def _has_token(known: Known) -> bool:
    """Whether the token of this attempt is known and, for all that is known, still waited for."""
    job = known.job
    return job is not None and job.attempt == known.me.attempt and job.token not in ("", known.spent_token)


def _heartbeat(known: Known, now: float) -> Steps:
    if _has_token(known) and known.is_due(Do.HEARTBEAT, now, HEARTBEAT_SECONDS):
        return (Step(Do.HEARTBEAT),)
    return ()


# Before the work


def _expected(known: Known, now: float) -> Steps:
    job = known.job
    if job is not None and job.attempt == known.me.attempt and job.token:
        return _waiting(known, now)
    if now - known.since > EXPECTED_SECONDS:
        return (Step(Do.LEAVE, f"the state machine has not named attempt {known.me.attempt} in {EXPECTED_SECONDS:.0f} s"),)
    return ()


def _waiting(known: Known, now: float) -> Steps:
    """Take the job where nobody works on it; else be ready for it, with its current checkpoint at hand."""
    job = known.job
    if job is None:
        return ()
    free = why_free(known, now)
    if free and not _is_doomed(known, now):
        return (Step(Do.CLAIM, free),) if known.is_due(Do.CLAIM, now) else ()
    if free or (known.notice is not None and job.ready != known.me.attempt):
        # Its own end is near: another replacement is on its way, for which the owner should wait.
        return ()
    steps: list[Step] = []
    if job.ready != known.me.attempt and known.is_due(Do.ANNOUNCE_READY, now):
        steps.append(Step(Do.ANNOUNCE_READY))
    if job.checkpoint is not None and not known.has_prefetched and known.activity is None:
        steps.append(Step(Do.PREFETCH))
    return tuple(steps)


def why_free(known: Known, now: float) -> str:
    """Return why nobody works on the job, so that it may be claimed; empty where somebody does."""
    job, me = known.job, known.me
    if job is None:
        return ""
    has_passed = job.handover_until is not None and now > job.handover_until + GRACE_SECONDS
    is_silent = known.looked_at - known.owner_sign_at > SILENCE_SECONDS and now - known.looked_at < BLIND_SECONDS
    reasons = (
        (job.owner == 0, "nobody has worked on it yet"),
        (job.owner == me.attempt, "an earlier agent on this instance has ended"),
        (job.final == job.owner, f"attempt {job.owner} has saved its final checkpoint"),
        # It is about the attempt before this one, which need not be the owner.
        (job.previous_dead and job.owner == me.attempt - 1, f"attempt {job.owner} is gone"),
        (has_passed, f"the deadline of attempt {job.owner} has passed"),
        (is_silent, f"attempt {job.owner} has been silent for {SILENCE_SECONDS:.0f} s"),
    )
    return next((why for holds, why in reasons if holds), "")


def _is_doomed(known: Known, now: float) -> bool:
    """Tell whether this instance ends too soon to do anything useful."""
    return known.is_shutting_down or now >= last_moment(known, now)


def _claimed(known: Known, now: float) -> Steps:
    """Restore, then start; give way where another attempt is already ready, or this instance is about to end."""
    if _is_doomed(known, now) or (known.job is not None and known.job.ready > known.me.attempt):
        why = "it gives way before its work has begun"
        return (Step(Do.MARK_STOPPED, why),) if known.is_due(Do.MARK_STOPPED, now) else ()
    if known.is_restored:
        return (Step(Do.START),)
    return (Step(Do.RESTORE),) if known.activity is None else _sign_of_life(known, now)


# The work


def _working(known: Known, now: float) -> Steps:
    if known.exit_status is not None:
        return _ended(known, now)
    why = why_hand_over(known, now)
    if why:
        return (Step(Do.SAVE_FINAL, why),)
    return (*_deadline(known, now), *_saving(known, now), *_progress(known, now), *_record(known, now))


def _ended(known: Known, now: float) -> Steps:
    """Judge the end of the program.

    A shutdown's SIGTERM may reach the program before it reaches the agent: for a moment, an end by a signal is not called a failure.
    """
    if known.exit_status == 0:
        return (Step(Do.FINISH),)
    if known.is_shutting_down:
        return (Step(Do.SAVE_FINAL, "the instance shuts down"),)
    by_signal = known.exit_status is not None and known.exit_status > SIGNALLED
    return (Step(Do.FAIL),) if not by_signal or now - known.ended_at >= GRACE_SECONDS else ()


def why_hand_over(known: Known, now: float) -> str:
    """Return why the program has to stop now; empty where it works on.

    A save that goes on is awaited when only the replacement is ready: the old program works meanwhile, so nothing is lost.
    """
    if known.is_shutting_down:
        return "the instance shuts down"
    if now >= last_moment(known, now) and known.notice is not None:
        return f"{max(known.notice.deadline - now, 0):.1f} s are left"
    if known.job is not None and known.job.ready > known.me.attempt and not known.is_doing(*SAVES):
        return f"attempt {known.job.ready} is ready"
    return ""


def _deadline(known: Known, now: float) -> Steps:
    job, notice = known.job, known.notice
    if job is None or notice is None or (job.handover_until is not None and job.handover_until <= notice.deadline):
        return ()
    return (Step(Do.RECORD_DEADLINE),) if known.is_due(Do.RECORD_DEADLINE, now) else ()


def _saving(known: Known, now: float) -> Steps:
    if known.saved is not None:
        return (Step(Do.MARK),) if known.is_due(Do.MARK, now) else ()
    if known.activity is not None:
        return ()
    if known.wanted_since > known.safe_since and known.is_due(Do.SAVE, now):
        return (Step(Do.SAVE, "asked for"),)
    return (Step(Do.SAVE, "at the interval"),) if now >= known.save_due_at else ()


def _progress(known: Known, now: float) -> Steps:
    job = known.job
    steps: list[Step] = []
    if job is not None:
        changed = known.percent != job.percent
        if known.is_due(Do.WRITE_PROGRESS, now, PROGRESS_SECONDS if changed else SIGN_OF_LIFE_SECONDS):
            steps.append(Step(Do.WRITE_PROGRESS))
    if known.is_due(Do.MEASURE, now, MEASURE_SECONDS):
        steps.append(Step(Do.MEASURE))
    return tuple(steps)


def _sign_of_life(known: Known, now: float) -> Steps:
    """Let the attempt that waits know that this one is still at it, while a restore or the last save takes its time."""
    return (Step(Do.WRITE_PROGRESS),) if known.is_due(Do.WRITE_PROGRESS, now, SIGN_OF_LIFE_SECONDS) else ()


def _record(known: Known, now: float) -> Steps:
    return (Step(Do.RECORD_ATTEMPT),) if known.unrecorded and known.is_due(Do.RECORD_ATTEMPT, now) else ()


# The end


def _handing_over(known: Known, now: float) -> Steps:
    """Record the last save. After the deadline, too, while the instance is still there: the fence alone says when it is too late."""
    if known.saved is not None:
        return (Step(Do.MARK),) if known.is_due(Do.MARK, now) else ()
    if known.activity is None and known.is_due(_LAST_SAVE[known.phase], now):
        return (Step(_LAST_SAVE[known.phase]),)
    return (*_sign_of_life(known, now), *_record(known, now)) if now - known.since < LAST_SAVE_SECONDS else ()


_LAST_SAVE = {Phase.HANDING_OVER: Do.SAVE_FINAL, Phase.FINISHING: Do.SAVE_RESULT}


def _failing(known: Known, now: float) -> Steps:
    """Write that this attempt has stopped, so that the next need not wait; then tell how it ended."""
    if now - known.since > LAST_WORD_SECONDS:
        return (Step(Do.LEAVE, known.cause, _failure(known)),)
    return (Step(Do.MARK_STOPPED, known.cause),) if known.is_due(Do.MARK_STOPPED, now) else ()


def _failure(known: Known) -> Mapping[str, str]:
    return {"result": "failed", "cause": known.cause}


def _leaving(known: Known, now: float) -> Steps:
    """Write the record and tell the state machine, each for a while; then stop the instance. A shutdown waits for no second try."""
    leaving = known.leaving
    if leaving is None:
        return (Step(Do.STOP),)
    is_recording = leaving.is_clean and known.unrecorded and now - leaving.since < LAST_RECORD_SECONDS
    if is_recording and known.is_due(Do.RECORD_ATTEMPT, now):
        return (Step(Do.RECORD_ATTEMPT),)
    if leaving.result is None or now - leaving.since > LAST_WORD_SECONDS:
        return () if is_recording and not known.is_shutting_down else (Step(Do.STOP),)
    return _last_word(known, now, leaving.result)


def _last_word(known: Known, now: float, result: Mapping[str, str]) -> Steps:
    """The token may have been used up by an interruption: the next one is then told that the job is finished.

    That this attempt has failed is for its own token only; that the item is gone concerns whoever waits.
    """
    job = known.job
    is_for_all = known.is_missing or result["result"] == FINISHED
    if job is not None and job.token not in ("", known.spent_token) and (is_for_all or job.attempt == known.me.attempt):
        return (Step(Do.TELL_RESULT, result=result),) if known.is_due(Do.TELL_RESULT, now) else ()
    if result["result"] != FINISHED or known.is_missing or job is None:
        return (Step(Do.STOP),)
    return (Step(Do.READ_JOB),) if known.is_due(Do.READ_JOB, now, GRACE_SECONDS) else ()


_PHASES = {
    Phase.EXPECTED: _expected,
    Phase.WAITING: _waiting,
    Phase.CLAIMED: _claimed,
    Phase.WORKING: _working,
    Phase.HANDING_OVER: _handing_over,
    Phase.FINISHING: _handing_over,
    Phase.FAILING: _failing,
}


# The hook


def reply_to(known: Known, since: float) -> tuple[bool, str] | None:
    """Return the answer to one who asks for a checkpoint that is not older than ``since``; None: not yet."""
    if known.phase in (Phase.EXPECTED, Phase.WAITING, Phase.CLAIMED):
        return True, f"nothing to save: attempt {known.me.attempt} has not begun its work"
    if known.safe_since >= since and known.safe_since > NEVER:
        return True, f"saved at {known.good.percent:g} %" if known.good else "saved"
    if known.phase in (Phase.LEAVING, Phase.OVER):
        return False, known.leaving.why if known.leaving else "the agent has ended"
    if known.trouble and known.trouble_at >= since:
        return False, known.trouble
    return None
