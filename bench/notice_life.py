"""What one function asks of AWS for one notice: run in a process of its own, prints one line of JSON.

    python -m bench.notice_life record_notice

The notice comes alone, is answered, and its checkpoint fails, which takes more calls than one that succeeds. ``calls``: of one
invocation. ``attributes``: what it writes on the notice's item, by name. ``log_lines``, ``log_bytes``: its part of the story.
``event_bytes``: what it got. ``cold_cpu_ms``: of this whole process up to the end of the first invocation. ``warm_cpu_ms``: of a
later one.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from bench.warm import EVENTS, invoke, notices, stubbed
from spot_responder.adapters import clients

if TYPE_CHECKING:
    from collections.abc import Mapping

WARM_ROUNDS = 30

type Attributes = dict[str, str]


def written(asked: Mapping[str, Any]) -> Attributes:
    """Return the attributes that a DynamoDB request sets on the notice's item, as texts.

    ``PutItem`` and ``UpdateItem`` name them; of ``BatchExecuteStatement`` it is the order (DynamoDB API).
    """
    if "Item" in asked:
        return {name: _text(value) for name, value in asked["Item"].items()}
    if "UpdateExpression" in asked:
        values = asked["ExpressionAttributeValues"]
        return {name: _text(values[placeholder.replace("#", ":")]) for placeholder, name in asked["ExpressionAttributeNames"].items()}
    set_by = [(re.findall(r'SET "(\w+)"=\?', each["Statement"]), each["Parameters"]) for each in asked.get("Statements", [])]
    return {name: _text(value) for names, values in set_by for name, value in zip(names, values, strict=False)}


def _text(value: Mapping[str, str]) -> str:
    [text] = value.values()
    return text


def measure(function: str) -> dict[str, Any]:
    """Invoke a function once and look at what it asks for, then often."""
    batch = notices(1)
    aws = stubbed(function, batch)
    attributes: Attributes = {}

    def look(**sent: Any) -> None:  # noqa: ANN401  # botocore's events
        attributes.update(written(json.loads(sent["request"].body)))

    clients._session().register("before-send.dynamodb", look)  # noqa: SLF001  # the longer name is called before the stub, which answers
    event = EVENTS[function](batch)
    with redirect_stdout(StringIO()) as story:
        handler = import_module(f"functions.{function}.app").handler
        invoke(handler, event, aws)
        cold = process_time() - aws.cpu_seconds
        lines, calls = story.getvalue().splitlines(), dict(sorted(aws.calls.items()))
        warm = median(invoke(handler, event, aws) for _ in range(WARM_ROUNDS))
    return {
        "calls": calls,
        "attributes": attributes,
        "log_lines": len(lines),
        "log_bytes": sum(len(line) for line in lines),
        "event_bytes": len(json.dumps(event)),
        "cold_cpu_ms": 1000 * cold,
        "warm_cpu_ms": 1000 * warm,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")
