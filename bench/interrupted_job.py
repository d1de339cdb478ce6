"""A long job on Spot Instances that are taken back at random: how long it takes and for how many instance seconds it pays.

A worker begins, works, and saves at intervals, standing still meanwhile. Interruptions come at random with a constant rate (a
Poisson process) while it works. A notice comes 120 s ahead, but for a share of them it never does: AWS sends them on a best-effort
basis. What happens then is what the designs differ in (`DESIGNS`). Seconds throughout; an instance is paid from its launch until its
work is stopped. That EC2 charges nothing for an instance that it takes back within its first hour is left out: real money is less.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

type Seconds = NDArray[np.float64]

NOTICE = 120.0
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""
GAP = 70.0
"""Without a worker, from the end of one to the start of the next: the FIS workshop's own run (21:59:40 to 22:00:50)."""
BOOT = 40.0
"""From launch to the agent's being ready, as ``python -m gameday`` measures it; the last part of the gap above."""
HAND_OVER = 0.2
"""Without a worker beyond the final checkpoint's saving and loading: `seconds_without_worker` of ``python -m gameday`` at real time."""
SAFETY_FACTOR, MARGIN = 1.5, 3.0
"""When the agent begins its final checkpoint at the latest: ``SAFETY_FACTOR`` and ``LONGEST_MARGIN_SECONDS`` of spot_agent.decisions."""
PATIENCE = 20
"""A job that has taken so many times its work is given up."""


@dataclass(frozen=True, slots=True)
class Job:
    """``work`` without any checkpoint; a checkpoint takes ``checkpoint`` to save and as long to load, one after each ``interval`` of work."""

    work: float
    checkpoint: float
    interval: float = inf

    def duration(self, work: Seconds) -> Seconds:
        """Return how long that much work takes, uninterrupted; none is saved at its end."""
        checkpoints: Seconds = np.maximum(np.ceil(work / self.interval) - 1, 0)
        return work + self.checkpoint * checkpoints

    def done(self, time: Seconds) -> Seconds:
        """Return the work that a worker has done after a time."""
        if self.interval == inf:
            return time
        cycles, rest = np.divmod(time, self.interval + self.checkpoint)
        return cycles * self.interval + np.minimum(rest, self.interval)

    def saved(self, time: Seconds) -> Seconds:
        """Return the work that its last whole checkpoint holds."""
        if self.interval == inf:
            return np.zeros_like(time)
        return np.floor(time / (self.interval + self.checkpoint)) * self.interval


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ends, counted from the notice, or without one from its death.

    It works on for ``works``, having stood still for ``pause``; then all its work is saved, or only what the last checkpoint holds. The
    next one works after ``resumes``; until then ``paid`` instance seconds are paid.
    """

    works: float
    is_saved: bool
    resumes: float
    paid: float
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Design:
    """A way to run a job. Both functions take the seconds that a checkpoint takes."""

    name: str
    has_checkpoints: bool
    warned: Callable[[float], End]
    unwarned: Callable[[float], End]


def _dies(after: float, load: float) -> End:
    return End(works=after, is_saved=False, resumes=after + GAP + load, paid=after + BOOT + load)


def _saves_and_ends(checkpoint: float) -> End:
    """Save at the notice, end, and launch the next one: the FIS workshop."""
    if checkpoint > NOTICE:
        return _dies(0, checkpoint)
    return End(works=0, is_saved=True, resumes=checkpoint + GAP + checkpoint, paid=checkpoint + BOOT + checkpoint)


def _hands_over(checkpoint: float) -> End:
    """Save at the notice, work on until the next one is ready or time is short, save again: docs/job-contract.md."""
    if checkpoint > NOTICE:
        return _dies(NOTICE, checkpoint)
    stop = min(BOOT, max(NOTICE - MARGIN - SAFETY_FACTOR * checkpoint, 0))
    pause = min(checkpoint, stop)
    end = stop + checkpoint
    resumes = max(end, BOOT) + checkpoint + HAND_OVER
    return End(works=stop - pause, is_saved=True, resumes=resumes, paid=end + resumes, pause=pause)


DESIGNS = (
    Design("no checkpoints", has_checkpoints=False, warned=lambda _: _dies(NOTICE, 0), unwarned=lambda _: _dies(0, 0)),
    Design("periodic only", has_checkpoints=True, warned=lambda c: _dies(NOTICE, c), unwarned=lambda c: _dies(0, c)),
    Design("workshop", has_checkpoints=True, warned=_saves_and_ends, unwarned=lambda c: _dies(0, c)),
    Design("ours", has_checkpoints=True, warned=_hands_over, unwarned=lambda c: _dies(0, c)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Means: ``time`` until the job is done, ``paid`` instance seconds, ``interruptions``; the share of jobs that was ``finished`` in time.

    ``lost`` are the seconds that one interruption costs. Where not all jobs finish before patience ends, the means are those of the
    time until then, less than the truth.
    """

    time: float
    paid: float
    interruptions: float
    lost: float
    finished: float


def simulate(design: Design, job: Job, rate: float, missing: float, runs: int, rng: np.random.Generator) -> Outcome:
    """Return what a job comes to, with ``rate`` interruptions a second, of which a share ``missing`` comes without notice.

    All runs are such that are interrupted at least once, which may be rare; how rare is known exactly, and so is the time of the others.
    """
    job = job if design.has_checkpoints else Job(job.work, job.checkpoint)
    uninterrupted = float(job.duration(np.array(job.work)))
    share = 1 - exp(-rate * uninterrupted)
    first = -np.log1p(-share * rng.random(runs)) / rate
    time, paid, ends, finished = _run(design, job, first, rate, missing, rng)
    return Outcome(
        time=share * time + (1 - share) * uninterrupted,
        paid=share * paid + (1 - share) * uninterrupted,
        interruptions=share * ends,
        lost=(time - uninterrupted) / ends,
        finished=share * finished + (1 - share),
    )


def _run(design: Design, job: Job, first: Seconds, rate: float, missing: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Run jobs side by side, each worker a step; ``first`` is how long the first workers live, or until their notice.

    Return the means of time, paid seconds and interruptions, and the share of jobs that is done.
    """
    left, time, paid, ends = np.full(first.size, job.work), np.zeros(first.size), np.zeros(first.size), np.zeros(first.size)
    warned, unwarned = design.warned(job.checkpoint), design.unwarned(job.checkpoint)
    going, life = np.arange(first.size), first
    while going.size:
        is_warned = rng.random(going.size) >= missing
        until = life + np.where(is_warned, warned.works, unwarned.works)
        needed = job.duration(left[going])
        is_done = needed <= until
        last = needed + np.where(needed > life, warned.pause, 0)
        time[going] += np.where(is_done, last, life + np.where(is_warned, warned.resumes, unwarned.resumes))
        paid[going] += np.where(is_done, last, life + np.where(is_warned, warned.paid, unwarned.paid))
        ends[going] += needed > life
        kept = np.where(is_warned & warned.is_saved, job.done(until), job.saved(until))
        left[going] = np.where(is_done, 0, left[going] - kept)
        going = going[~is_done & (time[going] < PATIENCE * job.work)]
        life = rng.exponential(1 / rate, going.size)
    return float(time.mean()), float(paid.mean()), float(ends.mean()), float((left == 0).mean())


def young(checkpoint: float, rate: float) -> float:
    """Return the interval between checkpoints that wastes least, to first order: J. W. Young, CACM 17 (9), 1974, doi:10.1145/361147.361115."""
    return sqrt(2 * checkpoint / rate) if rate else inf


def daly(checkpoint: float, rate: float) -> float:
    """Return it to a higher order: J. T. Daly, Future Generation Computer Systems 22 (3), 2006, doi:10.1016/j.future.2004.11.016, eq. 37.

    ``rate`` is that of the failures that cost work: interruptions whose notice never comes, where a notice saves everything.
    """
    if not rate:
        return inf
    mean = 1 / rate
    if checkpoint >= 2 * mean:
        return mean
    part = checkpoint / (2 * mean)
    return sqrt(2 * checkpoint * mean) * (1 + sqrt(part) / 3 + part / 9) - checkpoint
