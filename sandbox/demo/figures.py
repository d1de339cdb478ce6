"""What happened, counted; and what does not hold, in a sentence each. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from statistics import median
from typing import Any

from sandbox.demo.scenario import Player, duplicates_due, interrupted, notices_due
from sandbox.remote import Call
from sandbox.story import Line

INTERRUPTED = 15
MOST_DESCRIBES = 4
LONGEST_BURST_SECONDS = 2.0
OUTCOMES = ("saved", "failed", "vanished", "not opted in", "late")
"""What is told even where it did not happen; other outcomes only where they did."""

type Item = Mapping[str, str]
"""An item of the notices table, its values without DynamoDB's types."""


@dataclass(frozen=True)
class Record:
    """All that is known at the end.

    `burst_seconds` is how long it took to send all warnings, `dead_letters` what the dead-letter queue holds, and `frames`
    the frame that each instance's checkpoint holds, by instance id.
    """

    players: Sequence[Player]
    lines: Sequence[Line]
    items: Sequence[Item]
    calls: Sequence[Call]
    dead_letters: int
    burst_seconds: float
    frames: Mapping[str, int]


def counted(record: Record) -> dict[str, Any]:
    """Return the figures in the form of ``out/demo.json``."""
    seconds = seconds_to_command(record.lines)
    return {
        "notices": len(record.items),
        "duplicates": sum(line.has(event="notice_repeated") for line in record.lines),
        "calls": dict(sorted(Counter(call.name for call in record.calls if call.function).items())),
        "outcomes": dict.fromkeys(OUTCOMES, 0) | Counter(item.get("outcome", "open") for item in record.items),
        "event_to_command_seconds": {
            "median": round(median(seconds), 3) if seconds else None,
            "worst": round(max(seconds), 3) if seconds else None,
        },
    }


def seconds_to_command(lines: Iterable[Line]) -> list[float]:
    """Return the seconds from each event's own time to its command."""
    return [line.fields["seconds_since_event"] for line in lines if line.has(event="checkpoint_asked")]


def reasons(items: Iterable[Item], outcome: str) -> Counter[str]:
    """Return why notices ended with this outcome, and how often."""
    return Counter(item["reason"] for item in items if item.get("outcome") == outcome)


def complaints(record: Record) -> list[str]:
    """Return a sentence for each thing that must hold and does not."""
    return list(chain(_counts(record), _endings(record), _safety(record)))


def _counts(record: Record) -> Iterable[str]:
    figures = counted(record)
    describes = figures["calls"].get("ec2:DescribeInstances", 0)
    expected = {"notices": notices_due(record.players), "duplicates": duplicates_due(record.players)}
    for name, number in expected.items():
        if figures[name] != number:
            yield f"There should be {number} {name}, and there are {figures[name]}."
    if len(interrupted(record.players)) != INTERRUPTED:
        yield f"{INTERRUPTED} instances should be interrupted, and {len(interrupted(record.players))} were."
    if record.burst_seconds > LONGEST_BURST_SECONDS:
        yield f"All warnings should be sent within {LONGEST_BURST_SECONDS:g} s, and that took {record.burst_seconds:.1f} s."
    if not 1 <= describes <= MOST_DESCRIBES:
        yield f"There should be 1 to {MOST_DESCRIBES} calls of DescribeInstances, and there were {describes}."


def _endings(record: Record) -> Iterable[str]:
    """Each notice has the outcome that its part asks for, in the table and in the story."""
    told = Counter(
        (line.fields["instance_id"], line.fields["kind"], line.fields["outcome"]) for line in record.lines if line.has(event="notice_closed")
    )
    players = {player.instance_id: player for player in record.players}
    for item in record.items:
        player = players[item["instance_id"]]
        due = player.part.ends if item["kind"] == "interruption" else "saved"
        outcome = item.get("outcome", "open")
        about = f"The {item['kind']} of {player.launched.name} ({player.instance_id})"
        if outcome != due:
            yield f"{about} should have ended as {due!r}, and it is {outcome!r}: {item.get('reason', 'no reason')}."
        if told[player.instance_id, item["kind"], outcome] != 1:
            yield f"{about} should be told as {outcome!r} in one line, and it is told {told[player.instance_id, item['kind'], outcome]} times."


def _safety(record: Record) -> Iterable[str]:
    if record.dead_letters:
        yield f"The dead-letter queue should be empty, and it holds {record.dead_letters}."
    for player in interrupted(record.players):
        if player.part.ends == "saved" and player.instance_id not in record.frames:
            yield f"{player.launched.name} should have a checkpoint on the volume, and it has none."


@dataclass(frozen=True)
class Bar:
    """One interrupted instance's time line, in seconds from the first warning; None for what did not happen."""

    name: str
    instance_id: str
    warned: float
    rebalanced: float | None
    rebalance_saved: float | None
    repeated: bool
    asked: float | None
    closed: float | None
    outcome: str
    reason: str
    gone: float | None


def bars(record: Record) -> list[Bar]:
    """Return a bar for each interrupted instance whose warning was told, in the order of their names."""
    told = [(player, [line for line in record.lines if line.has(instance_id=player.instance_id)]) for player in record.players]
    warned = [(player, mine, warning) for player, mine in told if (warning := _first(mine, event="notice_received", kind="interruption"))]
    zero = min((_event_time(warning) for _, _, warning in warned), default=None)
    return [_bar(player, mine, _event_time(warning), zero) for player, mine, warning in warned if zero]


def _bar(player: Player, mine: Sequence[Line], warned: datetime, zero: datetime) -> Bar:
    closed = _first(mine, event="notice_closed", kind="interruption")
    rebalance = _first(mine, event="notice_received", kind="rebalance")
    asked, ended = _when(_first(mine, event="checkpoint_asked", kind="interruption"), zero), _when(closed, zero)
    return Bar(
        name=player.launched.name,
        instance_id=player.instance_id,
        warned=(warned - zero).total_seconds(),
        rebalanced=(_event_time(rebalance) - zero).total_seconds() if rebalance else None,
        rebalance_saved=_when(_first(mine, event="notice_closed", kind="rebalance"), zero),
        repeated=_first(mine, event="notice_repeated") is not None,
        asked=asked,
        # SSM tells whole seconds: what it saved in the very second of the command seems to have been saved before.
        closed=max(ended, asked) if ended is not None and asked is not None else ended,
        outcome=closed.fields["outcome"] if closed else "open",
        reason=closed.fields["reason"] if closed else "",
        gone=_when(_first(mine, event="instance_gone"), zero),
    )


def _first(lines: Iterable[Line], **wanted: Any) -> Line | None:
    return next((line for line in lines if line.has(**wanted)), None)


def _event_time(line: Line) -> datetime:
    return datetime.fromisoformat(line.fields["event_time"])


def _when(line: Line | None, zero: datetime) -> float | None:
    """Return when that happened of which a line tells: it is the notice's own time and the seconds since."""
    if line is None:
        return None
    happened = _event_time(line) + timedelta(seconds=line.fields["seconds_since_event"])
    return (happened - zero).total_seconds()
