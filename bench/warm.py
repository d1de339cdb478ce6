"""What a warm invocation costs: run in a process of its own, prints one line of JSON after the story's lines.

    python -m bench.warm record_notice 1
    python -m bench.warm respond_to_notices 1000

``cpu_ms``: the median of several invocations with that many events or stream records. ``peak_mb``: the most memory that the whole
process had, the stubbed answers included. ``calls``: of one invocation.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from bench.instances import described
from bench.stubbed_aws import COMMAND_ID, StubbedAws
from spot_responder.adapters import clients
from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.notices import Action, Notice, NoticeKind, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ACCOUNT, REGION = "123456789012", "us-east-1"
FUNCTION_MILLISECONDS = 150_000
WARMING_UP = 3
ROUNDS = {"respond_to_notices": 7}
ROUNDS_OF_ONE_EVENT = 200

type Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """Lambda's context object, as far as the functions use it."""

    aws_request_id: str = "5f3c1f3e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Return the function's whole time."""
        return FUNCTION_MILLISECONDS


def notices(count: int) -> list[Notice]:
    """Return interruption warnings of this moment, one for each instance."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, f"i-{number:017x}", ACCOUNT, REGION, now, f"{number:08x}-0000-4000-8000-000000000000")
        for number in range(count)
    ]


def stream_batch(batch: Sequence[Notice]) -> Event:
    """Return a batch of the table's stream (Lambda, "Using AWS Lambda with Amazon DynamoDB")."""
    return {"Records": [stream_record(number, notice) for number, notice in enumerate(batch)]}


def stream_record(number: int, notice: Notice) -> Event:
    """Return one new item as the stream tells of it."""
    item = to_item(notice)
    keys = {name: item[name] for name in ("account_region", "notice_id")}
    return {
        "eventID": f"{number:032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": f"{number:021d}", "SizeBytes": 500, "StreamViewType": "NEW_IMAGE"},
        "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/notices/stream/2026-11-22T00:00:00.000",
    }


def eventbridge(source: str, detail_type: str, detail: Mapping[str, str], notice: Notice) -> Event:
    """Return an EventBridge event of the notice's time and place."""
    return {
        "version": "0",
        "id": notice.event_id,
        "detail-type": detail_type,
        "source": source,
        "account": notice.account,
        "time": timestamp(notice.time),
        "region": notice.region,
        "resources": [f"arn:aws:ec2:{REGION}a:instance/{notice.instance_id}"],
        "detail": {"instance-id": notice.instance_id, **detail},
    }


def warning(batch: Sequence[Notice]) -> Event:
    """Return what record_notice gets."""
    return eventbridge("aws.ec2", "EC2 Spot Instance Interruption Warning", {"instance-action": "terminate"}, batch[0])


def command_result(batch: Sequence[Notice]) -> Event:
    """Return what record_checkpoint gets."""
    detail = {"command-id": COMMAND_ID, "document-name": "checkpoint", "status": "Failed"}
    return eventbridge("aws.ssm", "EC2 Command Invocation Status-change Notification", detail, batch[0])


def state_change(batch: Sequence[Notice]) -> Event:
    """Return what record_instance_state gets."""
    return eventbridge("aws.ec2", "EC2 Instance State-change Notification", {"state": "terminated"}, batch[0])


EVENTS: Mapping[str, Callable[[Sequence[Notice]], Event]] = {
    "record_notice": warning,
    "respond_to_notices": stream_batch,
    "record_checkpoint": command_result,
    "record_instance_state": state_change,
}


def stubbed(function: str, batch: Sequence[Notice]) -> StubbedAws:
    """Put the stub where the network would be, knowing these notices; where one event closes a notice, its command was sent."""
    asked = {} if function == "respond_to_notices" else {"command_id": {"S": COMMAND_ID}}
    items = {notice.key.notice_id: {**to_item(notice), **asked} for notice in batch}
    instances = described([notice.instance_id for notice in batch], os.environ["OPT_IN_TAG_KEY"], os.environ["OPT_IN_TAG_VALUE"])
    aws = StubbedAws(items, instances)
    handler: Any = aws  # botocore's stubs say that handlers return nothing, but what this one returns is the response
    clients._session().register("before-send", handler)  # noqa: SLF001  # before any client is made
    return aws


def measure(function: str, count: int) -> dict[str, Any]:
    """Invoke a function again and again; return the figures of one invocation."""
    batch = notices(count)
    aws = stubbed(function, batch)
    handler = import_module(f"functions.{function}.app").handler
    event = EVENTS[function](batch)
    rounds = ROUNDS.get(function, ROUNDS_OF_ONE_EVENT)
    seconds = [invoke(handler, event, aws) for _ in range(WARMING_UP + rounds)][WARMING_UP:]
    return {"cpu_ms": 1000 * median(seconds), "peak_mb": peak_megabytes(), "calls": dict(sorted(aws.calls.items()))}


def invoke(handler: Callable[[Event, Context], object], event: Event, aws: StubbedAws) -> float:
    """Return the CPU seconds of one invocation, without the stub's own."""
    aws.calls, aws.cpu_seconds = Counter(), 0.0
    start = process_time()
    handler(event, Context())
    return process_time() - start - aws.cpu_seconds


def peak_megabytes() -> float:
    """Return this program's peak resident memory. Linux: getrusage's figure would count the parent's before exec, too."""
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if kilobytes is None:
        raise OSError("/proc/self/status has no line VmHWM")
    return int(kilobytes[1]) / 1024


if __name__ == "__main__":
    result = measure(sys.argv[1], int(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
