"""A notice: its key, its deadline, its words for time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from spot_responder.domain.notices import Action, NoticeKey, seconds_between, timestamp
from tests.examples import EVENT_TIME, NOW, notice, rebalance, seconds


def test_notices_of_an_account_and_region_share_a_partition() -> None:
    """One aggregation key brings all notices down one shard; the sort key tells them apart."""
    assert notice().key == NoticeKey("123456789012#us-east-1", "i-00000000000000001#interruption#2026-11-22T10:00:00Z")
    assert rebalance().key == NoticeKey("123456789012#us-east-1", "i-00000000000000001#rebalance#2026-11-22T10:00:00Z")


@pytest.mark.parametrize(("action", "time"), [(Action.TERMINATE, 120), (Action.STOP, 120), (Action.HIBERNATE, 0), (Action.NONE, 600)])
def test_the_deadline(action: Action, time: float) -> None:
    """A warning gives two minutes, hibernation nothing, and a recommendation is stale after ten."""
    subject = notice(action=action)
    assert subject.deadline == EVENT_TIME + seconds(time)
    assert subject.is_late(subject.deadline)
    assert not subject.is_late(subject.deadline - timedelta(milliseconds=1))


def test_a_timestamp_is_utc_in_whole_seconds() -> None:
    """Whatever the offset, the text is UTC; parts of a second are left out."""
    assert timestamp(datetime(2026, 11, 22, 12, 0, 0, 999_999, timezone(timedelta(hours=2)))) == "2026-11-22T10:00:00Z"


def test_seconds_to_the_millisecond() -> None:
    """Durations are counted in seconds, rounded to the millisecond, negative where the end is before the start."""
    assert seconds_between(EVENT_TIME, NOW) == 3
    assert seconds_between(NOW, EVENT_TIME + timedelta(microseconds=1499)) == -2.999
    assert seconds_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)) == 3600
