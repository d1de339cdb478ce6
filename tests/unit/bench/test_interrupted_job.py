"""The model of a job that is interrupted at random, against what is known exactly."""

from __future__ import annotations

from math import exp, inf

import numpy as np
import pytest

from bench.interrupted_job import BOOT, DESIGNS, GAP, HAND_OVER, Design, Job, Outcome, daly, simulate, young

HOUR = 3600.0
NONE, PERIODIC, WORKSHOP, OURS = DESIGNS


def run(design: Design, job: Job, per_hour: float, missing: float, runs: int = 20_000) -> Outcome:
    """Simulate, always the same."""
    return simulate(design, job, per_hour / HOUR, missing, runs, np.random.default_rng(1))


@pytest.mark.parametrize(("hours", "per_hour"), [(1, 0.01), (1, 1.0), (5, 0.5)])
def test_without_checkpoints_or_notices_it_takes_what_renewal_theory_says(hours: float, per_hour: float) -> None:
    """(e^(rate * work) - 1) * (1 / rate + gap): every interruption starts the work anew."""
    expected = (exp(per_hour * hours) - 1) * (HOUR / per_hour + GAP)
    assert run(NONE, Job(hours * HOUR, 10), per_hour, missing=1).time == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("checkpoint", [1.0, 60.0])
def test_with_periodic_checkpoints_each_segment_is_such_a_job(checkpoint: float) -> None:
    """Ten segments, each begun anew after a gap and the loading of a checkpoint; the last one saves none."""
    rate, interval = 1 / HOUR, 0.5 * HOUR
    restart = 1 / rate + GAP + checkpoint
    expected = (9 * (exp(rate * (interval + checkpoint)) - 1) + exp(rate * interval) - 1) * restart
    outcome = run(PERIODIC, Job(10 * interval, checkpoint, interval), per_hour=1, missing=1)
    assert outcome.time == pytest.approx(expected, rel=0.01)
    assert outcome.finished == 1


def test_paid_is_what_the_instances_were_there_for() -> None:
    """An interruption without notice leaves nobody paid for the part of the gap in which nothing has been launched yet."""
    job = Job(5 * HOUR, 10, 0.5 * HOUR)
    few, many = run(PERIODIC, job, 0.001, missing=1), run(PERIODIC, job, 2, missing=1)
    assert few.paid == pytest.approx(few.time, abs=1)
    interruptions = (many.time - many.paid) / (GAP - BOOT)
    assert interruptions == pytest.approx(2 * (many.time - interruptions * GAP) / HOUR, rel=0.02)


def test_without_any_notice_all_checkpointing_designs_are_the_same() -> None:
    """What they do at a notice is the only difference."""
    job = Job(10 * HOUR, 10, 0.25 * HOUR)
    outcomes = [run(design, job, 0.5, missing=1) for design in (PERIODIC, WORKSHOP, OURS)]
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("checkpoint", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_each_design_is_better_than_the_one_before(checkpoint: float, missing: float) -> None:
    """Ours over the workshop's over periodic checkpoints over none."""
    job = Job(10 * HOUR, checkpoint, daly(checkpoint, 0.2 / HOUR))
    none, periodic, workshop, ours = (run(design, job, 0.2, missing).time for design in DESIGNS)
    assert none > periodic > workshop > ours


def test_a_hand_over_costs_the_two_checkpoints_their_loading_and_a_moment() -> None:
    """With notices that always come and no other checkpoints, that is all an interruption costs."""
    checkpoint, hours, per_hour = 5.0, 20, 1.0
    outcome = run(OURS, Job(hours * HOUR, checkpoint), per_hour, missing=0)
    # The worker works on for 35 s of each notice, which makes the interruptions of the same work a little fewer.
    interruptions = hours * per_hour / (1 + (BOOT - checkpoint) * per_hour / HOUR)
    assert (outcome.time - hours * HOUR) / interruptions == pytest.approx(3 * checkpoint + HAND_OVER, rel=0.02)


def test_the_old_instance_is_paid_while_the_new_one_boots() -> None:
    """A hand-over saves time for money: 40 s of a second instance, and its checkpoint."""
    outcome = run(OURS, Job(20 * HOUR, 1.0), per_hour=1, missing=0)
    assert outcome.paid > outcome.time


@pytest.mark.parametrize("design", [WORKSHOP, OURS])
def test_a_checkpoint_that_does_not_fit_into_the_notice_saves_nothing(design: Design) -> None:
    """Then the last periodic one counts."""
    job = Job(10 * HOUR, 121, HOUR)
    fits = run(design, Job(10 * HOUR, 119, HOUR), 0.5, missing=0)
    assert run(design, job, 0.5, missing=0).time > fits.time + 0.5 * HOUR


def test_a_job_that_never_ends_is_given_up() -> None:
    """100 hours without an interruption, one an hour: e^-100."""
    outcome = run(NONE, Job(100 * HOUR, 1), 1, missing=0, runs=20)
    assert outcome.finished == 0
    assert outcome.time >= 20 * 100 * HOUR


@pytest.mark.parametrize(("checkpoint", "per_hour"), [(1.0, 1.0), (10.0, 1.0), (60.0, 1.0), (10.0, 0.05)])
def test_the_best_interval_of_the_simulation_is_dalys(checkpoint: float, per_hour: float) -> None:
    """The cost is flat around the optimum: the formula's interval costs hardly more than the best of a grid, which lies close."""
    best = daly(checkpoint, per_hour / HOUR)
    factors = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
    work = max(20 * best, 20 * HOUR)
    extra = {factor: run(PERIODIC, Job(work, checkpoint, best * factor), per_hour, missing=1).time - work for factor in factors}
    assert extra[1.0] <= 1.03 * min(extra.values())
    assert min(extra, key=extra.__getitem__) in (0.7, 1.0, 1.4)
    assert extra[0.25] > 1.1 * extra[1.0] < extra[4.0] / 1.1


def test_the_formulas() -> None:
    """Young's for a checkpoint of 10 s and an interruption an hour: 268 s; Daly's is a little less the checkpoint; no failures, no need."""
    assert young(10, 1 / HOUR) == pytest.approx(268.3, abs=0.1)
    assert daly(10, 1 / HOUR) == pytest.approx(261.7, abs=0.3)
    assert daly(3 * HOUR, 1 / HOUR) == HOUR
    assert young(10, 0) == daly(10, 0) == inf


def test_a_worker_saves_after_each_interval_and_not_at_the_end() -> None:
    """100 s of work, a checkpoint of 2 s after each 25 s of it: three of them."""
    job = Job(work=100, checkpoint=2, interval=25)
    assert job.duration(np.array([100.0, 25.0, 26.0])).tolist() == [106, 25, 28]
    times = np.array([10.0, 26.0, 27.0, 30.0, 54.0])
    assert job.done(times).tolist() == [10, 25, 25, 28, 50]
    assert job.saved(times).tolist() == [0, 0, 25, 25, 50]


def test_what_one_interruption_costs() -> None:
    """The mean over interruptions, not over jobs: however rare they are, the workshop's costs 70 s and the checkpoint, twice."""
    for per_hour in (0.001, 0.1, 1.0):
        outcome = run(WORKSHOP, Job(10 * HOUR, 5), per_hour, missing=0)
        assert outcome.lost == pytest.approx(80)
        assert outcome.interruptions == pytest.approx(10 * per_hour, rel=0.03)


def test_a_job_that_ends_within_the_notice_has_stood_still_for_its_checkpoint() -> None:
    """It is interrupted all the same."""
    outcome = run(OURS, Job(1.0, 0.5), per_hour=3600, missing=0)
    # Half a second is lost where the notice comes within the second of work, with 1 - e^-1.
    assert outcome.time == pytest.approx(1 + 0.5 * (1 - exp(-1)), rel=0.01)
    assert outcome.lost == pytest.approx(0.5)


def test_a_replacement_that_boots_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint of 40 s the old instance has to stop 57 s after the notice; the new one is ready 43 s later than that at the least."""
    monkeypatch.setattr("bench.interrupted_job.BOOT", 110)
    end = OURS.warned(40.0)
    assert (end.works, end.pause) == (17, 40)
    assert end.resumes == 110 + 40 + HAND_OVER


def test_jobs_that_are_never_interrupted_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """If all others are given up at once, it is those that finish."""
    monkeypatch.setattr("bench.interrupted_job.PATIENCE", 0)
    assert run(NONE, Job(HOUR, 1), 1, missing=1, runs=100).finished == pytest.approx(exp(-1))
