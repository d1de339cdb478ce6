"""The hypothesis of an experiment, and whether it held. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gameday.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gameday.evidence import Evidence
    from gameday.experiment import Plan
    from gameday.figures import Figures

ACCURACY_PERCENT = 0.05
"""Progress comes with a decimal or two: less than this is rounding and no work."""

HYPOTHESES = {
    Experiment.INTERRUPT: "the job reaches 100 % without human intervention, and the checkpoint at the notice leaves nothing to recompute",
    Experiment.TERMINATE: "the job reaches 100 % without human intervention, and the work done twice is at most one checkpoint interval",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hypothesis and what spoke against it, a sentence each."""

    hypothesis: str
    objections: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether nothing spoke against it."""
        return not self.objections


def verdict_on(evidence: Evidence, figures: Figures, plan: Plan) -> Verdict:
    """Judge the hypothesis of this experiment by what was seen."""
    objections = (*_unfinished(evidence), *_untested(evidence, figures, plan), *_repeated(figures, plan))
    return Verdict(HYPOTHESES[plan.experiment], objections)


def _unfinished(evidence: Evidence) -> Iterator[str]:
    execution, job = evidence.execution, evidence.job
    if not execution.succeeded:
        yield f"the execution ended {execution.status}" + (f": {execution.cause}" if execution.cause else "")
    if job.status != "finished":
        yield f"the job's record says {job.status}, not finished"
    if job.percent < 100:  # noqa: PLR2004 (all of it)
        yield f"the job reached {job.percent:.1f} %"
    if execution.redrives:
        yield f"a person redrove the execution {execution.redrives} times"


def _untested(evidence: Evidence, figures: Figures, plan: Plan) -> Iterator[str]:
    """An experiment that touched nothing proves nothing."""
    if not figures.hand_overs:
        yield "no worker followed another, so the experiment tested nothing"
    if plan.experiment is Experiment.INTERRUPT and not any(attempt.notice_at for attempt in evidence.workers):
        yield "no instance saw a notice"


def _repeated(figures: Figures, plan: Plan) -> Iterator[str]:
    done_twice = f"{figures.recomputed_percent:.1f} % of the work ({figures.recomputed_seconds:.0f} s) was done twice"
    if plan.experiment is Experiment.INTERRUPT and figures.recomputed_percent > ACCURACY_PERCENT:
        yield done_twice
    if plan.experiment is Experiment.TERMINATE and figures.recomputed_seconds > plan.interval_seconds:
        yield f"{done_twice}, more than the {plan.interval_seconds:g} s between two checkpoints"
