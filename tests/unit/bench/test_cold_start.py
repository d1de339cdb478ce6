"""What a cold start imports: the goal for its time, held without a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.handlers import WITH_LOGGER, WORK, cold, python, split_modules

if TYPE_CHECKING:
    from bench.handlers import Timing


@pytest.fixture(scope="module")
def reference() -> Timing:
    """A cold start of boto3, one client and Powertools' Logger."""
    timing: Timing = python("bench/cold_start.py", WITH_LOGGER)
    return timing


@pytest.mark.parametrize("function", WORK)
def test_a_function_imports_nothing_of_others_that_the_reference_does_not(function: str, reference: Timing) -> None:
    """All its clients built, the job part deployed: the time beyond the reference's is that of our own modules and the clients' models."""
    timing: Timing = python("bench/cold_start.py", function, JOBS_TABLE="jobs")
    own, others = split_modules(timing["modules"])
    assert f"spot_responder.wiring.{function}" in own
    assert "botocore.client" in others
    assert sorted(set(others) - set(reference["modules"])) == []


def test_ratios_are_of_runs_that_took_turns() -> None:
    """The median of the rounds' ratios: a round in which the machine was busy slows both."""

    def timing(seconds: float) -> Timing:
        return {"import": [seconds, seconds], "ready": [2 * seconds, 3 * seconds], "modules": ["app", "botocore"]}

    start = cold([timing(1.0), timing(10.0), timing(3.0)], [timing(1.0), timing(5.0), timing(2.0)], [timing(2.0)] * 3)
    assert (start.import_ratio, start.ready_ratio, start.ready_ratio_with_logger) == (1.5, 1.5, 1.5)
    assert (start.import_ms, start.ready_ms) == (3000, 9000)
    assert (start.own_modules, start.other_modules, start.beyond_reference) == (["app"], 1, [])
