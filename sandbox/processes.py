"""Every process of one run of the sandbox, found and ended whatever became of its parent.

A run's identifier is an environment variable that children inherit, so a process is found by it even when the
emulator was killed before it could end what it had started.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from sandbox.environment import RUN_VARIABLE

_PROC = Path("/proc")


def processes_of(run: str) -> set[int]:
    """The ids of all living processes that bear `run` in their environment, and of their sessions' members."""
    mark = f"{RUN_VARIABLE}={run}".encode()
    marked = _marked(mark) - {os.getpid()}
    sessions = {_session(pid) for pid in marked} - {None, _session(os.getpid())}
    return {pid for pid in _all_pids() if pid in marked or _session(pid) in sessions} if sessions else marked


def end_processes(run: str, *, deadline_seconds: float = 10.0) -> set[int]:
    """Kill all processes of `run` until none remains; return what is left at the deadline (normally nothing)."""
    deadline = time.monotonic() + deadline_seconds
    while remaining := processes_of(run):
        _kill(remaining, signal.SIGKILL)
        if time.monotonic() > deadline:
            return remaining
        time.sleep(0.05)
    return set()


def _marked(mark: bytes) -> set[int]:
    if not _PROC.is_dir():
        return _marked_by_ps(mark.decode())
    return {pid for pid in _all_pids() if mark in _environment(pid).split(b"\0")}


def _kill(pids: Iterable[int], signal_number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            continue


def _all_pids() -> list[int]:
    if _PROC.is_dir():
        return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and not _is_zombie(entry)]
    listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True)  # noqa: S607 - found on the PATH on purpose
    return [int(line) for line in listed.stdout.split()]


def _is_zombie(entry: Path) -> bool:
    """Whether the process has ended and only awaits its parent: no signal reaches it and it holds nothing."""
    try:
        status = (entry / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def _environment(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # ended meanwhile, or somebody else's


def _marked_by_ps(mark: str) -> set[int]:
    """The same where there is no /proc (macOS): ps shows the environment behind the command."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True)  # noqa: S607 - found on the PATH on purpose
    return {int(line.split()[0]) for line in listed.stdout.splitlines() if mark in line.split()}


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
