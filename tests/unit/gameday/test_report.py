"""The result on paper."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gameday.experiment import Experiment
from gameday.figures import figures_of
from gameday.report import Json, as_json, as_text, minutes, table
from gameday.verdict import verdict_on
from tests.unit.gameday.scene import interrupted, plan, terminated


def test_the_shape_of_the_json() -> None:
    """Exactly these keys, in this order, with numbers that JSON can hold."""
    the_plan = plan(scale=0.1)
    figures = figures_of(interrupted(0.1), the_plan)
    document: Json = json.loads(json.dumps(as_json(figures, verdict_on(interrupted(0.1), figures, the_plan), the_plan), allow_nan=False))
    assert document == {
        "experiment": "interrupt",
        "hypothesis_held": True,
        "attempts": 2,
        "percent_at_notice": 38.9,
        "percent_resumed_from": 50.0,
        "recomputed_percent": 0.0,
        "seconds_without_worker": pytest.approx(3, abs=0.1),
        "total_seconds": 408.0,
        "uninterrupted_seconds": pytest.approx(404, abs=0.1),
        "time_scale": 0.1,
    }
    assert list(document)[:3] == ["experiment", "hypothesis_held", "attempts"]


def test_the_text_says_hypothesis_verdict_and_figures() -> None:
    """The hypothesis, whether it held, then the table; no word on time scales at true time."""
    the_plan = plan()
    figures = figures_of(interrupted(), the_plan)
    lines = as_text(figures, verdict_on(interrupted(), figures, the_plan), the_plan).splitlines()
    assert lines[:2] == [
        "Hypothesis: the job reaches 100 % without human intervention, and the checkpoint at the notice leaves nothing to recompute.",
        "It held.",
    ]
    assert any(line.split() == ["time", "without", "a", "worker", "3.0", "s"] for line in lines)
    assert "at real scale" not in lines[-1]


def test_the_text_says_why_it_did_not_hold() -> None:
    """With the objections, and with the scale that was measured at."""
    the_plan = plan(Experiment.INTERRUPT, scale=0.1)
    figures = figures_of(terminated(), the_plan)
    text = as_text(figures, verdict_on(terminated(), figures, the_plan), the_plan)
    assert "It did not hold: no instance saw a notice; 5.3 % of the work (19 s) was done twice." in text
    assert "measured at 0.1" in text


def test_what_was_not_measured_is_not_made_up() -> None:
    """It says so in the table, and is null in the JSON."""
    the_plan = plan()
    figures = dataclasses.replace(figures_of(interrupted(), the_plan), percent_at_notice=None, uninterrupted_seconds=None)
    verdict = verdict_on(interrupted(), figures, the_plan)
    assert as_text(figures, verdict, the_plan).count("not measured") == 3
    assert as_json(figures, verdict, the_plan)["percent_at_notice"] is None


def test_the_table_is_aligned() -> None:
    """All lines are of one length, however long names and values are."""
    lines = table([("a", "1.0 s"), ("a longer name", "100.0 %")])
    assert lines == ["  a                1.0 s", "  a longer name  100.0 %"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (187, "3:07"), (3600, "60:00"), (-5, "-0:05")])
def test_minutes(seconds: float, text: str) -> None:
    """Seconds are rounded first, so that there is no 0:60."""
    assert minutes(seconds) == text
