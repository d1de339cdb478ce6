"""Many instances, few commands: batches of what SSM takes at once, and no instance holds up another.

A batch that SSM refuses because of some instance is divided until the others have their command; one that is throttled
is tried again in the next round, after the other batches had their turn, while there is time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import batched
from typing import TYPE_CHECKING

from spot_responder.domain.errors import InstancesRefused, Refused, Unavailable
from spot_responder.use_cases.patience import pauses

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from datetime import datetime

    from spot_responder.domain.notices import Notice
    from spot_responder.use_cases.ports import Clock, Commands

type Batch = tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """SSM took one command for these notices' instances."""

    notices: Batch
    command_id: str


@dataclass(frozen=True, slots=True)
class NotAsked:
    """This instance does not get a command, for this reason."""

    notice: Notice
    reason: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """There is time left for these, but not in this invocation."""

    notices: Batch


@dataclass(slots=True)
class AskCheckpoints:
    """Ask, and yield each result as soon as it is known, so that it can be told, and its writing begin, before the next call."""

    commands: Commands
    clock: Clock
    until: datetime
    trouble: str = field(default="there was no time left to ask", init=False)

    def __call__(self, notices: Iterable[Notice]) -> Iterator[Asked | NotAsked | PutOff]:
        """Ask for a checkpoint on behalf of each notice, the most urgent first."""
        by_deadline = sorted(notices, key=lambda notice: notice.deadline)
        waiting: list[Batch] = list(batched(by_deadline, self.commands.batch_size, strict=False))
        for pause in pauses():
            waiting = yield from self._round(waiting)
            if not waiting:
                return
            if self.clock.now() + timedelta(seconds=pause) >= self.until:
                yield from (PutOff(batch) for batch in waiting)
                return
            self.clock.sleep(pause)

    def _round(self, waiting: Sequence[Batch]) -> Generator[Asked | NotAsked, None, list[Batch]]:
        """Try every batch once; return those to be tried again."""
        again: list[Batch] = []
        todo = list(waiting)
        while todo:
            if self.clock.now() >= self.until:
                return [*again, *todo]
            batch = yield from self._in_time(todo.pop(0))
            try:
                if batch:
                    yield Asked(batch, self.commands.ask_checkpoint(batch, self.clock.now()))
            except InstancesRefused as refusal:
                todo += yield from self._divide(batch, refusal, again)
            except Refused as refusal:
                yield from (NotAsked(notice, str(refusal)) for notice in batch)
            except Unavailable as error:
                self.trouble = str(error)
                again.append(batch)
        return again

    def _in_time(self, batch: Batch) -> Generator[NotAsked, None, Batch]:
        """Return the part of a batch that is not late, and give up the rest."""
        now = self.clock.now()
        yield from (NotAsked(notice, self.trouble) for notice in batch if notice.is_late(now))
        return tuple(notice for notice in batch if not notice.is_late(now))

    def _divide(self, batch: Batch, refusal: InstancesRefused, again: list[Batch]) -> Generator[NotAsked, None, list[Batch]]:
        """Return the batches that are left without the instances that SSM cannot reach; which ones, SSM seldom says."""
        try:
            guilty = self._guilty(batch, refusal)
        except Unavailable as error:
            self.trouble = str(error)
            again.append(batch)
            return []
        yield from (NotAsked(notice, guilty[notice.instance_id]) for notice in batch if notice.instance_id in guilty)
        innocent = tuple(notice for notice in batch if notice.instance_id not in guilty)
        if guilty:
            return [innocent] if innocent else []
        half = len(batch) // 2
        return [batch[:half], batch[half:]]

    def _guilty(self, batch: Batch, refusal: InstancesRefused) -> dict[str, str]:
        named = {notice.instance_id: str(refusal) for notice in batch if notice.instance_id in refusal.instance_ids}
        # One alone is guilty in any case; SSM's word on it is used where there is no better one.
        alone = {notice.instance_id: str(refusal) for notice in batch if len(batch) == 1}
        try:
            return named or dict(self.commands.unreachable([notice.instance_id for notice in batch])) or alone
        except Refused:
            # We may not ask who cannot be reached; halving finds out without.
            return alone
