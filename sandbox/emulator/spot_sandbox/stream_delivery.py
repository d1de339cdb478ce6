"""From a stream's shard to a Lambda function: retries, bisection and partial failures as AWS documents them.

LocalStack polls, filters and collects; what happens to a batch that fails is decided here, since LocalStack does not
bisect, takes every record for new whatever its age, and sends a whole batch to the failure destination when one
record of it is too old. Rules from "How Lambda processes records from stream and queue-based event sources":

- a function error with BisectBatchOnFunctionError splits the batch in two, which does not count as a retry;
- ReportBatchItemFailures: all before the lowest reported record is done, the rest is tried again;
- a batch whose retries are used up, and records older than MaximumRecordAgeInSeconds, go to the destination.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 10.0


@dataclass(frozen=True)
class Policy:
    """What an event source mapping says about failures; -1 is without limit."""

    maximum_retry_attempts: int = -1
    maximum_record_age_seconds: int = -1
    bisect: bool = False


@dataclass(frozen=True)
class Success:
    """The function took the whole batch."""


@dataclass(frozen=True)
class Failure:
    """The function failed; `index` is the first record that it reported as failed, 0 for the whole batch."""

    index: int
    partial: bool
    error: dict[str, Any]


@dataclass(frozen=True)
class Discarded:
    """Records given up, with Lambda's name for the condition."""

    records: list[Record]
    condition: str
    error: dict[str, Any]
    attempts: int


@dataclass
class _Batch:
    records: list[Record]
    attempts: int = 0


class Delivery:
    """Delivers batches of one shard in order; nothing of it is LocalStack's, so that it can be tested alone."""

    def __init__(
        self,
        policy: Policy,
        invoke: Callable[[list[Record]], Success | Failure],
        discard: Callable[[Discarded], None],
        arrival: Callable[[Record], float],
        stop: threading.Event,
    ) -> None:
        self._policy = policy
        self._invoke = invoke
        self._discard = discard
        self._arrival = arrival
        self._stop = stop

    def deliver(self, records: list[Record]) -> None:
        """Return when every record has been taken or discarded, or `stop` is set."""
        waiting = deque([_Batch(records)])
        while waiting and not self._stop.is_set():
            batch = self._without_expired(waiting.popleft())
            if not batch.records:
                continue
            outcome = self._invoke(batch.records)
            if isinstance(outcome, Failure):
                waiting.extendleft(reversed(self._again(batch, outcome)))

    def _without_expired(self, batch: _Batch) -> _Batch:
        if self._policy.maximum_record_age_seconds < 0:
            return batch
        oldest = time.time() - self._policy.maximum_record_age_seconds
        expired = [record for record in batch.records if self._arrival(record) < oldest]
        if expired:
            self._discard(Discarded(expired, "RecordAgeExceeded", {}, batch.attempts))
        return _Batch([record for record in batch.records if self._arrival(record) >= oldest], batch.attempts)

    def _again(self, batch: _Batch, failure: Failure) -> list[_Batch]:
        """The batches to try next, in order."""
        if failure.index > 0:
            return [_Batch(batch.records[failure.index :])]
        if self._policy.bisect and len(batch.records) > 1:
            middle = len(batch.records) // 2
            return [_Batch(batch.records[:middle], batch.attempts), _Batch(batch.records[middle:], batch.attempts)]
        attempts = batch.attempts + 1
        if 0 <= self._policy.maximum_retry_attempts < attempts:
            self._discard(Discarded(batch.records, "RetryAttemptsExhausted", failure.error, attempts))
            return []
        self._stop.wait(min(_FIRST_BACKOFF_SECONDS * 2 ** (attempts - 1), _LONGEST_BACKOFF_SECONDS))
        return [_Batch(batch.records, attempts)]
