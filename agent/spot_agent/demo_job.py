"""The demonstration job: it pretends to work for SPOT_JOB_MINUTES, and shows what a program that saves itself has to do.

Its whole state is the seconds that it has worked, in ``state.json``. It keeps to docs/job-contract.md: SIGUSR1 saves, SIGTERM saves and
ends, and it tells its percentage. The standard library is all it needs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MINUTES = 5.0
LONGEST_STEP_SECONDS = 1.0
"""It looks up from its work at least so often."""
NOT_DONE = 128 + signal.SIGTERM
"""Exit status 0 would mean that the job is done."""
SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class DemoJob:
    """Pretended work of ``total`` seconds; state and messages are files, as the contract says."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.state = Path(environment["SPOT_CHECKPOINT_DIR"]) / "state.json"
        self.progress = Path(environment["SPOT_PROGRESS_FILE"])
        self.ready = Path(environment["SPOT_READY_FILE"])
        self.saved = Path(environment["SPOT_SAVED_FILE"])
        self.total = float(environment.get("SPOT_JOB_MINUTES", DEFAULT_MINUTES)) * 60
        self.worked = self._load()
        self.looked_at = time.monotonic()

    def _load(self) -> float:
        return float(json.loads(self.state.read_text())["worked_seconds"]) if self.state.exists() else 0.0

    @property
    def percent(self) -> float:
        """How much of the work is done."""
        return min(100.0 * self.worked / self.total, 100.0)

    def run(self) -> int:
        """Work until all is done or SIGTERM comes; return the exit status."""
        # Blocked, so that they are taken between two steps and never in the middle of one.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._say(self.ready, str(os.getpid()))
        self._say(self.progress, f"{self.percent:.4f}")
        while self.worked < self.total:
            number = self._work()
            if number is not None:
                self.save()
            if number == signal.SIGTERM:
                return NOT_DONE
        self.save()
        return 0

    def _work(self) -> int | None:
        """Work for one step, or until a signal comes; return its number."""
        step = min(LONGEST_STEP_SECONDS, self.total / 200, self.total - self.worked)
        info = signal.sigtimedwait(SIGNALS, max(step, 0.01))
        now = time.monotonic()
        # Held still for a checkpoint, it has not worked.
        self.worked = min(self.worked + min(now - self.looked_at, 2 * LONGEST_STEP_SECONDS), self.total)
        self.looked_at = now
        self._say(self.progress, f"{self.percent:.4f}")
        return info.si_signo if info else None

    def save(self) -> None:
        """Write the state, then say so, with the percentage that it holds."""
        self._say(self.state, json.dumps({"worked_seconds": self.worked}))
        self._say(self.saved, f"{self.percent:.4f}")

    def _say(self, file: Path, text: str) -> None:
        """Write a file whole or not at all."""
        part = file.with_name(f".{file.name}.part")
        part.write_text(text)
        part.replace(file)


if __name__ == "__main__":
    sys.exit(DemoJob(os.environ).run())
