"""Saves and restores the program's state in the background, so that heartbeats and the look for a notice go on meanwhile.

A save: let the program save itself, or take its directory as it is; hold it still for the moment in which the directory is put
into one file; let it work on while that file goes to S3. S3 out of reach: again and again, until the agent lets go.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, NamedTuple

from spot_agent.checkpoint_store import Place, S3CheckpointStore
from spot_agent.errors import NotSaved, Refused, Unavailable, Unusable
from spot_agent.job import Checkpoint, Job
from spot_agent.knowledge import Do, Me, Saved
from spot_agent.ports import Clock, EndedByItself, Outcome, Prefetched, Restored, Story

if TYPE_CHECKING:
    from pathlib import Path

    from spot_agent.program import ChildProgram
    from spot_agent.workplace import Archive, Workplace

FIRST_RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
ENDED_BY_SIGTERM = 143
SAVE_PATIENCE_SECONDS = 600.0
"""How long a program may take to save itself when it is not about to end: it may do so between two long steps."""


class Captured(NamedTuple):
    """The program's state at one moment."""

    archive: Archive
    percent: float
    stopped_at: float | None


@dataclass
class Order:
    """One thing in the background. ``job`` is the item as it was when the order was given."""

    number: int
    do: Do
    job: Job
    given_up: threading.Event = field(default_factory=threading.Event)
    kill_at: float = 0.0
    is_overtaken: threading.Event = field(default_factory=threading.Event)
    """The final save has begun: what has not been captured yet need not be."""


class CheckpointKeeper:
    """`spot_agent.ports.Keeper`: one thread for each order, which ends with it. ``wake`` is called at the end of each."""

    def __init__(  # what it brings together
        self,
        me: Me,
        store: S3CheckpointStore,
        workplace: Workplace,
        program: ChildProgram,
        story: Story,
        wake: Callable[[], None],
        clock: Clock = time.time,
    ) -> None:
        self._me = me
        self._store = store
        self._workplace = workplace
        self._program = program
        self._story = story
        self._wake = wake
        self._clock = clock
        self._orders: dict[int, Order] = {}
        self._outcomes: queue.Queue[tuple[int, Outcome]] = queue.Queue()
        self._fetching = threading.Lock()
        # One at a time holds the program still, or lets it go again.
        self._capturing = threading.Lock()
        self._wanted: Checkpoint | None = None

    # The port

    def save(self, number: int, do: Do, job: Job, kill_at: float) -> None:
        """Begin a save; the last one overtakes those that still wait for the program."""
        for earlier in list(self._orders.values()):
            earlier.is_overtaken.set()
        order = Order(number, do, job, kill_at=kill_at)
        self._begin(order, lambda: self._save(order))

    def restore(self, number: int, job: Job) -> None:
        """Begin to restore."""
        order = Order(number, Do.RESTORE, job)
        self._begin(order, lambda: self._restore(order))

    def prefetch(self, number: int, checkpoint: Checkpoint, job: Job) -> None:
        """Begin to fetch a checkpoint ahead."""
        order = Order(number, Do.PREFETCH, job)
        self._wanted = checkpoint
        self._begin(order, lambda: self._prefetch(order, checkpoint))

    def forget(self, job: Job, keys: list[str]) -> None:
        """Delete checkpoints, once; one that cannot be deleted stays until an operator deletes it (docs/operating.md, "Archives left over")."""
        if keys:
            threading.Thread(target=self._delete, args=(job, keys), daemon=True).start()

    def abandon(self, number: int) -> None:
        """Let go; a prefetch goes on, for the restore may need the very same checkpoint."""
        order = self._orders.pop(number, None)
        if order is not None and order.do is not Do.PREFETCH:
            order.given_up.set()

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """Return what has ended since the last call."""
        ended = []
        while not self._outcomes.empty():
            ended.append(self._outcomes.get_nowait())
        return ended

    def _begin(self, order: Order, work: Callable[[], Outcome]) -> None:
        self._orders[order.number] = order
        threading.Thread(target=self._run, args=(order, work), name=order.do.name, daemon=True).start()

    def _run(self, order: Order, work: Callable[[], Outcome]) -> None:
        try:
            outcome = work()
        except OSError as error:
            # A full disk, above all: the attempt fails with this sentence, it does not crash.
            outcome = NotSaved(f"{order.do.value}: {error}")
        except Exception as error:  # noqa: BLE001  # the main thread takes it, and raises what it does not expect
            outcome = error
        self._orders.pop(order.number, None)
        self._outcomes.put((order.number, outcome))
        self._wake()

    # Saving

    def _save(self, order: Order) -> Outcome:
        began = self._clock()
        if order.do is Do.SAVE_FINAL and self._program.exit_status() == 0:
            return EndedByItself()
        try:
            with self._capturing:
                captured = self._capture(order)
            checkpoint = self._upload(order, captured)
        except (NotSaved, Refused) as error:
            if order.do is not Do.SAVE_FINAL:
                raise
            self._program.kill()
            note = f"No final checkpoint, the last good one stays: {error}"
            return Saved(order.do, None, began, self._clock() - began, self._clock(), note)
        return Saved(order.do, checkpoint, began, self._clock() - began, captured.stopped_at)

    def _capture(self, order: Order) -> Captured:
        name = f"{self._me.attempt}-{self._me.agent_id}-{order.number:06d}.tar"
        if order.do is Do.SAVE_RESULT:
            return Captured(self._workplace.archive(name), 100.0, None)
        if order.do is Do.SAVE_FINAL:
            return self._capture_last(order, name)
        saved = (
            self._program.save(lambda: order.given_up.is_set() or order.is_overtaken.is_set(), SAVE_PATIENCE_SECONDS)
            if self._program.can_save
            else None
        )
        with self._program.paused():
            percent = saved if saved is not None else self._program.percent()
            return Captured(self._workplace.archive(name), percent or 0.0, None)

    def _capture_last(self, order: Order, name: str) -> Captured:
        """Stop the program's work for good and take what it has left."""
        status = self._program.exit_status()
        if status is not None:
            if status != ENDED_BY_SIGTERM:
                raise NotSaved(f"the program had ended with exit status {status}")
            # A shutdown has told it to save and exit before the agent could.
            saved = self._program.saved_percent()
        elif self._program.can_save:
            self._program.saved_file.unlink(missing_ok=True)
            if not self._program.end(max(order.kill_at, self._clock() + FIRST_RETRY_SECONDS)):
                raise NotSaved("the program did not exit after SIGTERM and was killed")
            saved = self._program.saved_percent()
        else:
            self._program.pause()
            saved = None
        stopped_at = self._clock()
        percent = saved if saved is not None else self._program.percent()
        archive = self._workplace.archive(name)
        self._program.kill()
        return Captured(archive, percent or 0.0, stopped_at)

    def _upload(self, order: Order, captured: Captured) -> Checkpoint:
        archive, place = captured.archive, Place.of(order.job.checkpoint_uri)
        key = place.key(order.job.job_id, archive.path.name)
        try:
            self._patiently(order, lambda: self._store.put(archive.path, place, key))
        finally:
            archive.path.unlink(missing_ok=True)
        return Checkpoint(key, archive.sha256, captured.percent, archive.size, self._clock())

    def _patiently(self, order: Order, work: Callable[[], None]) -> None:
        """Try until it works, is refused, or the agent lets go."""
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                return work()
            except Unavailable as error:
                if wait == FIRST_RETRY_SECONDS:
                    self._story.tell("call failed", f"Could not {order.do.value}, trying on: {error}", trouble=True)
                if order.given_up.wait(wait):
                    raise
                wait = min(wait * 2, PATIENCE_SECONDS)

    def _delete(self, job: Job, keys: list[str]) -> None:
        for key in keys:
            try:
                self._store.delete(Place.of(job.checkpoint_uri), key)
            except (Unavailable, Refused) as error:
                self._story.tell("not deleted", f"An old checkpoint stays for now: {error}", trouble=True)

    # Restoring

    def _restore(self, order: Order) -> Outcome:
        faults: list[str] = []
        for checkpoint in (order.job.checkpoint, order.job.checkpoint_before):
            if checkpoint is None:
                continue
            self._wanted = checkpoint
            try:
                self._patiently(order, lambda wanted=checkpoint: self._unpack(order, wanted))  # type: ignore[misc]
                self._workplace.clear_spool()
                return Restored(checkpoint, tuple(faults))
            except Unusable as error:
                faults.append(str(error))
        self._workplace.start_empty()
        return Restored(None, tuple(faults))

    def _unpack(self, order: Order, checkpoint: Checkpoint) -> None:
        archive = self._fetch(order, checkpoint)
        try:
            self._workplace.unpack(archive)
        finally:
            archive.unlink(missing_ok=True)

    def _prefetch(self, order: Order, checkpoint: Checkpoint) -> Outcome:
        self._fetch(order, checkpoint)
        return Prefetched()

    def _fetch(self, order: Order, checkpoint: Checkpoint) -> Path:
        """Return a file with the checkpoint: the one that was fetched ahead, or a new one. Whoever fetches another gives way."""
        archive = self._workplace.spool / f"fetched-{checkpoint.sha256}.tar"
        with self._fetching:
            if not archive.exists():
                part = archive.with_suffix(".part")
                place = Place.of(order.job.checkpoint_uri)
                try:
                    self._store.fetch(checkpoint, place, part, lambda: self._wanted != checkpoint)
                    part.rename(archive)
                finally:
                    part.unlink(missing_ok=True)
        return archive
