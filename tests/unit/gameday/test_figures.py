"""From records to figures."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameday.evidence import Attempt, Evidence, Execution, Job, Sample
from gameday.experiment import Experiment
from gameday.figures import figures_of
from tests.unit.gameday.scene import BEGAN, interrupted, plan, terminated


def test_handed_over_in_good_order() -> None:
    """With both workers' own records, the figures are theirs, to the second."""
    figures = figures_of(interrupted(), plan())
    assert (figures.attempts, figures.percent_at_notice) == (2, 38.9)
    assert (figures.percent_resumed_from, figures.recomputed_percent, figures.recomputed_seconds) == (50.0, 0.0, 0.0)
    assert figures.seconds_without_worker == pytest.approx(3)
    assert figures.total_seconds == pytest.approx(408)
    assert figures.uninterrupted_seconds == pytest.approx(404)
    assert figures.history_events == 42


def test_when_the_replacement_was_launched() -> None:
    """Counted from the notice; without one from the end of the instance; with one instance only there is nothing to count."""
    assert figures_of(interrupted(), plan()).replacement_launched_seconds == pytest.approx(2)
    assert figures_of(terminated(), plan(Experiment.TERMINATE)).replacement_launched_seconds == pytest.approx(4)
    alone = dataclasses.replace(interrupted(), machines=interrupted().machines[:1])
    assert figures_of(alone, plan()).replacement_launched_seconds is None


def test_a_launch_time_that_is_cut_to_seconds() -> None:
    """EC2 tells whole seconds: a replacement that seems to come before its cause came at once."""
    old, new = terminated().machines
    cut = dataclasses.replace(terminated(), machines=(old, dataclasses.replace(new, launched_at=BEGAN + 183)))
    assert figures_of(cut, plan(Experiment.TERMINATE)).replacement_launched_seconds == 0


def test_gone_without_notice() -> None:
    """Of a worker that just died, the last sign counts: progress as the successor found it, when it was written."""
    figures = figures_of(terminated(), plan(Experiment.TERMINATE))
    assert figures.recomputed_percent == pytest.approx(5.3)
    assert figures.recomputed_seconds == pytest.approx(19.08)
    assert figures.seconds_without_worker == pytest.approx(50)
    assert (figures.percent_at_notice, figures.percent_resumed_from) == (38.6, 33.3)


def test_metrics_know_more_than_the_table() -> None:
    """A sample after the last write to the table is the last sign: it is later, and higher."""
    evidence = dataclasses.replace(terminated(), unsaved=(Sample(BEGAN + 100, 20.0), Sample(BEGAN + 183, 38.9)))
    figures = figures_of(evidence, plan(Experiment.TERMINATE))
    assert figures.recomputed_percent == pytest.approx(5.6)
    assert figures.seconds_without_worker == pytest.approx(49)


def test_the_successors_samples_are_its_own() -> None:
    """A sample bears the start of its second: one from the second in which the successor started is not its predecessor's."""
    evidence = dataclasses.replace(terminated(), unsaved=(Sample(BEGAN + 231.5, 90.0), Sample(BEGAN + 240, 90.0)))
    assert figures_of(evidence, plan(Experiment.TERMINATE)).recomputed_percent == pytest.approx(5.3)


def test_a_worker_that_says_it_stopped_but_worked_on_is_caught() -> None:
    """Work that the metrics show beyond what a worker wrote down was done twice by its successor."""
    evidence = dataclasses.replace(interrupted(), unsaved=(Sample(BEGAN + 225, 52.0),))
    assert figures_of(evidence, plan()).recomputed_percent == pytest.approx(2.0)


def test_notice_without_progress_beside_it() -> None:
    """Where the agent did not write the progress at the notice, the newest sample before it gives it."""
    evidence = interrupted()
    old = dataclasses.replace(evidence.attempts[0], notice_percent=None)
    figures = figures_of(dataclasses.replace(evidence, attempts=(old, evidence.attempts[1])), plan())
    assert figures.percent_at_notice == pytest.approx((184 - 44) / 3.6)


def test_notice_of_which_nothing_is_known() -> None:
    """Without records of progress and without metrics, it is not measured, and no number is made up."""
    evidence = interrupted()
    old = dataclasses.replace(evidence.attempts[0], notice_percent=None)
    figures = figures_of(dataclasses.replace(evidence, attempts=(old, evidence.attempts[1]), unsaved=()), plan())
    assert figures.percent_at_notice is None


def test_nobody_came_to_work() -> None:
    """An execution that failed before any work has a total time and nothing else."""
    evidence = Evidence(Execution(BEGAN, BEGAN + 60, "FAILED", "NoCapacity"), Job("failed", 0.0, 1), (Attempt(1),))
    figures = figures_of(evidence, plan())
    assert (figures.percent_at_notice, figures.percent_resumed_from, figures.uninterrupted_seconds) == (None, None, None)
    assert (figures.total_seconds, figures.seconds_without_worker, figures.hand_overs) == (60.0, 0.0, ())


def test_an_attempt_that_never_worked_is_no_worker() -> None:
    """Its successor takes over from the one before it; it counts as an attempt all the same."""
    evidence = interrupted()
    old, new = evidence.attempts
    attempts = (old, Attempt(2, "i-00000000000000000"), dataclasses.replace(new, number=3))
    figures = figures_of(dataclasses.replace(evidence, attempts=attempts, job=Job("finished", 100.0, 3)), plan())
    assert [(each.left, each.right) for each in figures.hand_overs] == [(1, 3)]
    assert figures.attempts == 3


@pytest.mark.parametrize("scale", [0.1, 0.5, 2.0])
def test_figures_are_at_real_scale(scale: float) -> None:
    """The same day played faster or slower has the same figures."""
    scaled = dataclasses.replace(interrupted(scale), unsaved=())
    expected = dataclasses.replace(interrupted(), unsaved=())
    left, right = figures_of(scaled, plan(scale=scale)), figures_of(expected, plan())
    assert left.seconds_without_worker == pytest.approx(right.seconds_without_worker, abs=1e-3)
    assert left.total_seconds == pytest.approx(right.total_seconds)
    assert left.uninterrupted_seconds == pytest.approx(right.uninterrupted_seconds)
    assert left.recomputed_percent == right.recomputed_percent


@st.composite
def relays(draw: st.DrawFn) -> list[tuple[float, float, float]]:
    """Workers one after the other: seconds without a worker before it, percent lost before it, percent that it works."""
    percents = st.floats(0, 5, allow_nan=False)
    return draw(st.lists(st.tuples(st.floats(0, 300, allow_nan=False), percents, percents), min_size=1, max_size=12))


@given(relays())
def test_every_gap_and_every_loss_is_found(relay: list[tuple[float, float, float]]) -> None:
    """However often the job changes hands, work done twice and time without a worker are the sums of what was lost each time."""
    attempts: list[Attempt] = []
    time, percent, lost, gaps = BEGAN, 0.0, 0.0, 0.0
    for number, (gap, loss, work) in enumerate(relay, start=1):
        resumed = max(0.0, percent - loss)
        if attempts:
            lost, gaps = lost + percent - resumed, gaps + gap
        started = time + gap
        time, percent = started + work, resumed + work
        attempts.append(Attempt(number, None, None, None, resumed, started, stopped_at=time, stopped_percent=percent))
    evidence = Evidence(Execution(BEGAN, time, "SUCCEEDED"), Job("finished", 100.0, len(attempts)), tuple(reversed(attempts)))
    figures = figures_of(evidence, plan())
    assert figures.recomputed_percent == pytest.approx(lost, abs=1e-6)
    assert figures.seconds_without_worker == pytest.approx(gaps, abs=1e-3)
    assert len(figures.hand_overs) == len(relay) - 1


numbers = st.none() | st.floats(-1e9, 1e10, allow_nan=False)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers), max_size=5), st.lists(st.tuples(st.floats(0, 1e10), st.floats(0, 100)))
)
def test_records_of_any_kind_give_figures(records: list[tuple[float | None, ...]], samples: list[tuple[float, float]]) -> None:
    """Records with holes or nonsense in them never fail the report, and never count as negative work or time."""
    attempts = tuple(
        Attempt(number, None, found, previous_stopped_at, resumed, started, stopped_at=stopped, stopped_percent=final)
        for number, (found, previous_stopped_at, resumed, started, stopped, final) in enumerate(records, start=1)
    )
    unsaved = tuple(Sample(time, percent) for time, percent in samples)
    evidence = Evidence(Execution(BEGAN, BEGAN + 1, "FAILED"), Job("failed", 0.0, len(attempts)), attempts, (), (), unsaved)
    figures = figures_of(evidence, plan())
    assert figures.recomputed_percent >= 0
    assert figures.seconds_without_worker >= 0
