"""From the evidence to the figures. Pure.

How each is measured:

- *work done twice*: what a worker had reached when it stopped, less what its successor went on from. A worker that was
  stopped in good order wrote down both; of one that just died, the last sign counts: the newest of its metrics and of the
  progress that the successor found.
- *seconds without a worker*: from a worker's stop, or from its last sign, to the start of its successor's program.
- *uninterrupted run*: the job's work and one boot, the first one, as measured (from the execution's start to the work's).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gameday.evidence import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gameday.evidence import Attempt, Evidence
    from gameday.experiment import Plan

METRIC_RESOLUTION_SECONDS = 1.0
"""CloudWatch gives a high-resolution sample the start of its second (PutMetricData, ``StorageResolution``)."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """From one worker to the next. Times are the account's; ``reached`` and ``resumed`` are percents of the job."""

    left: int
    right: int
    stopped_at: float
    resumed_at: float
    reached: float
    resumed: float

    @property
    def recomputed(self) -> float:
        """The percent that is done twice."""
        return max(0.0, self.reached - self.resumed)

    @property
    def gap(self) -> float:
        """Seconds on the account's clock without a worker."""
        return max(0.0, self.resumed_at - self.stopped_at)


@dataclass(frozen=True, slots=True)
class Figures:
    """Percents of the job; seconds at real scale; None: not measured."""

    attempts: int
    percent_at_notice: float | None
    percent_resumed_from: float | None
    recomputed_percent: float
    recomputed_seconds: float
    seconds_without_worker: float
    replacement_launched_seconds: float | None
    total_seconds: float
    uninterrupted_seconds: float | None
    history_events: int
    hand_overs: tuple[HandOver, ...]


def figures_of(evidence: Evidence, plan: Plan) -> Figures:
    """Return the figures of one game day."""
    hand_overs = tuple(_hand_overs(evidence))
    recomputed = sum(each.recomputed for each in hand_overs)
    return Figures(
        attempts=evidence.job.attempts,
        percent_at_notice=_percent_at_notice(evidence, hand_overs),
        percent_resumed_from=hand_overs[0].resumed if hand_overs else None,
        recomputed_percent=recomputed,
        recomputed_seconds=recomputed / 100 * plan.job_seconds,
        seconds_without_worker=plan.scale.real(sum(each.gap for each in hand_overs)),
        replacement_launched_seconds=_replacement_launched(evidence, plan),
        total_seconds=plan.scale.real(evidence.execution.ended_at - evidence.execution.started_at),
        uninterrupted_seconds=_uninterrupted(evidence, plan),
        history_events=evidence.execution.events,
        hand_overs=hand_overs,
    )


def _hand_overs(evidence: Evidence) -> Iterator[HandOver]:
    for left, right in pairwise(evidence.workers):
        last = _last_sign(left, right, evidence.unsaved)
        started = right.started_at or 0.0
        yield HandOver(left.number, right.number, last.time, started, last.percent, right.resumed_percent or 0.0)


def _last_sign(left: Attempt, right: Attempt, unsaved: tuple[Sample, ...]) -> Sample:
    """When the worker stopped, and what it had reached: its own word if it gave it, else the newest and highest sign of it."""
    began, successor = left.started_at or 0.0, right.started_at or 0.0
    # A sample has the start of its second: the successor's own first ones must not pass for the predecessor's.
    seen = [s for s in unsaved if began - METRIC_RESOLUTION_SECONDS < s.time <= successor - METRIC_RESOLUTION_SECONDS]
    found = [] if right.previous_percent is None else [Sample(right.previous_stopped_at or began, right.previous_percent)]
    told = [] if left.stopped_at is None else [Sample(left.stopped_at, left.stopped_percent or 0.0)]
    signs = [Sample(began, left.resumed_percent or 0.0), *seen, *found, *told]
    stopped = left.stopped_at if left.stopped_at is not None else max(sign.time for sign in signs)
    return Sample(stopped, max(sign.percent for sign in signs))


def _percent_at_notice(evidence: Evidence, hand_overs: tuple[HandOver, ...]) -> float | None:
    """The progress at the first notice; without any, at the first worker's end, which was then all the notice there was."""
    for attempt in evidence.workers:
        if attempt.notice_at is not None:
            return attempt.notice_percent if attempt.notice_percent is not None else _progress_at(attempt.notice_at, evidence)
    return hand_overs[0].reached if hand_overs else None


def _progress_at(time: float, evidence: Evidence) -> float | None:
    before = [sample for sample in evidence.unsaved if sample.time <= time]
    return max(before, key=lambda sample: sample.time).percent if before else None


def _replacement_launched(evidence: Evidence, plan: Plan) -> float | None:
    """From the first notice, or without one from the instance's end, to the launch of the next (EC2's ``LaunchTime``: whole seconds)."""
    machines = sorted(evidence.machines, key=lambda machine: machine.launched_at)
    notices = [attempt.notice_at for attempt in evidence.workers if attempt.notice_at is not None]
    if len(machines) < 2 or not (notices or machines[0].ended_at):  # noqa: PLR2004 (one and its replacement)
        return None
    since = min(notices) if notices else machines[0].ended_at or 0.0
    return plan.scale.real(max(0.0, machines[1].launched_at - since))


def _uninterrupted(evidence: Evidence, plan: Plan) -> float | None:
    if not evidence.workers or evidence.workers[0].started_at is None:
        return None
    return plan.job_seconds + plan.scale.real(evidence.workers[0].started_at - evidence.execution.started_at)
