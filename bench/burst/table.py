"""The notices table and its stream in simulated time: what one partition takes, and how Lambda reads a shard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from itertools import batched
from typing import TYPE_CHECKING

from bench.burst.account import Retries
from bench.burst.limits import WHOLE_CORE, TokenBucket, about
from spot_responder.adapters.clients import CONFIG
from spot_responder.adapters.notices_table import KEYS_PER_READ, STATEMENTS_PER_CALL, partition
from spot_responder.domain.errors import Unavailable
from spot_responder.domain.plans import Outcome
from spot_responder.use_cases.ports import NotWritten, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from bench.burst.account import Account, Function
    from bench.burst.engine import Act
    from spot_responder.domain.events import InstanceEnded
    from spot_responder.domain.notices import Notice, NoticeKey
    from spot_responder.use_cases.ports import Answer, Closing, Written

OUR_RETRIES = Retries(tries=CONFIG.retries["total_max_attempts"], longest_pause=20)  # type: ignore[attr-defined]  # set by Config's own means
"""Those of the product's own clients, in botocore's mode "standard"."""

MEMORY = 1769
OUR_WORK = WHOLE_CORE / MEMORY
"""How long a notice's work takes in ``RespondToNotices``, by its share of a core."""
READING, DESCRIBING, TELLING, ANSWERING = 0.1 * OUR_WORK, 0.4 * OUR_WORK, 0.15 * OUR_WORK, 0.35 * OUR_WORK
"""Its parts, by the CPU time of each in a warm invocation with 1,000 notices; most of the describing is botocore's reading of XML."""

RECORDS_PER_POLL = 1000
POLLS_PER_SECOND = 4
"""DynamoDB API, "GetRecords"; Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB"."""


@dataclass(slots=True)
class Item:
    """One notice's item."""

    notice: Notice
    recorded_by: str
    command_id: str | None = None
    outcome: Outcome | None = None
    closed_by: str | None = None


@dataclass(slots=True)
class Partition:
    """Where the items of some keys are, with the stream shard that tells of them."""

    writes: TokenBucket
    reads: TokenBucket
    shard: Shard


class SimulatedTable:
    """``NoticesTable`` in simulated time. ``shards`` divide the aggregation key, as in ``DynamoNoticesTable``."""

    batch_size = STATEMENTS_PER_CALL

    def __init__(self, account: Account, new_lane: Callable[[], Lane], shards: int = 1) -> None:
        quotas = account.quotas
        self.account = account
        self.shards = shards
        self.items: dict[NoticeKey, Item] = {}
        self._of_key: dict[str, Partition] = {}
        self._of_instance: dict[str, list[Item]] = {}
        self._partitions = [
            Partition(TokenBucket(*quotas.partition_writes), TokenBucket(*quotas.partition_reads), Shard(account, new_lane()))
            for _ in range(quotas.partitions)
        ]

    def add(self, notice: Notice, now: datetime, by: str) -> bool:
        """See ``NoticesTable.add``."""
        del now
        self._write("PutItem", notice.instance_id)
        item = self.items.get(notice.key)
        if item is not None:
            return item.recorded_by == by
        self.items[notice.key] = Item(notice, by)
        self._of_instance.setdefault(notice.instance_id, []).append(self.items[notice.key])
        self._partition(notice.instance_id).shard.put(notice)
        return True

    def read(self, notices: Collection[Notice]) -> Mapping[NoticeKey, Record]:
        """See ``NoticesTable.read``."""
        found: dict[NoticeKey, Record] = {}
        for some in batched(notices, KEYS_PER_READ, strict=False):
            takes = self.account.seconds.batch + len(some) * READING * self.account.seconds.notice
            # Some keys left unprocessed are not a failed request: what the adapter makes of that is Unavailable.
            self.account.request("dynamodb:BatchGetItem", takes, lambda: True, OUR_RETRIES)
            if not all(self.account.takes_from(self._partition(notice.instance_id).reads) for notice in some):
                self.account.throttled += 1
                raise Unavailable("dynamodb:BatchGetItem: some keys were left unprocessed")
            found |= {notice.key: _record(self.items[notice.key]) for notice in some if notice.key in self.items}
        return found

    def of_instance(self, account_region: str, instance_id: str) -> Sequence[Record]:
        """See ``NoticesTable.of_instance``."""
        del account_region
        reads = self._partition(instance_id).reads
        self.account.request("dynamodb:Query", self.account.seconds.item, lambda: self.account.takes_from(reads), OUR_RETRIES)
        return [_record(item) for item in self._of_instance.get(instance_id, ())]

    def answer(self, answers: Sequence[Answer]) -> Mapping[NoticeKey, Written]:
        """See ``NoticesTable.answer``: each statement is throttled alone."""
        takes = self.account.seconds.batch + len(answers) * ANSWERING * self.account.seconds.notice
        self.account.request("dynamodb:BatchExecuteStatement", takes, lambda: True, OUR_RETRIES)
        written = {answer.notice.key: self._answer(answer) for answer in answers}
        self.account.throttled += any(isinstance(became, NotWritten) for became in written.values())
        return written

    def _answer(self, answer: Answer) -> Written:
        partition = self._partition(answer.notice.instance_id)
        if not self.account.takes_from(partition.writes):
            return NotWritten("dynamodb:BatchExecuteStatement: ThrottlingError", for_good=False)
        item = self.items[answer.notice.key]
        if answer.outcome is not None and (item.outcome is not None or item.command_id is not None):
            return False
        item.command_id = answer.command_id or item.command_id
        item.outcome = answer.outcome or item.outcome
        partition.shard.put(None)
        return True

    def close(self, key: NoticeKey, closing: Closing) -> bool:
        """See ``NoticesTable.close``."""
        instance_id = _instance(key)
        self._write("UpdateItem", instance_id)
        item = self.items[key]
        guesses = (Outcome.MISSED, Outcome.FAILED) if closing.outcome is Outcome.SAVED else ()
        if item.outcome is None or item.outcome in guesses:
            item.outcome, item.closed_by = closing.outcome, closing.by
            self._partition(instance_id).shard.put(None)
        return item.closed_by == closing.by

    def mark_gone(self, key: NoticeKey, ended: InstanceEnded, by: str) -> bool:
        """See ``NoticesTable.mark_gone``; the simulation ends before instances do."""
        raise NotImplementedError

    def _write(self, operation: str, instance_id: str) -> None:
        writes = self._partition(instance_id).writes
        self.account.request(f"dynamodb:{operation}", self.account.seconds.item, lambda: self.account.takes_from(writes), OUR_RETRIES)

    def _key(self, instance_id: str) -> str:
        return partition("123456789012#us-east-1", instance_id, self.shards)

    def _partition(self, instance_id: str) -> Partition:
        key = self._key(instance_id)
        if key not in self._of_key:
            self._of_key[key] = self._partitions[chosen(key, len(self._partitions))]
        return self._of_key[key]


def chosen(key: str, of: int) -> int:
    """Return where a key comes to lie: AWS's hashes of keys are its own, this one is as good as any."""
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest()) % of


def _instance(key: NoticeKey) -> str:
    return key.notice_id.partition("#")[0]


def _record(item: Item) -> Record:
    return Record(item.notice, item.command_id, item.outcome)


class Shard:
    """A stream shard, as Lambda reads it: four times a second up to 1,000 records, of which the filter leaves the new items.

    The notices of all keys of its partition go down one lane: a mapping without a ``ParallelizationFactor`` answers one batch of a
    shard at a time.
    """

    def __init__(self, account: Account, lane: Lane) -> None:
        self.account = account
        self._lane = lane
        self._records: deque[tuple[float, Notice | None]] = deque()
        self._empty: list[Act] = []
        account.engine.start(self._read)

    def put(self, new: Notice | None) -> None:
        """Tell of a write, of a new notice or (None) of a change."""
        self._records.append((self.account.engine.now + self.account.seconds.stream, new))
        self.account.engine.wake(self._empty)

    def _read(self) -> None:
        engine = self.account.engine
        while True:
            while not self._records:
                engine.wait_in(self._empty)
            engine.sleep(1 / POLLS_PER_SECOND)
            for _ in range(RECORDS_PER_POLL):
                if not self._records or self._records[0][0] > engine.now:
                    break
                _, new = self._records.popleft()
                if new is not None:
                    self._lane.put(new)


BATCH_SIZE = 1000
WINDOW = 1.0
STREAM_RETRIES = 5
"""template.yaml, ``RespondToNotices``; a test compares them."""
THROTTLED_PAUSE = 1.0
"""Until a stream's poller tries again to invoke; AWS does not say. Assumed."""
LOOK = 0.05


class Lane:
    """Batches of the notices of some keys, one after the other: the next begins when the last is answered."""

    def __init__(self, function: Function, respond: Callable[[Sequence[Notice]], set[NoticeKey]]) -> None:
        self.dead_letters = 0
        self._function = function
        self._respond = respond
        self._waiting: deque[Notice] = deque()
        self._empty: list[Act] = []
        function.account.engine.start(self._run)

    def put(self, notice: Notice) -> None:
        """Bring the next notice."""
        self._waiting.append(notice)
        self._function.account.engine.wake(self._empty)

    def _run(self) -> None:
        engine = self._function.account.engine
        while True:
            while not self._waiting:
                engine.wait_in(self._empty)
            window_ends = engine.now + WINDOW
            while len(self._waiting) < BATCH_SIZE and engine.now < window_ends:
                engine.sleep(LOOK)
            self._deliver([self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))])

    def _deliver(self, batch: Sequence[Notice]) -> None:
        """Invoke until every record is answered or given up; what failed comes again from the first failed one to the end."""
        for _ in range(1 + STREAM_RETRIES):
            batch = self._unanswered(batch)
            if not batch:
                return
        self.dead_letters += len(batch)

    def _unanswered(self, batch: Sequence[Notice]) -> Sequence[Notice]:
        engine = self._function.account.engine
        while (start := self._function.begin()) is None:
            engine.sleep(about(THROTTLED_PAUSE, self._function.account.chance))
        try:
            again = self._function.run(start, lambda: self._respond(batch))
        except Unavailable:
            return batch
        first = next((number for number, notice in enumerate(batch) if notice.key in again), len(batch))
        return batch[first:]
