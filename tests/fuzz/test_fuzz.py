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
from xml.sax.saxutils import escape

import pytest

from spot_responder.adapters.notices_table import to_item
from spot_responder.adapters.story_log import FIELDS
from spot_responder.adapters.system_clock import SystemClock
from spot_responder.domain.errors import InvalidInput
from spot_responder.domain.events import parse
from spot_responder.domain.lines import Happened
from spot_responder.domain.notices import Action, Notice, NoticeKind, timestamp
from tests.examples import ACCOUNT, REGION, instance_id
from tests.fakes.aws import AwsOverHttp, ec2_error, json_error
from tests.fuzz.account import MALFORMED, Account
from tests.fuzz.mutations import FRAGMENTS, LONG, VALUES, Mutations, kinds_of_field, with_value
from tests.fuzz.watch import WATCH
from tests.lambdas import FUNCTIONS, Context, invoke, start_cold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENTS = Path(__file__).parents[2] / "events"
SAMPLES = [path.read_text() for path in sorted(EVENTS.glob("*.json")) if path.stem != "sandbox-env"]
NOW = datetime(2026, 11, 22, 10, 1, 30, tzinfo=UTC)
"""When the samples' warnings leave half a minute, and their instances' ends are not yet a thing of the future."""
LINE_BYTES = 8 * 1024
LATEST = timestamp(NOW + timedelta(minutes=1))
"""Nothing that is later can have happened, however clocks differ."""
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
    """Return a line of the log, which is one short line of JSON, printable and complete, and of nothing that is still to come."""
    assert len(line.encode()) <= LINE_BYTES, f"a line of {len(line.encode())} bytes: {line[:500]}"
    assert line.isascii(), line[:500]
    assert line.isprintable(), line[:500]
    told: dict[str, Any] = json.loads(line, parse_constant=_no_number)
    assert list(told) == list(FIELDS)
    assert told["event"] in set(Happened)
    assert (told["event_time"] or "") <= LATEST
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


UNREAD = ("account_region", "notice_id", "deadline")
"""What follows from the rest of a notice's item, and is worked out from it."""


def in_each_field(functions: Lambda, values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield a function and an event of its own in which one field has one of these values: each value in each kind of field."""
    seen = set()
    for function, event in own_events(functions):
        fields = kinds_of_field(event)
        for path in [path for kind, path in fields.items() if (function, kind) not in seen]:
            yield from ((function, with_value(event, path, value)) for value in values)
        seen |= {(function, kind) for kind in fields}


def own_events(functions: Lambda) -> Iterator[tuple[str, Any]]:
    """Yield the samples, each with the function that it is for, and a record of the stream, alone and with no more than is read of it.

    What is not read changes nothing, and answering takes longest: that is left to chance.
    """
    for event in map(json.loads, SAMPLES):
        # A function makes no call for an event that is not for it.
        yield from ((function, event) for function in FUNCTIONS if "Records" not in event and functions.invoke(function, event)[2])
    change = record(warning(3), 101)["dynamodb"]
    image = {name: value for name, value in change["NewImage"].items() if name not in UNREAD}
    yield "respond_to_notices", {"Records": [{"dynamodb": change | {"NewImage": image}}]}


def test_no_value_of_a_field_upsets_a_function(functions: Lambda, tmp_path: Path) -> None:
    """Each strange or large value in each field that a function's events have: the same."""
    most = most_calls(functions)
    for function, event in in_each_field(functions, [_dangerous(value, tmp_path) for value in VALUES]):
        trouble = unfit(functions, function, event, most[function])
        assert not trouble, f"{function}: {trouble}\n{json.dumps(event)[:2000]}"
    assert not (tmp_path / "canary").exists()


def _dangerous(value: Any, folder: Path) -> Any:
    return value.replace("{canary}", str(folder / "canary")) if isinstance(value, str) else value


OPENING, CLOSING = "qv7", "7vq"
INTERPRETED = ("Expression", "Statement", "Name")
"""How the names of parameters end in which DynamoDB and Systems Manager read more than a text."""


def test_nothing_is_expanded(functions: Lambda) -> None:
    """What some language would make something else of stands letter by letter in lines and calls, or not at all: from events, tags and output."""
    heard: Counter[str] = Counter()
    for fragment in FRAGMENTS:
        marked = f"{OPENING}{fragment}{CLOSING}"
        functions.account.hostile = lambda marked=marked: marked  # type: ignore[misc]
        for function, event in in_each_field(functions, [marked]):
            _, lines, _ = functions.invoke(function, event)
            for told in (*lines, *(call.parameters for call in functions.aws.calls)):
                for name, text in texts("", told):
                    assert_whole(name, text, marked)
                    heard[fragment] += OPENING in text
    assert WATCH.seen == []
    assert all(heard[fragment] for fragment in FRAGMENTS)


def texts(name: str, part: Any) -> Iterator[tuple[str, str]]:
    """Yield all texts in a value, with the name of the member in which each stands."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from texts(key, value)
            yield name, key
    elif isinstance(part, list):
        for value in part:
            yield from texts(name, value)
    elif isinstance(part, str):
        yield name, part


def assert_whole(name: str, text: str, marked: str) -> None:
    """A text has the marked one whole, but for the backslashes of a literal, and in no place where it would be read."""
    found = text.replace("\\", "")
    assert found.count(OPENING) == found.count(marked.replace("\\", "")), f"{name}: {text}"
    assert OPENING not in text or not name.endswith(INTERPRETED), f"{name}: {text}"


TOLD = {
    "ec2:DescribeInstances": ("respond_to_notices", "new_notices"),
    "ssm:SendCommand": ("respond_to_notices", "new_notices"),
    "sfn:SendTaskSuccess": ("respond_to_notices", "new_notices"),
    "dynamodb:BatchExecuteStatement": ("respond_to_notices", "new_notices"),
    "ssm:GetCommandInvocation": ("record_checkpoint", "checkpoint_failed"),
}
"""The calls whose refusal a line tells in AWS's words, with function and sample; where another is refused the function fails, as it has to."""


@pytest.mark.parametrize("operation", TOLD)
def test_what_aws_says_is_cut(functions: Lambda, operation: str) -> None:
    """AWS's words on a refusal are told letter by letter; however long they are, the line that tells them is short."""
    function, sample = TOLD[operation]
    event = json.loads((EVENTS / f"{sample}.json").read_text())
    for said in ("A" * LONG[-1], "\U0001f4a5" * LONG[2], *FRAGMENTS):
        functions.aws.once(operation, ec2_error(MALFORMED, escape(said)) if operation.startswith("ec2:") else json_error(MALFORMED, said))
        _, lines, _ = functions.invoke(function, event)
        reasons = [line["reason"] or "" for line in lines]
        assert any(said in reason or (said[:200] in reason and reason.endswith("...")) for reason in reasons), said[:20]


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
