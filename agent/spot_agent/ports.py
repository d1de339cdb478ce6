"""What the agent needs of the world, named for what it wants.

Ports that speak to AWS may raise ``Unavailable`` (try again), ``Refused`` (do not) and, where they write to the job's item,
``Overtaken`` (the job is no longer this agent's).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol, Union

from spot_agent.knowledge import Do, Saved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spot_agent.job import Checkpoint, Job


@dataclass(frozen=True)
class Mark:
    """What the item is to bear after a save.

    ``before`` is the checkpoint that stays beside the new one. ``is_final``: this attempt has stopped working, at ``stopped_at``.
    """

    checkpoint: Checkpoint | None = None
    before: Checkpoint | None = None
    seconds: float | None = None
    percent: float | None = None
    is_final: bool = False
    is_finished: bool = False
    stopped_at: float | None = None


class Request(NamedTuple):
    """Somebody on this instance asks for a checkpoint; see `spot_agent.requests`."""

    number: int
    kind: str
    action: str
    deadline: float | None


class EndedByItself:
    """A save that found the program already ended."""


class Restored(NamedTuple):
    """The checkpoint that the program's directory was restored from (None: nothing), and what was wrong with newer ones."""

    checkpoint: Checkpoint | None
    faults: tuple[str, ...]


class Prefetched:
    """A checkpoint was fetched ahead."""


Outcome = Union[Saved, EndedByItself, Restored, Prefetched, Exception]
"""How something in the background ended."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


class JobsTable(Protocol):
    """The job's item. Every write returns the item as it is then, or, where it cannot be read (``Job.is_assumed``), as it should be."""

    def read(self) -> Job | None:
        """Return the item, strongly consistent; None where there is none."""

    def announce_ready(self) -> Job:
        """Set ``ready`` to this attempt."""

    def claim(self, seen_owner: int) -> Job:
        """Become the owner, on condition that ``seen_owner`` still is."""

    def record_deadline(self, until: float) -> Job:
        """Write when this instance ends, unless an earlier time is there."""

    def write_progress(self, percent: float, now: float) -> Job:
        """Write the progress, which is a sign of life as well."""

    def mark(self, mark: Mark) -> Job:
        """Record a save."""

    def record_attempt(self, facts: Mapping[str, float | str]) -> None:
        """Add facts to the attempt's own record."""


class Tasks(Protocol):
    """The Run state of the state machine; False where the token is no longer waited for."""

    def heartbeat(self, token: str) -> bool:
        """Say that this attempt is alive."""

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        """Give the task's output."""


class Metadata(Protocol):
    """The instance metadata service."""

    def notice(self) -> tuple[str, float] | None:
        """Return action and time of an interruption notice."""


class Program(Protocol):
    """The job's program."""

    def start(self, job: Job, attempt: int) -> None:
        """Run the job's command."""

    def exit_status(self) -> int | None:
        """Return how it ended (128 + number for a signal); None while it runs."""

    def percent(self) -> float | None:
        """Return the progress that it reports."""

    def last_lines(self) -> list[str]:
        """Return the end of its output."""

    def kill(self) -> None:
        """End it, and all that it has started, at once."""


class Keeper(Protocol):
    """Saves and restores the program's state, in the background."""

    def save(self, number: int, do: Do, job: Job, kill_at: float) -> None:
        """Begin a save; for the last one the program is ended, by ``kill_at`` at the latest."""

    def restore(self, number: int, job: Job) -> None:
        """Begin to restore the newest usable checkpoint."""

    def prefetch(self, number: int, checkpoint: Checkpoint, job: Job) -> None:
        """Begin to fetch a checkpoint that may be needed."""

    def forget(self, job: Job, keys: list[str]) -> None:
        """Delete checkpoints that nobody needs any more, some time soon."""

    def abandon(self, number: int) -> None:
        """Let go of something in the background; its outcome is of no interest any more."""

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """Return what has ended since the last call."""


class Requests(Protocol):
    """Those on this instance who ask for a checkpoint."""

    def arrived(self) -> list[Request]:
        """Return the requests since the last call."""

    def answer(self, request: Request, is_saved: bool, text: str) -> None:  # noqa: FBT001  # the answer is this truth value
        """Answer one."""


class Measures(Protocol):
    """The progress as metrics."""

    def sample(self, now: float, percent: float, saved_percent: float) -> None:
        """Take a sample."""

    def flush(self) -> None:
        """Publish what has been taken."""


class Machine(Protocol):
    """The instance itself."""

    def stop(self) -> None:
        """Shut it down."""


class Story(Protocol):
    """The log: one line for each thing that happened."""

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Write one line."""

    def troubles(self) -> str:
        """Return the latest warnings, short enough for the attempt's record."""


@dataclass(frozen=True)
class Ports:
    """All of them."""

    clock: Clock
    jobs: JobsTable
    tasks: Tasks
    metadata: Metadata
    program: Program
    keeper: Keeper
    requests: Requests
    measures: Measures
    machine: Machine
    story: Story
