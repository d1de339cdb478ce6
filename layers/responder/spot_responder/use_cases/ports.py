"""What the use cases need of the world, named for what they want.

Every port may raise ``Unavailable`` (try again while there is time), ``Refused`` (do not) and ``ConfigurationError``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from spot_responder.domain.events import InstanceEnded
    from spot_responder.domain.instances import Instance
    from spot_responder.domain.jobs import Attempt, Told
    from spot_responder.domain.lines import Line
    from spot_responder.domain.notices import Notice, NoticeKey
    from spot_responder.domain.plans import Outcome


@dataclass(frozen=True, slots=True)
class Closing:
    """The outcome of a notice; ``by`` names the invocation, so that its own retry is not taken for a second one.

    It is empty where ``respond_to_notices`` closed the notice: the stream's retries are invocations of their own.
    """

    outcome: Outcome
    reason: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Record:
    """A notice as the table has it: what was done about it so far; ``gone_by`` names the invocation that noted the instance's end.

    ``replaces`` is the attempt whose job was to be told; whether it was, the item does not say.
    """

    notice: Notice
    command_id: str | None = None
    outcome: Outcome | None = None
    gone_by: str | None = None
    replaces: Attempt | None = None
    closing: Closing | None = field(default=None, compare=False)

    @property
    def is_answered(self) -> bool:
        """Whether ``respond_to_notices`` wrote down what it did: a result that came before that is none of its doing."""
        return self.command_id is not None or (self.outcome is not None and not (self.closing and self.closing.by))


@dataclass(frozen=True, slots=True)
class Answer:
    """What was done about a notice: asked (``command_id``), or closed (``outcome``); and which attempt's job is to be told, if any."""

    notice: Notice
    at: datetime
    instance: Instance | None = None
    command_id: str | None = None
    outcome: Outcome | None = None
    reason: str = ""
    replaces: Attempt | None = None


@dataclass(frozen=True, slots=True)
class NotWritten:
    """Why an answer could not be written; ``for_good``: another try would not help."""

    reason: str
    for_good: bool


type Written = bool | Closing | NotWritten
"""Whether an answer took effect, or why it could not be written. False: an outcome for what another function closed or what was asked; no item.

``Closing``: what an earlier answer made of the notice, perhaps a try of our own whose answer was lost. It stands, and its line may be missing.
"""


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """Return the aware present."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Story(Protocol):
    """The log group that a person tails."""

    def tell(self, line: Line) -> None:
        """Write one line."""


class NoticesTable(Protocol):
    """The record of all notices."""

    def add(self, notice: Notice, now: datetime, by: str) -> bool:
        """Record a notice; False if it was there already, recorded by another invocation than ``by``."""

    def read(self, notices: Collection[Notice]) -> Mapping[NoticeKey, Record]:
        """Return what became of these notices, of those that are recorded; strongly consistent."""

    def of_instance(self, account_region: str, instance_id: str) -> Sequence[Record]:
        """Return the records of one instance, strongly consistent."""

    @property
    def batch_size(self) -> int:
        """How many answers go into one call."""

    def answer(self, answers: Sequence[Answer]) -> Mapping[NoticeKey, Written]:
        """Write what was done, at most ``batch_size`` at once; one that cannot be written does not stop the others.

        An outcome is only for a notice that has none, and whose instance was not asked.
        Only a table that does not exist raises.
        """

    def close(self, key: NoticeKey, closing: Closing) -> bool:
        """Give a notice its outcome; False if another invocation than ``closing.by`` did.

        ``saved`` also takes the place of ``missed`` and ``failed``: EventBridge keeps no order, and a saved checkpoint is a fact.
        """

    def mark_gone(self, key: NoticeKey, ended: InstanceEnded, by: str) -> bool:
        """Note that the instance ended; False if another invocation than ``by`` did."""


class Fleet(Protocol):
    """The instances."""

    def describe(self, instance_ids: Collection[str]) -> Mapping[str, Instance]:
        """Return the instances that EC2 knows: one call, unless some ids are unknown to it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a command went on one instance: ``detail`` in SSM's words, the end of its output."""

    detail: str
    exit_status: int | None
    last_lines: str


class Commands(Protocol):
    """The way to an instance's shell."""

    @property
    def batch_size(self) -> int:
        """How many instances one command takes."""

    def ask_checkpoint(self, notices: Sequence[Notice], now: datetime) -> str:
        """Send one command to all instances of these notices and return its id. Raises ``InstancesRefused`` as well."""

    def unreachable(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """Return, for those instances that cannot be reached now, the reason."""

    def invocation(self, command_id: str, instance_id: str) -> Invocation:
        """Return how a command went on an instance."""


class Jobs(Protocol):
    """The state machines of the jobs."""

    def interrupted(self, attempts: Mapping[Attempt, Notice]) -> Iterator[tuple[Attempt, Told]]:
        """Tell each job of its attempt's notice, and yield how that went before the next is told.

        One that cannot be told stops no other: nothing is raised for it.
        """

    def lost(self, ended: InstanceEnded) -> Attempt | None:
        """Tell the job that runs on an instance that it ended; None if no job waits for that."""
