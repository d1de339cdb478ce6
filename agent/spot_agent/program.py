"""The job's program as a process group: started, listened to, signalled, stopped. Its contract is docs/job-contract.md.

A program that can save itself writes its process id to SPOT_READY_FILE; only then does it get signals, and only that process
gets them: SIGUSR1 to save, SIGTERM to save and exit. Any other program is never signalled but with SIGSTOP, SIGCONT and SIGKILL.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Callable

from spot_agent import demo_job
from spot_agent.errors import NotSaved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spot_agent.job import Job
    from spot_agent.workplace import Workplace

KEPT_LINES = 50
LINE_BYTES = 2000
LOOK_SECONDS = 0.02
SIGNALLED = 128
"""A shell's exit status for a program that a signal ended is this plus the signal's number."""
OURS = ("PYTHONPATH", "PYTHONUNBUFFERED")
"""With every SPOT_RESPONDER_*: what the agent's own service needs, and a program could only be confused by."""
FIRST_TO_DIE = '{ echo 500 >/proc/self/oom_score_adj; } 2>/dev/null; exec /bin/sh -c "$0"'
"""Where memory runs out, the kernel is to end the program rather than the agent, which tells of it (proc(5), oom_score_adj). A machine
without that file runs the program all the same."""


class ChildProgram:
    """`spot_agent.ports.Program`, and what saving needs of it."""

    def __init__(self, workplace: Workplace, defaults: dict[str, str], echo: BinaryIO | None = None) -> None:
        """``defaults`` are environment variables that the job's own may replace; the program's output goes on to ``echo``."""
        self._workplace = workplace
        self._defaults = defaults
        self._echo = echo if echo is not None else sys.stdout.buffer
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader: threading.Thread | None = None
        self.progress_file = workplace.control / "progress"
        self.ready_file = workplace.control / "ready"
        self.saved_file = workplace.control / "saved"

    # Running

    def start(self, job: Job, attempt: int) -> None:
        """Run the job's command in a session of its own; raise OSError, or ValueError for a NUL character, where that cannot be."""
        for file in (self.progress_file, self.ready_file, self.saved_file):
            file.unlink(missing_ok=True)
        command = job.command or f"exec {shlex.quote(sys.executable)} {shlex.quote(demo_job.__file__)}"
        self._process = subprocess.Popen(  # noqa: S603  # the job's command is what the agent is there to run
            ["/bin/sh", "-c", FIRST_TO_DIE, command],
            cwd=self._workplace.checkpoint,
            env={**_inherited(), **self._defaults, **job.environment, **self._contract(job, attempt)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _contract(self, job: Job, attempt: int) -> dict[str, str]:
        minutes = {"SPOT_JOB_MINUTES": f"{job.job_minutes:g}"} if job.job_minutes is not None else {}
        return {
            **minutes,
            "SPOT_JOB_ID": job.job_id,
            "SPOT_ATTEMPT": str(attempt),
            "SPOT_CHECKPOINT_DIR": str(self._workplace.checkpoint),
            "SPOT_PROGRESS_FILE": str(self.progress_file),
            "SPOT_READY_FILE": str(self.ready_file),
            "SPOT_SAVED_FILE": str(self.saved_file),
        }

    def _listen(self, output: BinaryIO) -> None:
        """Keep the end of the program's output, and pass all of it on."""
        with output:
            while line := output.readline(LINE_BYTES):
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._echo.write(line)
                self._echo.flush()

    def exit_status(self) -> int | None:
        """Return how the program ended; None before its start and while it runs."""
        status = self._process.poll() if self._process else None
        return status if status is None or status >= 0 else SIGNALLED - status

    def percent(self) -> float | None:
        """Return what the program has written to its progress file, within 0 and 100; None for what is no number."""
        return _percent_in(self.progress_file)

    def last_lines(self) -> list[str]:
        """Return the end of its output."""
        if self._reader is not None:
            self._reader.join(timeout=0.5)
        return list(self._lines)

    # Ending

    def kill(self) -> None:
        """End the whole group at once."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # it has ended: what we wanted

    def end(self, kill_at: float) -> bool:
        """Ask the program to save and exit; kill it at ``kill_at``, and tell whether it had ended by then."""
        pid = self._signalled()
        if pid is not None:
            _signal(pid, signal.SIGTERM)
        while time.time() < kill_at:
            if self.exit_status() is not None or (pid is not None and not _exists(pid)):
                # What a shell round it would do next is no part of saving.
                self.kill()
                return True
            time.sleep(LOOK_SECONDS)
        self.kill()
        return False

    # Saving

    def _signalled(self) -> int | None:
        """Return the process that wants signals, if it is one of the program's own."""
        try:
            pid = int(self.ready_file.read_text())
            return pid if self._process is not None and os.getsid(pid) == self._process.pid else None
        except (OSError, ValueError):
            return None  # no file (yet), half a number, or a process that has ended

    @property
    def can_save(self) -> bool:
        """Whether the program saves itself when it is told to."""
        return self._signalled() is not None

    def save(self, is_abandoned: Callable[[], bool], patience: float) -> float | None:
        """Let the program save itself; return the percentage that it says it has saved, if it says so. Raises NotSaved."""
        pid = self._signalled()
        self.saved_file.unlink(missing_ok=True)
        deadline = time.time() + patience
        if pid is None or not _signal(pid, signal.SIGUSR1):
            raise NotSaved("the program has ended")
        while not self.saved_file.exists():
            if self.exit_status() is not None:
                raise NotSaved("the program ended instead of saving")
            if is_abandoned():
                raise NotSaved("it is not needed any more")
            if time.time() > deadline:
                raise NotSaved(f"the program did not touch SPOT_SAVED_FILE within {patience:.0f} s of SIGUSR1")
            time.sleep(LOOK_SECONDS)
        return self.saved_percent()

    def saved_percent(self) -> float | None:
        """Return the percentage that the program says it has saved."""
        percent = _percent_in(self.saved_file)
        if percent is None and self.saved_file.exists():
            # Touched before it was written, perhaps.
            time.sleep(LOOK_SECONDS)
            percent = _percent_in(self.saved_file)
        return percent

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the whole group still, so that its directory is of one moment."""
        self.pause()
        try:
            yield
        finally:
            self._signal_group(signal.SIGCONT)

    def pause(self) -> None:
        """Stop the whole group where it is."""
        self._signal_group(signal.SIGSTOP)


def _inherited() -> dict[str, str]:
    """Return what the program gets of the agent's environment."""
    return {name: value for name, value in os.environ.items() if name not in OURS and not name.startswith("SPOT_RESPONDER_")}


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _exists(pid: int) -> bool:
    return _signal(pid, 0)


def _percent_in(file: Path) -> float | None:
    try:
        percent = float(file.read_text())
    except (OSError, ValueError):
        return None
    return min(max(percent, 0.0), 100.0) if percent == percent else None  # noqa: PLR0124  # only "nan" differs from itself
