"""Whether the hypothesis held, and what spoke against it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from gameday.evidence import Job
from gameday.experiment import Experiment
from gameday.figures import figures_of
from gameday.verdict import Verdict, verdict_on
from tests.unit.gameday.scene import interrupted, plan, terminated

if TYPE_CHECKING:
    from gameday.evidence import Evidence


def judge(evidence: Evidence, experiment: Experiment = Experiment.INTERRUPT) -> Verdict:
    """The verdict on this evidence."""
    the_plan = plan(experiment)
    return verdict_on(evidence, figures_of(evidence, the_plan), the_plan)


def only_objection(evidence: Evidence, experiment: Experiment = Experiment.INTERRUPT) -> str:
    """The one sentence that speaks against the hypothesis."""
    verdict = judge(evidence, experiment)
    assert not verdict.held
    (objection,) = verdict.objections
    return objection


def resumed_from(evidence: Evidence, percent: float) -> Evidence:
    """The same day, but the second attempt went on from another checkpoint."""
    old, new = evidence.attempts
    return dataclasses.replace(evidence, attempts=(old, dataclasses.replace(new, resumed_percent=percent)))


def test_interrupt_holds() -> None:
    """Finished with nothing done twice: it held."""
    assert judge(interrupted()).held


def test_terminate_holds_with_a_part_of_an_interval_lost() -> None:
    """Without a notice, up to one interval may be done twice; the same figure would not do with one."""
    assert judge(terminated(), Experiment.TERMINATE).held
    assert "done twice" in "".join(judge(terminated(), Experiment.INTERRUPT).objections)


def test_work_done_twice_in_spite_of_the_notice() -> None:
    """One percent recomputed is one too many."""
    assert only_objection(resumed_from(interrupted(), 49.0)) == "1.0 % of the work (4 s) was done twice"


def test_rounding_is_no_work() -> None:
    """Progress that differs by a rounding is the same progress."""
    assert judge(resumed_from(interrupted(), 49.97)).held


def test_more_than_an_interval_lost() -> None:
    """Two minutes of six are 33.3 %; one second more and the baseline's hypothesis does not hold."""
    assert judge(resumed_from(terminated(), 38.6 - 33.3), Experiment.TERMINATE).held
    assert "more than the 120 s between two checkpoints" in only_objection(resumed_from(terminated(), 38.6 - 33.7), Experiment.TERMINATE)


def test_the_execution_failed() -> None:
    """The cause stands in the objection."""
    evidence = interrupted()
    failed = dataclasses.replace(evidence, execution=dataclasses.replace(evidence.execution, status="FAILED", cause="NoCapacity: none"))
    assert only_objection(failed) == "the execution ended FAILED: NoCapacity: none"


@pytest.mark.parametrize(
    ("job", "objection"),
    [
        (Job("running", 100.0, 2), "the job's record says running, not finished"),
        (Job("finished", 99.4, 2), "the job reached 99.4 %"),
    ],
)
def test_the_job_is_not_done(job: Job, objection: str) -> None:
    """Succeeding is not enough: the job's own record must say finished, and all of it."""
    assert only_objection(dataclasses.replace(interrupted(), job=job)) == objection


def test_a_person_helped() -> None:
    """An execution that was redriven by hand did not come through without human intervention."""
    evidence = interrupted()
    redriven = dataclasses.replace(evidence, execution=dataclasses.replace(evidence.execution, redrives=1))
    assert "redrove" in only_objection(redriven)


def test_an_experiment_that_touched_nothing() -> None:
    """A job that was never interrupted proves nothing about interruptions."""
    evidence = interrupted()
    alone = dataclasses.replace(evidence.attempts[0], notice_at=None)
    verdict = judge(dataclasses.replace(evidence, attempts=(alone,), job=Job("finished", 100.0, 1)))
    assert verdict.objections == ("no worker followed another, so the experiment tested nothing", "no instance saw a notice")
