"""What Hypothesis draws: any JSON, and events that are almost ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from spot_responder.domain.events import PARSERS
from tests.examples import COMMAND_ID, event, instance_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8), parts, max_size=3),
    max_leaves=6,
)
OFFSETS = st.sampled_from([None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12, minutes=-30))])
MOMENTS = st.datetimes(timezones=OFFSETS).map(datetime.isoformat)
WORDS = st.sampled_from([instance_id(), "terminate", "stopped", "Success", COMMAND_ID, "i-\ud800", "\x00"])
DETAILS = st.dictionaries(st.sampled_from(["instance-id", "instance-action", "state", "status", "command-id"]), WORDS | JSON)


@st.composite
def almost_events(draw: st.DrawFn) -> dict[str, Any]:
    """Events of ours of which one or two fields hold something else."""
    source, detail_type = draw(st.sampled_from(sorted(PARSERS)))
    almost: dict[str, Any] = event(detail_type) | {"source": source, "detail": draw(DETAILS)}
    changes = st.dictionaries(st.sampled_from(sorted(almost)), MOMENTS | WORDS | JSON, max_size=2)
    return almost | draw(changes) | draw(st.fixed_dictionaries({}, optional={"time": MOMENTS}))
