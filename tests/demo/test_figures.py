"""What the demonstration counts, and what it complains about, for records made up here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.demo.figures import Record, bars, complaints, counted
from sandbox.demo.picture import draw
from sandbox.demo.scenario import Player, interrupted, parts, rebalanced
from sandbox.fleet import Launched
from sandbox.remote import Call
from sandbox.story import Line

WARNED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
RECOMMENDED = WARNED - timedelta(seconds=8)
FUNCTION = "spot-responder-RespondToNotices"


def line(event: str, player: Player, *, kind: str = "interruption", seconds: float = 0, outcome: str | None = None) -> Line:
    """Return a line of the story."""
    time = WARNED if kind == "interruption" else RECOMMENDED
    fields = {
        "event": event,
        "instance_id": player.instance_id,
        "kind": kind,
        "event_time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "seconds_since_event": seconds,
        "outcome": outcome,
        "reason": "because",
    }
    return Line(time + timedelta(seconds=seconds), json.dumps(fields), fields)


def lines_of(player: Player) -> list[Line]:
    """Return the story of one instance as it must be."""
    told = []
    if player.part.rebalanced:
        told += [line("notice_received", player, kind="rebalance"), line("checkpoint_asked", player, kind="rebalance", seconds=1)]
        told += [line("notice_closed", player, kind="rebalance", seconds=3, outcome="saved")]
    told += [line("notice_received", player)]
    told += [line("notice_repeated", player) for _ in range(player.part.copies - 1)]
    told += [line("checkpoint_asked", player, seconds=2)] if player.part.ends == "saved" else []
    told += [line("notice_closed", player, seconds=4, outcome=player.part.ends)]
    return told if player.part.forgotten else [*told, line("instance_gone", player, seconds=31)]


def item(player: Player, kind: str) -> dict[str, str]:
    """Return the item of one notice as it must be."""
    outcome = player.part.ends if kind == "interruption" else "saved"
    time = WARNED if kind == "interruption" else RECOMMENDED
    return {"instance_id": player.instance_id, "kind": kind, "outcome": outcome, "reason": "because", "event_time": f"{time:%Y-%m-%dT%H:%M:%SZ}"}


def call(name: str, function: str | None = FUNCTION) -> Call:
    """Return an API call."""
    service, operation = name.split(":")
    return Call(0.0, service, operation, function, None)


def record(**changes: Any) -> Record:
    """Return the record of a demonstration in which everything held, but for `changes`."""
    players = [Player(Launched(f"i-{number:017x}", part.wanted), part) for number, part in enumerate(parts())]
    struck = interrupted(players)
    good = Record(
        players=players,
        lines=[told for player in struck for told in lines_of(player)],
        items=[item(player, "interruption") for player in struck] + [item(player, "rebalance") for player in rebalanced(players)],
        calls=[call("ec2:DescribeInstances"), call("ssm:SendCommand"), call("ssm:SendCommand"), call("ec2:DescribeInstances", function=None)],
        dead_letters=0,
        burst_seconds=1.5,
        frames={player.instance_id: 10 for player in struck if player.part.ends == "saved"},
    )
    return replace(good, **changes)


def test_cast() -> None:
    """25 instances: 20 opted in and managed, 3 not opted in, 2 not managed; 15 are interrupted, 5 of them recommended before."""
    wanted = [part.wanted for part in parts()]
    assert (len(wanted), len({one.name for one in wanted})) == (25, 25)
    assert sum(one.opted_in and one.managed for one in wanted) == 20
    assert (sum(not one.opted_in for one in wanted), sum(not one.managed for one in wanted)) == (3, 2)
    assert (sum(part.interrupted for part in parts()), sum(part.rebalanced and part.interrupted for part in parts())) == (15, 5)


def test_figures() -> None:
    """The figures have the form of ``out/demo.json``; only calls of functions count."""
    assert counted(record()) == {
        "notices": 20,
        "duplicates": 1,
        "calls": {"ec2:DescribeInstances": 1, "ssm:SendCommand": 2},
        "outcomes": {"saved": 16, "failed": 2, "vanished": 1, "not opted in": 1, "late": 0},
        "event_to_command_seconds": {"median": 2, "worst": 2},
    }


def test_nothing_to_complain_about() -> None:
    """Where everything held there is no complaint."""
    assert complaints(record()) == []


FAULTS = [
    ({"items": record().items[1:]}, "There should be 20 notices, and there are 19."),
    ({"lines": [told for told in record().lines if not told.has(event="notice_repeated")]}, "There should be 1 duplicates, and there are 0."),
    ({"calls": [call("ec2:DescribeInstances")] * 5}, "There should be 1 to 4 calls of DescribeInstances, and there were 5."),
    ({"calls": []}, "There should be 1 to 4 calls of DescribeInstances, and there were 0."),
    ({"dead_letters": 2}, "The dead-letter queue should be empty, and it holds 2."),
    ({"burst_seconds": 2.5}, "All warnings should be sent within 2 s, and that took 2.5 s."),
    ({"frames": {}}, "render-01 should have a checkpoint on the volume, and it has none."),
]


@pytest.mark.parametrize(("changes", "sentence"), FAULTS)
def test_complaints(changes: dict[str, Any], sentence: str) -> None:
    """Each thing that must hold and does not is named in a sentence."""
    assert sentence in complaints(record(**changes))


def test_open_notice() -> None:
    """A notice without an outcome is a complaint that names the instance."""
    saved, *others = sorted(record().items, key=lambda item: item["outcome"] != "saved")
    still_open = {name: value for name, value in saved.items() if name not in ("outcome", "reason")}
    assert any("should have ended as 'saved', and it is 'open'" in sentence for sentence in complaints(record(items=[still_open, *others])))


def test_outcome_told_twice() -> None:
    """An outcome that is told twice is a complaint."""
    good = record()
    twice = [*good.lines, next(told for told in good.lines if told.has(event="notice_closed"))]
    assert any("in one line, and it is told 2 times" in sentence for sentence in complaints(record(lines=twice)))


def test_bars() -> None:
    """A bar's moments are seconds from the first warning; what did not happen is None."""
    by_name = {bar.name: bar for bar in bars(record())}
    first, forgotten = by_name["render-01"], by_name["render-08"]
    assert (first.rebalanced, first.rebalance_saved, first.warned, first.asked, first.closed, first.gone) == (-8, -5, 0, 2, 4, 31)
    assert (forgotten.outcome, forgotten.rebalanced, forgotten.asked, forgotten.gone) == ("vanished", None, None, None)
    assert by_name["render-06"].repeated


def test_nothing_happened() -> None:
    """Where nothing was told there are complaints and no bars, not an error."""
    nothing = record(lines=[], items=[], calls=[], frames={})
    assert bars(nothing) == []
    assert "There should be 20 notices, and there are 0." in complaints(nothing)
    assert counted(nothing)["event_to_command_seconds"] == {"median": None, "worst": None}


def test_picture(tmp_path: Any) -> None:
    """The picture is a PNG file."""
    draw(bars(record()), 30, tmp_path / "out" / "demo.png")
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
