"""How others answer interruption warnings, in the same account with the same limits. Their handlers are models, generous ones.

- One describe and one command for each event: EventBridge invokes the function with each (ec2-spot-labs' interruption handler,
  aws-node-termination-handler, terraform-aws-github-runner describe so).
- EventBridge puts the events into a queue, and a function gets them in batches (sample-spot-interruption-insights: 100 in a batch, ten
  batches at a time). That sample only describes; here each batch also sends its commands, 50 instances to one.

Both find all instances alive and tagged, and use boto3 as it comes: "legacy" retries, five tries in all. What still fails is raised, so that
the event is tried again; their own code often swallows it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from bench.burst.account import Asynchronous, Function, Retries, Throttled
from bench.burst.limits import about
from bench.burst.warnings import Commanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.burst.account import Account
    from bench.burst.engine import Act
    from bench.burst.warnings import Warned

BOTO3_RETRIES = Retries(tries=5, longest_pause=float("inf"))
IDS_PER_DESCRIBE = 100
IDS_PER_COMMAND = 50
LONGEST_AGE = 6 * 3600.0
"""Lambda's default for asynchronous events."""


class PerEvent:
    """One describe and one command for each event."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.commanded = Commanded()
        self._way = Asynchronous(Function(account, account.seconds.event), LONGEST_AGE)

    @property
    def dead_letters(self) -> int:
        """How many events were given up."""
        return self._way.dead_letters

    def warn(self, warned: Warned) -> None:
        """Put a warning on the bus."""
        self._way.deliver(warned.at, lambda: answer(self.account, [warned], self.commanded))


def answer(account: Account, warned: Sequence[Warned], commanded: Commanded, until: float = float("inf")) -> None:
    """Describe these instances, then send the commands. Raises ``Throttled``, also when the function's time is over."""
    seconds = account.seconds
    for some in batched(warned, IDS_PER_DESCRIBE, strict=False):
        takes = seconds.describe + len(some) * seconds.each_instance
        account.request("ec2:DescribeInstances", takes, partial(account.takes_from, account.describe_by_id), BOTO3_RETRIES, until)
    for some in batched(warned, IDS_PER_COMMAND, strict=False):
        account.request("ssm:SendCommand", seconds.send_command, partial(account.takes_from, account.send_command), BOTO3_RETRIES, until)
        commanded.note((one.instance_id for one in some), account.engine.now)


@dataclass(frozen=True, slots=True)
class Mapping:
    """How Lambda reads a queue (Lambda Developer Guide, "Using Lambda with Amazon SQS", "Configuring scaling behavior").

    ``pollers`` at first, ``more`` a second while messages wait, at most ``most``: batches at a time. ``window`` in seconds.
    """

    batch: int
    window: float
    pollers: int = 5
    more: float = 300 / 60
    most: int = 1000


TEN = Mapping(batch=10, window=0.0)
"""Lambda's defaults."""
HUNDRED = Mapping(batch=100, window=1.0, pollers=5, most=10)
"""As sample-spot-interruption-insights sets it."""

VISIBILITY = 35.0
FUNCTION_TIMEOUT = 30.0
MOST_RECEIVES = 50
"""The sample's settings; the queue's and Lambda's defaults, 30 s and 3 s, are no better."""
MESSAGES_PER_RECEIVE = 10
"""SQS API, "ReceiveMessage"."""


@dataclass(slots=True)
class Message:
    """A warning in the queue, and how often it was received."""

    warned: Warned
    received: int = 0


class Queued:
    """Batches from a queue: whole batches fail, and come again when they are visible again."""

    def __init__(self, account: Account, mapping: Mapping) -> None:
        self.account = account
        self.mapping = mapping
        self.commanded = Commanded()
        self.dead_letters = 0
        self._function = Function(account, account.seconds.event)
        self._messages: deque[Message] = deque()
        self._idle: list[Act] = []
        self._pollers = 0
        self._is_scaling = False

    def warn(self, warned: Warned) -> None:
        """Put a warning on the bus, from where it comes into the queue."""
        account = self.account
        arrival = warned.at + about(account.seconds.delivery, account.chance)
        account.engine.at(arrival, lambda: self._put(Message(warned)))

    def _put(self, message: Message) -> None:
        engine = self.account.engine
        self._messages.append(message)
        while self._pollers < self.mapping.pollers:
            self._start_poller()
        if not self._is_scaling:
            self._is_scaling = True
            engine.at(engine.now + 1 / self.mapping.more, self._scale)
        engine.wake(self._idle, 1)

    def _start_poller(self) -> None:
        self._pollers += 1
        self.account.engine.start(self._poll)

    def _scale(self) -> None:
        engine = self.account.engine
        self._is_scaling = bool(self._messages)
        if self._is_scaling:
            if self._pollers < self.mapping.most:
                self._start_poller()
            engine.at(engine.now + 1 / self.mapping.more, self._scale)

    def _poll(self) -> None:
        engine = self.account.engine
        while True:
            while not self._messages:
                engine.wait_in(self._idle)
            received_at = engine.now
            batch = self._gather()
            if not self._is_answered(batch):
                engine.at(received_at + VISIBILITY, partial(self._return, batch))

    def _gather(self) -> list[Message]:
        """Receive until the batch is full or the window over."""
        engine = self.account.engine
        batch: list[Message] = []
        ends = engine.now + self.mapping.window
        while True:
            received = min(MESSAGES_PER_RECEIVE, self.mapping.batch - len(batch), len(self._messages))
            batch += [self._messages.popleft() for _ in range(received)]
            if len(batch) == self.mapping.batch or engine.now >= ends:
                return batch
            engine.sleep(about(self.account.seconds.item, self.account.chance))

    def _is_answered(self, batch: Sequence[Message]) -> bool:
        engine = self.account.engine
        start = self._function.begin()
        if start is None:
            return False
        warned = [message.warned for message in batch]
        try:
            self._function.run(start, lambda: answer(self.account, warned, self.commanded, engine.now + FUNCTION_TIMEOUT))
        except Throttled:
            return False
        return True

    def _return(self, batch: Sequence[Message]) -> None:
        for message in batch:
            message.received += 1
            if message.received < MOST_RECEIVES:
                self._put(message)
            else:
                self.dead_letters += 1
