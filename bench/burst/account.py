"""One AWS account and Region in simulated time: requests that are throttled, functions that wait for an environment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bench.burst.engine import Engine
from bench.burst.limits import TokenBucket, about
from spot_responder.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.burst.limits import Quotas, Seconds


class Throttled(Unavailable):
    """The service refused a request for its rate, and the client's own retries did not help."""


@dataclass(frozen=True, slots=True)
class Retries:
    """A client's own: tries in all, and the longest pause between them, in seconds.

    Both of botocore's modes pause a random part of 1, 2, 4, ... s; "standard" at most 20 s (AWS SDKs and Tools Reference Guide, "Retry behavior").
    """

    tries: int
    longest_pause: float

    def pause(self, tries_so_far: int, chance: Random) -> float:
        """Return the seconds until the next try."""
        return min(chance.random() * 2.0 ** (tries_so_far - 1), self.longest_pause)


class Account:
    """What all designs share: time, chance, limits, and the count of all requests."""

    def __init__(self, quotas: Quotas, seconds: Seconds, seed: int) -> None:
        self.engine = Engine()
        self.chance = Random(seed)
        self.quotas = quotas
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self.throttled = 0
        self.describe_by_id = TokenBucket(*quotas.describe_by_id)
        self.describe_filtered = TokenBucket(*quotas.describe_filtered)
        self.send_command = TokenBucket(*quotas.send_command)
        self.running = 0

    def takes_from(self, bucket: TokenBucket) -> bool:
        """Take one token now; False if there is none."""
        return bucket.take(self.engine.now)

    def request(self, operation: str, takes: float, admits: Callable[[], bool], retries: Retries, until: float = float("inf")) -> None:
        """Make a request, which takes about so many seconds. ``admits`` is asked when it arrives. Raises ``Throttled``, also ``until`` is over."""
        for tries_so_far in range(1, retries.tries + 1):
            if self.engine.now > until:
                break
            self.calls[operation] += 1
            if admits():
                self.engine.sleep(about(takes, self.chance))
                return
            self.throttled += 1
            self.engine.sleep(about(self.seconds.refusal, self.chance))
            if tries_so_far < retries.tries:
                self.engine.sleep(retries.pause(tries_so_far, self.chance))
        raise Throttled(operation)


@dataclass(slots=True)
class Function:
    """A Lambda function: an invocation needs an environment that is free, or one more of the account's concurrency."""

    account: Account
    takes: float
    idle: int = 0
    new: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.new = TokenBucket(*self.account.quotas.new_environments)

    def begin(self) -> float | None:
        """Take an environment and return how long it takes to start; None if the invocation is throttled. Who takes one has to ``run``."""
        account = self.account
        if account.running >= account.quotas.concurrency:
            return None
        is_warm = self.idle > 0
        if not is_warm and not self.new.take(account.engine.now):
            return None
        account.running += 1
        self.idle -= is_warm
        return 0.0 if is_warm else about(account.seconds.cold_start, account.chance)

    def run[T](self, start: float, handle: Callable[[], T]) -> T:
        """Run the handler in the environment taken; what it raises fails the invocation."""
        try:
            self.account.engine.sleep(start + self.takes)
            return handle()
        finally:
            self.account.running -= 1
            self.idle += 1


ASYNCHRONOUS_RETRIES = (60.0, 120.0)
LONGEST_THROTTLED_PAUSE = 300.0


@dataclass(slots=True)
class Asynchronous:
    """EventBridge's way to a function, and Lambda's own queue before it (Lambda Developer Guide, "How Lambda handles errors and retries").

    A throttled event comes back after 1, 2, 4, ... s, at most five minutes, until it is too old; a failed one after one and two minutes.
    ``dead_letters`` are those that were given up.
    """

    function: Function
    longest_age: float
    dead_letters: int = 0
    _next_delivery: float = 0.0

    def deliver(self, at: float, handle: Callable[[], object]) -> None:
        """Bring an event that was put on the bus at this time."""
        account = self.function.account
        arrival = max(at + about(account.seconds.delivery, account.chance), self._next_delivery)
        self._next_delivery = arrival + 1 / account.quotas.deliveries_per_second
        account.engine.at(arrival, lambda: self._invoke(handle, arrival, 0, 1.0))

    def _invoke(self, handle: Callable[[], object], arrival: float, failures: int, pause: float) -> None:
        engine = self.function.account.engine
        if engine.now - arrival > self.longest_age:
            self.dead_letters += 1
        elif (start := self.function.begin()) is not None:
            engine.start(lambda: self._run(start, handle, arrival, failures))
        else:
            again = min(2 * pause, LONGEST_THROTTLED_PAUSE)
            engine.at(engine.now + about(pause, self.function.account.chance), lambda: self._invoke(handle, arrival, failures, again))

    def _run(self, start: float, handle: Callable[[], object], arrival: float, failures: int) -> None:
        engine = self.function.account.engine
        try:
            self.function.run(start, handle)
        except Unavailable:
            if failures == len(ASYNCHRONOUS_RETRIES):
                self.dead_letters += 1
                return
            engine.at(engine.now + ASYNCHRONOUS_RETRIES[failures], lambda: self._invoke(handle, arrival, failures + 1, 1.0))
