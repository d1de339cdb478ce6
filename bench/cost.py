"""What the stack costs a month for 1,000 and for 1,000,000 notices, by AWS's public prices. No network.

    python -m bench.cost

Prints a table and writes it to ``out/bench.json`` under ``cost``. How much of everything a notice takes is counted: calls, items, log
lines and CPU from a run of each function (`bench.notice_life`), metrics, alarms and dashboards from the template, state transitions
from the state machine's definition. What is not counted is assumed, always to the dear side:

- every notice comes alone, is an interruption, opted in, and its checkpoint fails; the instance shuts down and terminates;
- with 1,000 notices a month every invocation is a cold start, with 1,000,000 (23 a minute) none is; a call to AWS takes 20 ms;
- nothing is compressed, a metric that has one data point is paid for the whole month, everything is kept for a month;
- KMS is asked at most every five minutes by each caller, which is how long DynamoDB keeps a table's key (DynamoDB, "Encryption at rest").
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # SAM brings no types

from bench.handlers import aligned, python
from bench.prices import GB, LOOKED_UP, PRICES, REGION
from bench.results import RESULTS, ROOT, progress, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.results import Row

INVOCATIONS = {"record_notice": 1, "respond_to_notices": 1, "record_checkpoint": 1, "record_instance_state": 2}
"""Of each function, for one notice: an instance that is taken back is first shutting down, then terminated."""
MONTHS = {1_000: "cold_cpu_ms", 1_000_000: "warm_cpu_ms"}
"""Notices a month, and what the CPU of an invocation is then."""

CALL_SECONDS = 0.020
MEGABYTES_A_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
ITEM_OVERHEAD, LINE_OVERHEAD = 100, 26
"""Bytes: DynamoDB's of each stored item, CloudWatch Logs' of each event (their pricing pages)."""
WRITE_UNIT, READ_UNIT = 1024, 4096
KEY_CALLERS, KEY_REQUESTS_OF_A_CALLER = 5, 30 * 24 * 12
"""Four functions and the stream; one request each five minutes."""
ITEMS_READ = {"dynamodb:BatchGetItem": 1, "dynamodb:Query": 1}
ITEMS_WRITTEN = {"dynamodb:PutItem": 1, "dynamodb:UpdateItem": 1, "dynamodb:BatchExecuteStatement": 1}
"""By a call for one notice; a call of another name has to be looked at first."""
FREE_CALLS = {"ec2:DescribeInstances": "describes", "ssm:SendCommand": "commands", "ssm:GetCommandInvocation": "commands"}

type Life = Mapping[str, Mapping[str, Any]]
type Units = Counter[str]


@dataclass(frozen=True, slots=True)
class Stack:
    """What the template and the state machine say. ``memory`` is in MB, by function."""

    memory: Mapping[str, int]
    metrics: int
    alarm_metrics: int
    dashboards: int
    transitions: int


def lives() -> Life:
    """Measure what each function does for one notice."""
    return {function: python("-m", "bench.notice_life", function) for function in INVOCATIONS}


def item_bytes(life: Life) -> int:
    """Return the size of a notice's item when all has been written on it (DynamoDB, "Item sizes and formats")."""
    attributes = {name: value for one in life.values() for name, value in one["attributes"].items()}
    return sum(len(name) + len(value) for name, value in attributes.items())


def notice_units(life: Life, stack: Stack, cpu: str) -> Units:
    """Return what one notice takes."""
    units: Units = Counter({"archived GB": life["record_notice"]["event_bytes"] / GB, "archive GB-months": life["record_notice"]["event_bytes"] / GB})
    stored = item_bytes(life) + ITEM_OVERHEAD
    units.update({"table GB": stored / GB, "point-in-time recovery GB": stored / GB})
    for function, times in INVOCATIONS.items():
        one = invocation_units(life[function], stack.memory[function], cpu, item_bytes(life))
        units.update({unit: times * amount for unit, amount in one.items()})
    units["AWS events"] = sum(INVOCATIONS.values()) - INVOCATIONS["respond_to_notices"]
    units["stream reads by Lambda"] = INVOCATIONS["respond_to_notices"]
    return units


def invocation_units(one: Mapping[str, Any], megabytes: int, cpu: str, item: int) -> Units:
    """Return what one invocation takes; ``item`` is the size in bytes of what it reads and writes.

    Raises:
        KeyError: A call that nobody has put a price on yet.
    """
    seconds = one[cpu] / 1000 / min(megabytes / MEGABYTES_A_VCPU, 1) + sum(one["calls"].values()) * CALL_SECONDS
    logged = (one["log_bytes"] + LINE_OVERHEAD * one["log_lines"]) / GB
    units: Units = Counter({"invocations": 1, "GB-seconds": seconds * megabytes / 1024, "log GB": logged, "log GB-months": logged})
    for call, times in one["calls"].items():
        if call in ITEMS_READ:
            units["read request units"] += times * ITEMS_READ[call] * max(ceil(item / READ_UNIT), 1)
        elif call in ITEMS_WRITTEN:
            units["write request units"] += times * ITEMS_WRITTEN[call] * ceil(item / WRITE_UNIT)
        else:
            units[FREE_CALLS[call]] += times
    return units


def month(notices: int, life: Life, stack: Stack) -> dict[str, Units]:
    """Return what a month takes, by part: ``responder``, and what comes on top of it in some stacks and accounts.

    EventBridge cannot tell which instances had a notice: each one that ends in the account is looked up.
    """
    each = notice_units(life, stack, MONTHS[notices])
    responder: Units = Counter({unit: notices * amount for unit, amount in each.items()})
    key_requests = min(notices * sum(INVOCATIONS.values()), KEY_CALLERS * KEY_REQUESTS_OF_A_CALLER)
    responder.update({"metrics": stack.metrics, "alarm metrics": stack.alarm_metrics, "dashboards": stack.dashboards, "key requests": key_requests})
    # Only what failed goes to the queue; its alarm reads a metric of SQS's own.
    responder["queue requests"] = 0
    told: Units = Counter({"published": notices, "e-mails": notices, "keys": 1, "key requests": min(notices, KEY_REQUESTS_OF_A_CALLER)})
    unnoticed = {**life["record_instance_state"], "calls": {"dynamodb:Query": 1}, "log_bytes": 0, "log_lines": 0}
    one = invocation_units(unnoticed, stack.memory["record_instance_state"], MONTHS[notices], 0)
    others: Units = Counter({unit: notices * INVOCATIONS["record_instance_state"] * amount for unit, amount in one.items()})
    jobs: Units = Counter({"state transitions": notices * stack.transitions, "dashboards": 1})
    return {"responder": responder, "notification address": told, "every notice ends a job's attempt": jobs, "as many other instances end": others}


def rows(life: Life, stack: Stack) -> Iterator[Row]:
    """Yield the price of a month by part and service, and each part's ``total``."""
    for notices in MONTHS:
        for part, units in month(notices, life, stack).items():
            by_service: dict[str, Units] = {}
            for unit, amount in units.items():
                by_service.setdefault(PRICES[unit].service, Counter())[unit] = amount
            yield from (row(notices, part, service, some) for service, some in by_service.items())
            yield row(notices, part, "total", units)


def row(notices: int, part: str, service: str, units: Units) -> dict[str, Any]:
    """Return the price of some units; ``usd`` is the list price, ``usd_after_free_tier`` where nobody else uses what is free."""
    return {
        "notices_a_month": notices,
        "part": part,
        "service": service,
        "usd": round(sum(PRICES[unit].list_usd(amount) for unit, amount in units.items()), 4),
        "usd_after_free_tier": round(sum(PRICES[unit].least_usd(amount) for unit, amount in units.items()), 4),
        "units": {} if service == "total" else {unit: round(amount, 6) for unit, amount in units.items()},
        "region": REGION,
        "prices_of": LOOKED_UP,
    }


def read_stack() -> Stack:
    """Return what the template and the state machine's definition say."""
    template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    definition: dict[str, Any] = yaml_parse((ROOT / "statemachine" / "spot_job.asl.yaml").read_text())
    usual = template["Globals"]["Function"]["MemorySize"]
    resources = template["Resources"].values()
    always = [resource for resource in resources if "Condition" not in resource]
    functions = {_snake(name): each for name, each in template["Resources"].items() if each["Type"] == "AWS::Serverless::Function"}
    alarms = [each["Properties"] for each in always if each["Type"] == "AWS::CloudWatch::Alarm"]
    return Stack(
        memory={name: each["Properties"].get("MemorySize", usual) for name, each in functions.items()},
        metrics=sum(len(each["Properties"]["MetricTransformations"]) for each in always if each["Type"] == "AWS::Logs::MetricFilter"),
        alarm_metrics=sum(sum("MetricStat" in metric for metric in alarm["Metrics"]) if "Metrics" in alarm else 1 for alarm in alarms),
        dashboards=sum(each["Type"] == "AWS::CloudWatch::Dashboard" for each in always),
        transitions=transitions(definition["States"], "Run", "Run"),
    )


def _snake(name: str) -> str:
    """``RecordNotice`` is the resource, ``record_notice`` the function."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def transitions(states: Mapping[str, Mapping[str, Any]], start: str, end: str) -> int:
    """Return the fewest states entered on the way from one state to another, errors apart: an interruption, from attempt to attempt."""
    reached, steps = {start}, 0
    while steps <= len(states):
        reached = {following for state in reached for following in _following(states[state])}
        steps += 1
        if end in reached:
            return steps
    raise ValueError(f"no way leads from the state {start} to {end}")


def _following(state: Mapping[str, Any]) -> Iterator[str]:
    yield from (state[key] for key in ("Next", "Default") if key in state)
    yield from (choice["Next"] for choice in state.get("Choices", []))


def table(priced: Sequence[Row]) -> str:
    """Return the prices as a table: a line for each part and service."""
    names = dict.fromkeys((each["part"], each["service"]) for each in priced)
    found = {(each["part"], each["service"], each["notices_a_month"]): each for each in priced}
    head = ["part", "service", *(f"{notices:,} notices{words}" for notices in MONTHS for words in (", USD", ", free tier used"))]
    lines = [
        [part, service, *(f"{found[part, service, notices][key]:.2f}" for notices in MONTHS for key in ("usd", "usd_after_free_tier"))]
        for part, service in names
    ]
    return aligned([head, *lines])


def main() -> None:
    """Count, price, print, write."""
    progress("cost: one notice through each function")
    priced = list(rows(lives(), read_stack()))
    record("cost", priced)
    sys.stdout.write(f"A month in {REGION}, prices of {LOOKED_UP}\n{table(priced)}\n\n{RESULTS.relative_to(ROOT)} has all figures.\n")


if __name__ == "__main__":
    main()
