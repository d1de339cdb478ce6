"""Real programs in a real directory, with a store that is a dictionary."""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spot_agent.errors import Unavailable, Unusable
from spot_agent.job import Checkpoint, Job
from spot_agent.keeper import CheckpointKeeper
from spot_agent.knowledge import Do, Me, Saved
from spot_agent.program import ChildProgram
from spot_agent.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spot_agent.checkpoint_store import Place
    from spot_agent.ports import Outcome

ME = Me("job", 1, "i-1", "agent")


def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@dataclass
class DictionaryStore:
    """`S3CheckpointStore`, in memory."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failures: int = 0

    def put(self, archive: Path, _place: Place, key: str) -> None:
        """Store, or fail as often as told."""
        if self.failures:
            self.failures -= 1
            raise Unavailable("s3:PutObject: no connection")
        self.objects[key] = archive.read_bytes()

    def fetch(self, checkpoint: Checkpoint, _place: Place, archive: Path, _is_abandoned: Callable[[], bool]) -> None:
        """Bring a checkpoint, or say that it is damaged."""
        data = self.objects.get(checkpoint.key, b"")
        if len(data) != checkpoint.size:
            raise Unusable(f"{checkpoint.key}: expected {checkpoint.size} bytes, found {len(data)}")
        archive.write_bytes(data)

    def delete(self, _place: Place, key: str) -> None:
        """Delete."""
        del self.objects[key]


class Silent:
    """A log that nobody reads."""

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Write nothing."""

    def troubles(self) -> str:
        """Return nothing."""
        return ""


class Site:
    """A place of work: the program, its directory, and the keeper of its checkpoints."""

    def __init__(self, work: Path) -> None:
        self.output = io.BytesIO()
        self.store = DictionaryStore()
        self.workplace = Workplace(work)
        self.workplace.prepare()
        self.program = ChildProgram(self.workplace, {}, self.output)
        self.keeper = CheckpointKeeper(ME, self.store, self.workplace, self.program, Silent(), lambda: None)  # type: ignore[arg-type]  # a fake
        self.job = Job("job", checkpoint_uri="s3://bucket/jobs")
        self.numbers = 0

    def start(self, command: str, **environment: str) -> None:
        """Start a program."""
        self.job = Job("job", checkpoint_uri="s3://bucket/jobs", command=command, environment=environment)
        self.program.start(self.job, 1)

    def wait_for_signals(self) -> None:
        """Wait until the program says that it can save itself."""
        eventually(lambda: self.program.can_save)

    def save(self, do: Do, *, kill_after: float = 5.0) -> Outcome:
        """Save, and return how it went."""
        self.numbers += 1
        self.keeper.save(self.numbers, do, self.job, time.time() + kill_after)
        return self.outcome()

    def saved(self, do: Do) -> Saved:
        """Save, which must go well."""
        outcome = self.save(do)
        assert isinstance(outcome, Saved), outcome
        return outcome

    def outcome(self) -> Outcome:
        """Return how what goes on in the background ends."""
        ended: list[tuple[int, Outcome]] = []

        def has_ended() -> bool:
            ended.extend(self.keeper.outcomes())
            return bool(ended)

        eventually(has_ended)
        return ended[0][1]

    def restore(self, newest: Checkpoint | None, before: Checkpoint | None = None) -> Outcome:
        """Restore."""
        self.numbers += 1
        self.keeper.restore(self.numbers, Job("job", checkpoint_uri="s3://bucket/jobs", checkpoint=newest, checkpoint_before=before))
        return self.outcome()

    def end(self) -> None:
        """Leave nothing behind."""
        self.program.kill()
        if self.program._process is not None:
            self.program._process.wait()
            self.program.last_lines()


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # a file of the kernel's
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes of a session."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # a folder of the kernel's
    return [one for one in pids if is_alive(one) and _session(one) == pid]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
