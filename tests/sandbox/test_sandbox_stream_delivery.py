"""How a stream's batch is tried, split, given up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from spot_sandbox import stream_delivery
from spot_sandbox.stream_delivery import Delivery, Discarded, Failure, Policy, Record, Success

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_delivery, "_FIRST_BACKOFF_SECONDS", 0.0)


class Stage:
    """A function that answers as told and remembers the batches it was given."""

    def __init__(self, policy: Policy, answer: Callable[[list[str]], Success | Failure]) -> None:
        self.batches: list[str] = []
        self.discarded: list[Discarded] = []
        self._answer = answer
        self._delivery = Delivery(policy, self._invoke, self.discarded.append, lambda record: float(record["time"]), threading.Event())

    def deliver(self, names: str, age: float = 0.0) -> None:
        """Deliver a record for each letter."""
        self._delivery.deliver([{"name": name, "time": time.time() - age} for name in names])

    def given_up(self) -> list[tuple[str, str, int]]:
        """What was discarded: records, condition and attempts."""
        return [("".join(r["name"] for r in d.records), d.condition, d.attempts) for d in self.discarded]

    def _invoke(self, records: list[Record]) -> Success | Failure:
        names = [record["name"] for record in records]
        self.batches.append("".join(names))
        return self._answer(names)


def crash_on(bad: str) -> Callable[[list[str]], Success | Failure]:
    """A function that fails as a whole when a bad record is in its batch."""
    return lambda names: Failure(0, partial=False, error={"why": "crash"}) if bad in names else Success()


def report(bad: str) -> Callable[[list[str]], Success | Failure]:
    """A function that reports the bad record as failed."""
    return lambda names: Failure(names.index(bad), partial=True, error={"why": "reported"}) if bad in names else Success()


def test_success_is_one_call() -> None:
    """A batch that is taken is delivered once."""
    stage = Stage(Policy(), lambda _names: Success())
    stage.deliver("abc")
    assert stage.batches == ["abc"]


def test_retries_end_at_the_destination() -> None:
    """Without bisection the whole batch is tried again, and then given up."""
    stage = Stage(Policy(maximum_retry_attempts=2), crash_on("b"))
    stage.deliver("abc")
    assert stage.batches == ["abc", "abc", "abc"]
    assert stage.given_up() == [("abc", "RetryAttemptsExhausted", 3)]


def test_bisection_isolates_the_poison_and_does_not_count_as_a_retry() -> None:
    """Only the bad record is given up; the others are taken, in order."""
    stage = Stage(Policy(maximum_retry_attempts=1, bisect=True), crash_on("c"))
    stage.deliver("abcd")
    assert stage.batches == ["abcd", "ab", "cd", "c", "c", "d"]
    assert stage.given_up() == [("c", "RetryAttemptsExhausted", 2)]


def test_a_reported_record_is_where_the_next_try_begins() -> None:
    """What came before it is done and is not delivered again."""
    stage = Stage(Policy(maximum_retry_attempts=1), report("c"))
    stage.deliver("abcd")
    assert stage.batches == ["abcd", "cd", "cd"]
    assert stage.given_up() == [("cd", "RetryAttemptsExhausted", 2)]


def test_reports_and_bisection_together_spare_the_good_ones() -> None:
    """The batch is cut at the report and then halved, so that only the bad record is lost."""
    stage = Stage(Policy(maximum_retry_attempts=0, bisect=True), report("c"))
    stage.deliver("abcde")
    assert stage.batches == ["abcde", "cde", "c", "de"]
    assert stage.given_up() == [("c", "RetryAttemptsExhausted", 1)]


def test_old_records_are_given_up_unseen() -> None:
    """A record past its age goes to the destination without a call."""
    stage = Stage(Policy(maximum_record_age_seconds=60), lambda _names: Success())
    stage.deliver("ab", age=61)
    assert stage.batches == []
    assert stage.given_up() == [("ab", "RecordAgeExceeded", 0)]
