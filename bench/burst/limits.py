"""What AWS allows, and how long it takes: the figures that the simulation stands on.

Where AWS publishes a figure, its page is named. Where it does not, the comment says "assumed", and the figure is on the careful side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

SLACK = 1e-9
"""Tokens that may be missing: ten times a tenth of a token is not quite one, in floating point."""


class TokenBucket:
    """So many tokens at most, so many new ones a second (EC2 Developer Guide, "Request throttling"); full at time 0."""

    def __init__(self, capacity: float, per_second: float) -> None:
        self.capacity = capacity
        self.per_second = per_second
        self._tokens = capacity
        self._at = 0.0

    def left(self, now: float) -> float:
        """Return the tokens there are."""
        return min(self.capacity, self._tokens + (now - self._at) * self.per_second)

    def take(self, now: float, tokens: int = 1) -> bool:
        """Take all of these, or none."""
        return self.take_some(now, tokens, least=tokens) == tokens

    def take_some(self, now: float, tokens: int, least: int = 1) -> int:
        """Take as many as there are, at most ``tokens``; none if there are fewer than ``least``. Return how many."""
        left = self.left(now)
        taken = min(tokens, int(left + SLACK))
        if taken < least:
            return 0
        self._tokens, self._at = left - taken, now
        return taken


type Rate = tuple[float, float]
"""A bucket's capacity, and its tokens a second."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """One account and Region, as AWS gives it to everybody."""

    # EC2 Developer Guide, "Request throttling for the Amazon EC2 API": non-mutating actions; those without filter and pages have less.
    describe_filtered: Rate = (100, 20)
    describe_by_id: Rate = (50, 10)
    # Systems Manager publishes no rate of SendCommand: assumed.
    send_command: Rate = (5, 5)
    # DynamoDB Developer Guide, "Partitions and data distribution", "Designing partition keys": one partition's most, each second.
    partition_writes: Rate = (1000, 1000)
    partition_reads: Rate = (3000, 3000)
    # DynamoDB Developer Guide, "On-demand capacity mode": a new table takes 4,000 writes a second, which are four partitions.
    partitions: int = 4
    # Lambda Developer Guide, "Lambda quotas": of all functions together; "Lambda scaling behavior": new environments of one function.
    concurrency: int = 1000
    new_environments: Rate = (1000, 100)
    # EventBridge User Guide, "Amazon EventBridge quotas": invocations of targets a second, us-east-1.
    deliveries_per_second: float = 18_750


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long things take, medians in seconds."""

    # EventBridge's FAQ says "about half a second"; AWS's own blog (Architecture Blog, 2026-02-04, Amazon Key) 80 ms at the 90th percentile. Between.
    delivery: float = 0.25
    # `make bench`: 0.3 to 0.4 s of CPU until a handler is ready; as much to make the environment, assumed.
    cold_start: float = 0.7
    # `make bench`: 2 to 4 ms of CPU for one event, on a whole core; 512 MB are 0.29 of one (Lambda Developer Guide, "Configure function memory").
    event: float = 0.010
    # `make bench`: 0.6 to 1.0 s of CPU for 1,000 notices, on a whole core.
    notice: float = 0.0009
    # DynamoDB's FAQ: "single-digit millisecond"; for a batch, assumed.
    item: float = 0.006
    batch: float = 0.015
    # EC2 and SSM publish no latency. Assumed: so much for a call, and for each instance in it.
    describe: float = 0.3
    each_instance: float = 0.0005
    send_command: float = 0.15
    # What a throttled call takes to be refused. Assumed.
    refusal: float = 0.02
    # DynamoDB Developer Guide, "Change data capture for DynamoDB Streams": near real time. Assumed.
    stream: float = 0.1
    # How long an instance saves. Assumed.
    checkpoint: float = 15.0

    def times(self, factor: float) -> Seconds:
        """Return latencies that are all so many times as long."""
        return Seconds(**{name: factor * value for name, value in asdict(self).items()})


WHOLE_CORE = 1769
"""MB of memory (Lambda Developer Guide, "Configure Lambda function memory")."""

SPREAD = 0.4
"""Of the logarithm of a latency, a normal distribution's sigma: the 99th of a hundred takes 2.5 times the median."""


def about(median: float, chance: Random) -> float:
    """Return a latency around this median, seconds."""
    return median * exp(chance.gauss(0, SPREAD))
