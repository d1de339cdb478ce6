"""Trying again, inside the time that is left."""

from __future__ import annotations

from itertools import islice

import pytest

from spot_responder.domain.errors import Refused, Unavailable
from spot_responder.use_cases.patience import keep_trying, pauses
from tests.examples import NOW, seconds
from tests.fakes.ports import THROTTLED, Failures, FakeClock


def attempts(*errors: Exception | None, time: float = 60) -> tuple[FakeClock, list[str]]:
    """Try a call that fails so at first, for so many seconds; return the clock and what came back."""
    clock, failures = FakeClock(), Failures()
    failures.plan("call", *errors)

    def call() -> str:
        failures.happen("call")
        return "done"

    return clock, [keep_trying(call, NOW + seconds(time), clock)]


def test_pauses_double_up_to_the_longest() -> None:
    """Pauses start short, double, and stay at three seconds."""
    assert list(islice(pauses(), 7)) == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]


def test_what_goes_well_takes_no_time() -> None:
    """A call that succeeds at once is made once, without a pause."""
    clock, answers = attempts()
    assert (clock.slept, answers) == ([], ["done"])


def test_what_is_unavailable_is_tried_again() -> None:
    """A throttled call is repeated until it succeeds."""
    clock, answers = attempts(THROTTLED, THROTTLED)
    assert (clock.slept, answers) == ([0.2, 0.4], ["done"])


def test_it_gives_up_before_the_time_is_over() -> None:
    """When the next pause would end after the limit, the last error is raised, and none of the time is overdrawn."""
    with pytest.raises(Unavailable):
        attempts(*[THROTTLED] * 9, time=1.0)
    assert attempts(THROTTLED, THROTTLED, time=1.0)[1] == ["done"]


def test_what_is_refused_is_not_tried_again() -> None:
    """AWS's refusal is final."""
    with pytest.raises(Refused):
        attempts(Refused("no"), None)
