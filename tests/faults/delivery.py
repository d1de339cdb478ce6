"""How events reach the functions: EventBridge, Lambda's asynchronous invocations, the table's stream; each with its own way to try again.

- Lambda, "Asynchronous invocation": two retries, after one and two minutes, with the same request id; then the failure destination.
- Lambda, "Using AWS Lambda with DynamoDB": one batch of a shard at a time; a batch that fails as a whole is split in two
  (BisectBatchOnFunctionError), one that partly succeeds is delivered again from the first record named (ReportBatchItemFailures), five times
  (MaximumRetryAttempts); then the failure destination. Each try is an invocation of its own.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from tests.faults.cloud import Invocation, Killed
from tests.lambdas import forget_parts, invoke

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.faults.cloud import Cloud

type Json = dict[str, Any]
type Records = list[Json]

TIMEOUTS = {"record_notice": 60, "respond_to_notices": 150, "record_checkpoint": 60, "record_instance_state": 60}
"""The functions' Timeout in template.yaml; ``test_lambda_deliveries.py`` compares."""
RETRY_SECONDS = (60, 120)
RECORD_RETRIES = 5
WINDOW_SECONDS = 1
BATCH_SIZE = 1000


@dataclass
class Delivery:
    """Brings events to the functions in the order of their time. ``copies`` is how often each event and batch is delivered.

    ``began`` is, for each of ``invocations``, the number of its first call, counted from 0.
    """

    cloud: Cloud
    copies: int = 1
    dead_letters: list[object] = field(default_factory=list)
    invocations: list[tuple[str, Json]] = field(default_factory=list)
    began: list[int] = field(default_factory=list)
    _to_come: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _shard: deque[tuple[Records, int]] = field(default_factory=deque)
    _is_polled: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Read the stream."""
        self.cloud.tables.on_insert = self._inserted

    def at(self, moment: datetime, act: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heappush(self._to_come, (moment, next(self._numbers), act))

    def event(self, function: str, event: Json, moment: datetime) -> None:
        """Let EventBridge deliver an event."""
        for _ in range(self.copies):
            request_id = f"request-{next(self._numbers)}"
            self.at(moment, lambda request_id=request_id: self._asynchronously(function, event, request_id, 0))  # type: ignore[misc]

    def run(self) -> None:
        """Let everything happen that is to come."""
        while self._to_come:
            moment, _, act = heappop(self._to_come)
            self.cloud.clock.present = moment
            act()

    def invoke(self, function: str, event: Json, request_id: str) -> Any:
        """Invoke a function in a new execution environment, until its timeout."""
        self.invocations.append((function, event))
        self.began.append(len(self.cloud.calls))
        clock = self.cloud.clock
        before, clock.stops_at = clock.stops_at, clock.now() + timedelta(seconds=TIMEOUTS[function])
        forget_parts()
        try:
            return invoke(function, event, Invocation(request_id, clock, clock.stops_at))  # type: ignore[arg-type]  # a context, too
        finally:
            clock.stops_at = before

    def _asynchronously(self, function: str, event: Json, request_id: str, tries: int) -> None:
        try:
            self.invoke(function, event, request_id)
        except (Exception, Killed):  # noqa: BLE001  # whatever it is, Lambda tries again
            if tries == len(RETRY_SECONDS):
                self.dead_letters.append(event)
                return
            again = self.cloud.clock.now() + timedelta(seconds=RETRY_SECONDS[tries])
            self.at(again, lambda: self._asynchronously(function, event, request_id, tries + 1))

    # The stream

    def _inserted(self, table: str, item: Json) -> None:
        if table == "notices":
            number = str(100 + next(self._numbers))
            self._shard.append(([{"eventName": "INSERT", "dynamodb": {"SequenceNumber": number, "NewImage": item}}], 0))
            self._poll()

    def stream(self, records: Records) -> None:
        """Put records into the stream, together."""
        self._shard.append((records, 0))
        self._poll()

    def _poll(self) -> None:
        if not self._is_polled:
            self._is_polled = True
            self.at(self.cloud.clock.now() + timedelta(seconds=WINDOW_SECONDS), self._next_batch)

    def _next_batch(self) -> None:
        """Deliver what comes first: a batch that has to be tried again, or all that is new."""
        records, tries = self._shard.popleft()
        while not tries and self._shard and not self._shard[0][1] and len(records) < BATCH_SIZE:
            records = records + self._shard.popleft()[0]
        self._shard.extendleft(reversed(self._deliver(records, tries)))
        self._is_polled = False
        if self._shard:
            self._poll()

    def _deliver(self, records: Records, tries: int) -> list[tuple[Records, int]]:
        """Invoke once; return what is to be delivered again."""
        try:
            answers = [self.invoke("respond_to_notices", {"Records": records}, f"request-{next(self._numbers)}") for _ in range(self.copies)]
        except (Exception, Killed):  # noqa: BLE001  # whatever it is, Lambda tries again
            half = len(records) // 2
            return self._unless_spent([records[:half], records[half:]] if half else [records], tries + 1)
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        first = min((numbers.index(one["itemIdentifier"]) for one in answers[-1]["batchItemFailures"]), default=len(records))
        return self._unless_spent([records[first:]] if first < len(records) else [], tries + 1)

    def _unless_spent(self, batches: list[Records], tries: int) -> list[tuple[Records, int]]:
        if tries > RECORD_RETRIES:
            self.dead_letters += batches
            return []
        return [(batch, tries) for batch in batches]
