"""The job's item in the jobs table as a value. Pure.

Every attribute is described in docs/job-contract.md; numbers are seconds since the epoch, percent (0 to 100) or attempts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spot_agent.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNING = "running"
FINISHED = "finished"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is durable: the object's key, the SHA-256 of its bytes in hex, its size, and the work that it holds."""

    key: str
    sha256: str
    percent: float
    size: int
    at: float

    def to_json(self) -> str:
        """Return the form in which the item has it."""
        return json.dumps({"key": self.key, "sha256": self.sha256, "percent": self.percent, "bytes": self.size, "at": self.at})

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """Read the item's form; raise Misconfigured for anything else."""
        try:
            raw = json.loads(text)
            return cls(str(raw["key"]), str(raw["sha256"]), float(raw["percent"]), int(raw["bytes"]), float(raw["at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Misconfigured(f"the job's item: checkpoint: expected a JSON object, got {text[:80]!r}") from error


@dataclass(frozen=True)
class Job:
    """What the jobs table says of a job.

    ``attempt`` is the latest attempt that was launched, ``token`` the task token of its Run state and ``instance_id`` its
    instance. ``owner`` is the attempt that may write progress (0: none yet) and ``owner_id`` the agent within it.
    ``handover_until`` is when the owner's instance ends at the latest. ``ready`` is the latest attempt that stands ready,
    ``final`` the attempt whose last checkpoint is saved and that has stopped working. ``is_assumed``: the item was written and could
    not be read after that, so this is what was last known of it, with what was written.
    """

    job_id: str
    status: str = RUNNING
    attempt: int = 0
    token: str = ""
    instance_id: str = ""
    owner: int = 0
    owner_id: str = ""
    handover_until: float | None = None
    previous_dead: bool = False
    ready: int = 0
    final: int = 0
    percent: float = 0.0
    percent_at: float | None = None
    stopped_at: float | None = None
    saved_percent: float = 0.0
    checkpoint: Checkpoint | None = None
    checkpoint_before: Checkpoint | None = None
    checkpoint_seconds: float | None = None
    command: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    checkpoint_uri: str = ""
    checkpoint_minutes: float = 2.0
    job_minutes: float | None = None
    expires_at: int | None = None
    is_assumed: bool = False

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Job:
        """Read an item in DynamoDB's own form (``{"owner": {"N": "1"}}``); raise Misconfigured naming the attribute."""
        read = _Reader(item)
        return cls(
            job_id=read.text("job_id"),
            status=read.text("job_status") or RUNNING,
            attempt=read.whole("attempt"),
            token=read.text("token"),
            instance_id=read.text("instance_id"),
            owner=read.whole("owner"),
            owner_id=read.text("owner_id"),
            handover_until=read.number("handover_until"),
            previous_dead=read.truth("previous_dead"),
            ready=read.whole("ready"),
            final=read.whole("final"),
            percent=read.number("percent") or 0.0,
            percent_at=read.number("percent_at"),
            stopped_at=read.number("stopped_at"),
            saved_percent=read.number("saved_percent") or 0.0,
            checkpoint=read.checkpoint("checkpoint"),
            checkpoint_before=read.checkpoint("checkpoint_before"),
            checkpoint_seconds=read.number("checkpoint_seconds"),
            command=read.text("command"),
            environment=read.environment("environment"),
            checkpoint_uri=read.text("checkpoint_uri"),
            checkpoint_minutes=read.minutes("checkpoint_minutes", 2.0),
            job_minutes=read.number("job_minutes"),
            expires_at=read.whole("expires_at") or None,
        )


class _Reader:
    """Reads the attributes of one item, each in the type that it must have."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.item = item

    def text(self, name: str) -> str:
        return str(self._typed(name, "S") or "")

    def truth(self, name: str) -> bool:
        return bool(self._typed(name, "BOOL"))

    def number(self, name: str) -> float | None:
        text = self._typed(name, "N")
        return None if text is None else float(text)

    def whole(self, name: str) -> int:
        return int(self.number(name) or 0)

    def minutes(self, name: str, default: float) -> float:
        number = self.number(name)
        if number is None:
            return default
        if number <= 0:
            raise Misconfigured(f"the job's item: {name}: expected minutes above 0, got {number:g}")
        return number

    def checkpoint(self, name: str) -> Checkpoint | None:
        text = self.text(name)
        return Checkpoint.from_json(text) if text else None

    def environment(self, name: str) -> Mapping[str, str]:
        text = self.text(name)
        try:
            raw = json.loads(text) if text else {}
        except ValueError:
            raw = None
        if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
            raise Misconfigured(f"the job's item: {name}: expected a JSON object of strings, got {text[:80]!r}")
        return raw

    def _typed(self, name: str, kind: str) -> Any:  # noqa: ANN401  # a DynamoDB value is text or a truth value
        value = self.item.get(name)
        if value is None or "NULL" in value:
            return None
        if kind not in value:
            raise Misconfigured(f"the job's item: {name}: expected DynamoDB type {kind}, got {', '.join(value)}")
        return value[kind]
