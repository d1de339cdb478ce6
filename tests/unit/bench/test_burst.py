"""Bursts through the real use cases: every warning is answered once, and as the stack would."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bench.burst import __main__ as command
from bench.burst import table as simulated
from bench.burst.account import Account, Function, Throttled
from bench.burst.limits import Quotas, Seconds
from bench.burst.others import HUNDRED, TEN
from bench.burst.ours import LONGEST_AGE, RECORD_TIMEOUT, RESPOND_TIMEOUT, Ours, SimulatedFleet
from bench.burst.picture import draw
from bench.burst.run import DESIGNS, OURS, PER_EVENT, simulate
from bench.burst.warnings import burst
from spot_responder.adapters.ec2_fleet import Ec2Fleet
from spot_responder.adapters.notices_table import DynamoNoticesTable
from spot_responder.domain.lines import Happened
from spot_responder.domain.plans import Outcome, Plan
from spot_responder.use_cases import record_checkpoint, respond_to_notices
from spot_responder.use_cases.ports import Answer
from tests.examples import NOW, notice
from tests.template.stack import PARAMETERS, of_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.results import Row
    from spot_responder.domain.notices import Notice, NoticeKey

SCARCE = Quotas(send_command=(1, 2), partition_writes=(40, 40), partition_reads=(300, 300), concurrency=30, new_environments=(20, 5))
"""Everything throttles: writes, reads, commands, functions."""


def through_ours(warnings: int, quotas: Quotas | None = None, shards: int = 1) -> tuple[Account, Ours]:
    """Send a burst through the stack, to its end."""
    account = Account(quotas or Quotas(), Seconds(), seed=1)
    stack = Ours(account, shards)
    for one in burst(warnings, account.chance):
        stack.warn(one)
    account.engine.run()
    return account, stack


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize(("quotas", "warnings"), [(None, 400), (SCARCE, 400)])
def test_every_warning_is_answered_once(quotas: Quotas | None, warnings: int, shards: int) -> None:
    """Whatever throttles, each warning has its item, one command and one result; nothing is left, dropped or told twice."""
    account, stack = through_ours(warnings, quotas, shards)
    assert Counter(item.outcome for item in stack.table.items.values()) == {Outcome.SAVED: warnings}
    assert list(stack.commanded.times.values()) == [1] * warnings
    assert None not in {item.command_id for item in stack.table.items.values()}
    assert stack.story.told == dict.fromkeys((Happened.NOTICE_RECEIVED, Happened.CHECKPOINT_ASKED, Happened.NOTICE_CLOSED), warnings)
    assert stack.dead_letters == account.running == 0
    assert bool(account.throttled) is bool(quotas)


def test_what_comes_too_late_is_known_to_be_late() -> None:
    """Where SSM takes a command every 50 s, three have one in time; all others end as failed or late, none without an outcome."""
    _, stack = through_ours(400, replace(SCARCE, send_command=(1, 1 / 50)))
    outcomes = Counter(item.outcome for item in stack.table.items.values())
    assert outcomes.total() == 400
    assert outcomes[Outcome.SAVED] == len(stack.commanded.at) <= 150
    assert set(outcomes) == {Outcome.SAVED, Outcome.FAILED, Outcome.LATE} or set(outcomes) == {Outcome.SAVED, Outcome.FAILED}
    assert stack.story.told[Happened.NOTICE_CLOSED] == 400


def test_the_decision_is_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the domain decides is what happens: were nobody opted in, no command would be sent."""
    monkeypatch.setattr(respond_to_notices, "decide", lambda notice, *_: Plan(notice, "no", Outcome.NOT_OPTED_IN))
    account, stack = through_ours(20)
    assert account.calls["ssm:SendCommand"] == 0
    assert {item.outcome for item in stack.table.items.values()} == {Outcome.NOT_OPTED_IN}


def test_results_are_claimed_by_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The use case that records results is the real one: were no result claimed, no notice would be saved."""
    monkeypatch.setattr(record_checkpoint, "answered_by", lambda *_: None)
    _, stack = through_ours(20)
    assert {item.outcome for item in stack.table.items.values()} == {None}
    assert stack.story.told[Happened.RESULT_UNCLAIMED] == 20


class CountingClient:
    """Botocore's clients as far as the adapters under test use them, answering with nothing; counts the calls by bucket or name."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def describe_instances(self, **_asked: object) -> dict[str, Any]:
        """Count a describe by ids."""
        self.calls["by id"] += 1
        return {"Reservations": []}

    def get_paginator(self, _name: str) -> SimpleNamespace:
        """Count describes by filter."""
        self.calls["filtered"] += 1
        return SimpleNamespace(paginate=lambda **_: [])

    def batch_get_item(self, **_asked: object) -> dict[str, Any]:
        """Count a read."""
        self.calls["dynamodb:BatchGetItem"] += 1
        return {"Responses": {}}


@pytest.mark.parametrize("count", [1, 200, 201, 1000, 2300])
def test_the_fleet_asks_as_the_adapter_does(count: int) -> None:
    """The simulated fleet makes as many describes as ``Ec2Fleet``, and takes them from the same of EC2's buckets."""
    ids, client = [f"i-{number:017x}" for number in range(count)], CountingClient()
    account = Account(Quotas(describe_by_id=(50, 0), describe_filtered=(100, 0)), Seconds(), seed=1)
    Ec2Fleet(client).describe(ids)  # type: ignore[arg-type]  # what it uses of the client
    account.engine.start(lambda: SimulatedFleet(account).describe(ids))
    account.engine.run()
    left = account.describe_by_id.left(0.0), account.describe_filtered.left(0.0)
    assert (50 - left[0], 100 - left[1]) == (client.calls["by id"], client.calls["filtered"])
    assert account.calls["ec2:DescribeInstances"] == client.calls.total()


@pytest.mark.parametrize("count", [1, 100, 101, 1000])
def test_the_table_reads_as_the_adapter_does(count: int) -> None:
    """The simulated table reads as many keys to a call as ``DynamoNoticesTable``, and takes as many answers."""
    notices, client = [notice(number) for number in range(count)], CountingClient()
    real = DynamoNoticesTable(client, "notices", timedelta(days=1))  # type: ignore[arg-type]  # what it uses of the client
    real.read(notices)
    account, stack = through_ours(0)
    account.engine.start(lambda: stack.table.read(notices))
    account.engine.run()
    assert account.calls == client.calls
    assert stack.table.batch_size == real.batch_size


def test_what_failed_comes_again_in_order() -> None:
    """A lane delivers again from the first failed notice to the batch's end, the whole batch after an error, and gives up after five more tries."""
    account, batches, troubled = Account(Quotas(), Seconds(), seed=1), list[list[str]](), notice(2).key

    def respond(batch: Sequence[Notice]) -> set[NoticeKey]:
        batches.append([one.instance_id for one in batch])
        if len(batches) == 1:
            raise Throttled("dynamodb:BatchGetItem")
        return {troubled}

    lane = simulated.Lane(Function(account, 0.0), respond)
    for number in (1, 2, 3):
        lane.put(notice(number))
    account.engine.run()
    all_three = [notice(number).instance_id for number in (1, 2, 3)]
    assert batches == [all_three] * 2 + [all_three[1:]] * 4
    assert lane.dead_letters == 2


def test_a_closed_notice_stays_closed() -> None:
    """As in DynamoDB, an answer does not take the place of an outcome, and closes nothing that was asked; it takes nobody's else."""
    account, stack = through_ours(3)
    closed, asked, left = stack.table.items.values()
    asked.outcome = left.outcome = left.command_id = None
    subject = [Answer(item.notice, NOW, outcome=Outcome.LATE) for item in (closed, asked, left)]
    account.engine.start(lambda: stack.table.answer(subject))
    account.engine.run()
    assert [item.outcome for item in stack.table.items.values()] == [Outcome.SAVED, None, Outcome.LATE]


def test_the_model_is_the_templates() -> None:
    """Batches, windows, retries, timeouts, memory and ages are those of the stack."""
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    functions = of_type("AWS::Lambda::Function")
    responding, recording = functions["RespondToNotices"], functions["RecordNotice"]
    assert (mapping["BatchSize"], PARAMETERS["BatchingWindowSeconds"]["Default"]) == (simulated.BATCH_SIZE, simulated.WINDOW)
    assert mapping["MaximumRetryAttempts"] == simulated.STREAM_RETRIES
    assert "ParallelizationFactor" not in mapping
    assert (responding["MemorySize"], responding["Timeout"], recording["Timeout"]) == (simulated.MEMORY, RESPOND_TIMEOUT, RECORD_TIMEOUT)
    assert {config["MaximumEventAgeInSeconds"] for config in of_type("AWS::Lambda::EventInvokeConfig").values()} == {LONGEST_AGE}


@pytest.fixture(scope="module")
def thousand() -> dict[str, Row]:
    """A thousand warnings through each design."""
    return {design.name: simulate(design, 1000) for design in DESIGNS if 1000 in design.bursts}


def test_a_thousand_are_commanded_within_ten_seconds(thousand: dict[str, Row]) -> None:
    """The goal: 1,000 warnings within two seconds, all commands within ten, in a handful of describes and some twenty commands."""
    ours = thousand[OURS.name]
    assert ours["event_to_command_seconds"]["worst"] <= 10
    assert ours["before_deadline"] == 1.0
    assert ours["calls"]["ec2:DescribeInstances"] <= 4
    assert ours["calls"]["ssm:SendCommand"] <= 25


@pytest.mark.parametrize("commands", [(5.0, 5.0), (1e6, 1e6)])
def test_one_call_for_each_event_takes_over_95_seconds(commands: tuple[float, float]) -> None:
    """The design of one call for each event is not done after 95 s, even if SSM had no limit at all."""
    row = simulate(replace(PER_EVENT, quotas=Quotas(send_command=commands)), 1000)
    worst = row["event_to_command_seconds"]["worst"]
    assert worst is None or worst > 95


def test_others_find_every_instance(thousand: dict[str, Row]) -> None:
    """The models of the queues are not made to lose: with 1,000 warnings, both command all in time."""
    assert (TEN.batch, HUNDRED.batch) == (10, 100)
    for name in ("queue, batches of 10", "queue, batches of 100"):
        assert thousand[name]["before_deadline"] == 1.0, name


def test_the_same_seed_gives_the_same_figures(thousand: dict[str, Row]) -> None:
    """Nothing depends on the machine: a second run is the first one, another seed is another."""
    assert simulate(OURS, 1000) == thousand[OURS.name]
    assert simulate(OURS, 1000, seed=2) != thousand[OURS.name]


def test_the_command_writes_table_rows_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m bench.burst`` prints a line for each row, records rows of plain JSON, and draws them."""
    recorded: dict[str, list[Row]] = {}
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    command.main(["--most", "10"])
    rows = recorded["burst"]
    assert len(rows) == 2 * 4 == len(capsys.readouterr().out.splitlines()) - 2
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert {"design", "warnings", "calls", "throttled", "event_to_command_seconds", "before_deadline"} <= set(rows[0])
    assert (tmp_path / "out" / "burst.png").stat().st_size > 10_000


def test_goals_are_judged(thousand: dict[str, Row]) -> None:
    """Each goal is said to be met or missed by its figure; one that never comes is missed."""
    assert [line.split(": ")[1].split(",")[0] for line in command.goals(list(thousand.values()))] == ["met", "so it is"]
    late = {**thousand[OURS.name], "event_to_command_seconds": {"median": 1.0, "p99": 2.0, "worst": None}}
    assert "MISSED, the last after inf s" in " ".join(command.goals([late]))


def test_what_never_comes_is_drawn(tmp_path: Path, thousand: dict[str, Row]) -> None:
    """A design whose command never comes has its place in the picture."""
    draw([{**thousand[OURS.name], "event_to_command_seconds": {"median": None, "p99": None, "worst": None}}], tmp_path / "never.png")
    assert (tmp_path / "never.png").exists()
