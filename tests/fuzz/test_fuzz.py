"""Whatever comes in, a function answers: it does not fail, asks for no retry, writes short lines, and does no more than for a valid event."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from spot_responder.adapters.notices_table import to_item
from spot_responder.adapters.story_log import FIELDS
from spot_responder.adapters.system_clock import SystemClock
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import parse
from spot_responder.domain.lines import Happened
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.examples import ACCOUNT, REGION, instance_id
from tests.fakes.aws import AwsOverHttp
from tests.fuzz.account import Account
from tests.fuzz.mutations import Mutations
from tests.fuzz.watch import WATCH
from tests.lambdas import FUNCTIONS, Context, invoke, start_cold

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = Path(__file__).parents[2] / "events"
SAMPLES = [path.read_text() for path in sorted(EVENTS.glob("*.json")) if path.stem != "sandbox-env"]
NOW = datetime(2026, 11, 22, 10, 1, 30, tzinfo=UTC)
"""When the samples' warnings leave half a minute, and their instances' ends are not yet a thing of the future."""
LINE_BYTES = 8 * 1024
SHARE, ALL = 1_500, 100_000
SHARE_OF_RECORDS, ALL_RECORDS = 150, 10_000


@dataclass(slots=True)
class Lambda:
    """The four functions in one process, what they print, and the AWS that they see."""

    aws: AwsOverHttp
    account: Account
    mutations: Mutations
    printed: io.StringIO
    slept: list[float] = field(default_factory=list)

    def invoke(self, function: str, event: object) -> tuple[Any, list[dict[str, Any]], Counter[str]]:
        """Invoke a function under watch; return its answer, its lines and its calls."""
        self.aws.calls.clear()
        self.printed.seek(0)
        self.printed.truncate()
        with WATCH.looking():
            answer = invoke(function, event, Context(left=20_000))
        return answer, [checked(line) for line in self.printed.getvalue().splitlines()], Counter(call.operation for call in self.aws.calls)


def checked(line: str) -> dict[str, Any]:
    """Return a line of the log, which is one short line of JSON, printable and complete."""
    assert len(line.encode()) <= LINE_BYTES, f"a line of {len(line.encode())} bytes: {line[:500]}"
    assert line.isascii(), line[:500]
    assert line.isprintable(), line[:500]
    told: dict[str, Any] = json.loads(line, parse_constant=_no_number)
    assert list(told) == list(FIELDS)
    assert told["event"] in set(Happened)
    return told


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Lambda]:
    """Return the functions, warm, on the morning of the samples."""
    aws, printed, slept = AwsOverHttp(), io.StringIO(), list[float]()
    mutations = Mutations(Random(20261122), str(tmp_path / "canary"))
    account = Account({notice.key.notice_id: to_item(notice) for notice in sample_notices()}, lambda: mutations.hostile())  # noqa: PLW0108
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: NOW)
        patch.setattr(SystemClock, "sleep", lambda _, seconds: slept.append(seconds))
        patch.setattr(sys, "stdout", printed)
        # pytest's own, which would keep every line.
        patch.setattr(logging.root, "handlers", [])
        patch.setenv("JOBS_TABLE", "jobs")
        start_cold(patch)
        aws.install(patch)
        account.serve(aws)
        for sample in SAMPLES:
            for function in FUNCTIONS:
                invoke(function, json.loads(sample), Context(left=20_000))
        yield Lambda(aws, account, mutations, printed, slept)


def sample_notices() -> list[Notice]:
    """Return the notices of the samples that are events."""
    found = []
    for sample in SAMPLES:
        try:
            fact = parse(json.loads(sample), NOW)
        except InvalidInput:
            continue
        found += [fact] if isinstance(fact, Notice) else []
    return found


def most_calls(functions: Lambda) -> dict[str, Counter[str]]:
    """Return the calls of valid events, by function: the most of each operation that one of the samples makes."""
    most: dict[str, Counter[str]] = {function: Counter() for function in FUNCTIONS}
    for sample in SAMPLES:
        for function in FUNCTIONS:
            most[function] |= functions.invoke(function, json.loads(sample))[2]
    return most


def unfit(functions: Lambda, function: str, event: object, most: Counter[str]) -> str:
    """Return what is not right with a function's answer to an event; empty where all is."""
    try:
        answer, _, calls = functions.invoke(function, event)
    except Exception as error:  # noqa: BLE001  # the very thing that is looked for
        return f"raised {type(error).__name__}: {error}"[:2000]
    # More records than the samples have are more jobs to be told, and no other calls.
    records = len(event["Records"]) if isinstance(event, dict) and isinstance(event.get("Records"), list) else 1
    allowed = {name: max(count, records) if name == "sfn:SendTaskSuccess" else count for name, count in most.items()}
    found = {
        "asked for a retry": answer not in (None, {"batchItemFailures": []}) and answer,
        "waited": functions.slept,
        "did what it may not": WATCH.seen,
        "was refused": functions.account.refused,
        "called too much": {name: count for name, count in calls.items() if count > allowed.get(name, 0)},
    }
    return "; ".join(f"{what}: {value}" for what, value in found.items() if value)


def fuzz(functions: Lambda, count: int, canary: Path) -> None:
    """Send so many almost-events through every function."""
    most = most_calls(functions)
    for number in range(count):
        text = functions.mutations.of(SAMPLES)
        event = json.loads(text)
        for function in FUNCTIONS:
            trouble = unfit(functions, function, event, most[function])
            assert not trouble, f"event {number}, {function}: {trouble}\n{text[:2000]}"
    assert not canary.exists()


def test_no_event_upsets_a_function(functions: Lambda, tmp_path: Path) -> None:
    """Almost-events through every function: no failure, no retry, no long or forged line, no call beyond a valid event's, nothing executed."""
    fuzz(functions, SHARE, tmp_path / "canary")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_event_of_very_many_upsets_a_function(functions: Lambda, tmp_path: Path) -> None:
    """The same for a hundred thousand."""
    fuzz(functions, ALL, tmp_path / "canary")


def warning(number: int) -> Notice:
    """Return a warning of a moment ago."""
    return Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(number), ACCOUNT, REGION, NOW - timedelta(seconds=2), f"event-{number}")


def record(notice: Notice, number: int) -> dict[str, Any]:
    """Return a record of the table's stream."""
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": to_item(notice)}}


def new_image(almost: Any) -> dict[str, Any]:
    """Return the item of an almost-record, as far as it is one that DynamoDB could have: its attributes are typed."""
    image = almost.get("dynamodb", {}) if isinstance(almost, dict) else {}
    image = image.get("NewImage") if isinstance(image, dict) else {}
    return {name: value for name, value in image.items() if isinstance(value, dict) and list(value) == ["S"]} if isinstance(image, dict) else {}


def fuzz_records(functions: Lambda, count: int) -> None:
    """Put so many almost-records between two good ones."""
    first, last = warning(1), warning(2)
    items = {notice.key.notice_id: to_item(notice) for notice in (first, last)}
    for _ in range(count):
        text = functions.mutations.of([json.dumps(record(warning(3), 101))])
        almost = json.loads(text)
        event = {"Records": [record(first, 100), almost, record(last, 102)]}
        # The table has what the stream brings.
        functions.account.items = items | {warning(3).key.notice_id: image for image in [new_image(almost)] if image}
        answer, lines, calls = functions.invoke("respond_to_notices", event)
        asked = {line["instance_id"] for line in lines if line["event"] == "checkpoint_asked"}
        assert asked >= {first.instance_id, last.instance_id}, text[:2000]
        assert answer == {"batchItemFailures": []}, text[:2000]
        assert calls["ec2:DescribeInstances"] == calls["ssm:SendCommand"] == 1, text[:2000]
        assert not functions.slept + functions.account.refused + WATCH.seen, text[:2000]


def test_no_record_delays_the_others(functions: Lambda) -> None:
    """A good record beside an almost-record is answered at once, in the same calls, and is not delivered again."""
    fuzz_records(functions, SHARE_OF_RECORDS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_record_of_very_many_delays_the_others(functions: Lambda) -> None:
    """The same for ten thousand."""
    fuzz_records(functions, ALL_RECORDS)
