"""What was seen of one game day. Times are seconds since 1970 on the clock of the account; percents are of the job, 0 to 100."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the agent of one attempt wrote down about itself; None where it never came to it.

    ``previous_percent`` is the job's progress as the agent found it when it took over, ``previous_stopped_at`` when its
    predecessor stopped, or gave its last sign; ``resumed_percent`` is the checkpoint that it went on from (0: from the start).
    """

    number: int
    instance_id: str | None = None
    previous_percent: float | None = None
    previous_stopped_at: float | None = None
    resumed_percent: float | None = None
    started_at: float | None = None
    notice_at: float | None = None
    notice_percent: float | None = None
    stopped_at: float | None = None
    stopped_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One instance of the job. ``ended_at``: when it was first seen shutting down or later; None: not seen to end."""

    instance_id: str
    launched_at: float
    state: str
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    time: float
    percent: float


@dataclass(frozen=True, slots=True)
class Execution:
    """The state machine's execution. ``status`` as Step Functions says it; ``cause`` of a failure; ``redrives`` by a person."""

    started_at: float
    ended_at: float
    status: str
    cause: str = ""
    redrives: int = 0
    events: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end."""
        return self.status == "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class Job:
    """The job's record at the end. ``attempts``: how many were launched."""

    status: str
    percent: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. ``unsaved`` is the metric of all progress, saved or not; ``checkpointed`` that of what is saved."""

    execution: Execution
    job: Job
    attempts: tuple[Attempt, ...] = ()
    machines: tuple[Machine, ...] = ()
    checkpointed: tuple[Sample, ...] = ()
    unsaved: tuple[Sample, ...] = ()

    @property
    def workers(self) -> tuple[Attempt, ...]:
        """The attempts that came to work, in their order."""
        started = [attempt for attempt in self.attempts if attempt.started_at is not None]
        return tuple(sorted(started, key=lambda attempt: attempt.number))
