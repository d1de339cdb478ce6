"""One Lambda environment's process: AWS's runtime interface client in an interpreter of its own.

The interpreter sees what a function sees on AWS and nothing else: its own code, its layers, the packages of Lambda's
Python runtime (boto3 and what it needs), the standard library. Whatever LocalStack has installed stays out of reach,
so that a package missing from a layer is missed here too.
"""

import contextlib
import fcntl
import importlib.metadata
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from spot_sandbox.lambda_runtime_api import Invocation, Kind, Message, RuntimeApi

_RUNTIME_DISTRIBUTIONS = (
    "awslambdaric",
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "simplejson",
    "six",
    "snapshot-restore-py",
    "urllib3",
)
_READ_BYTES = 65_536
_runtime_lock = threading.Lock()

LineSink = Callable[[int, str], None]
"""Takes the time a line was read (epoch milliseconds) and the line without its end."""


class RuntimeProcess:
    """The process from its start until `kill`; its answers arrive in `messages` of its Runtime API."""

    def __init__(self, handler: str, task_root: Path, environment: Mapping[str, str], sink: LineSink) -> None:
        self._api = RuntimeApi()
        self._output = _Output(sink)
        self._process = subprocess.Popen(
            # -S: no site-packages. Only what PYTHONPATH names is there beside the standard library.
            [sys.executable, "-S", "-m", "awslambdaric", handler],
            cwd=task_root,
            env={**environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
            stdin=subprocess.DEVNULL,
            stdout=self._output.write_end,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._output.start()
        threading.Thread(target=self._await_exit, name="lambda-exit", daemon=True).start()

    def submit(self, invocation: Invocation) -> None:
        """Hand the function its event."""
        self._api.submit(invocation)

    def message(self, timeout: float | None) -> Message:
        """The next thing that happens; raises `queue.Empty` after `timeout` seconds."""
        return self._api.messages.get(timeout=timeout)

    def drain(self) -> None:
        """Pass on every line that has been written so far."""
        self._output.drain()

    def memory_mb(self) -> int:
        """Resident memory now, in MB; 0 when the process has ended."""
        try:
            resident: int = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return 0
        return resident >> 20

    def kill(self) -> None:
        """End the process and all it has started, and pass on what it wrote until then."""
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.drain()
        self._api.close()

    def _await_exit(self) -> None:
        status = self._process.wait()
        self._output.drain()
        self._api.messages.put(Message(Kind.EXITED, status=status))


class _Output:
    """A pipe whose lines are stamped and passed on as they come, and on demand before an answer is given."""

    def __init__(self, sink: LineSink) -> None:
        self._read_end, self.write_end = os.pipe()
        fcntl.fcntl(self._read_end, fcntl.F_SETFL, os.O_NONBLOCK)
        self._sink = sink
        self._lock = threading.Lock()
        self._partial = b""
        self._closed = False

    def start(self) -> None:
        """Begin to read; the write end now belongs to the child alone."""
        os.close(self.write_end)
        threading.Thread(target=self._follow, name="lambda-output", daemon=True).start()

    def drain(self) -> None:
        with self._lock:
            self._read_available()

    def _follow(self) -> None:
        """Read until the last writer is gone; only this thread closes the descriptor it sleeps on."""
        while not self._closed:
            select.select([self._read_end], [], [])
            with self._lock:
                if self._read_available():
                    self._emit_partial()
                    self._closed = True
                    os.close(self._read_end)

    def _read_available(self) -> bool:
        """Read until nothing is left; return whether the writing side is gone."""
        while not self._closed:
            try:
                chunk = os.read(self._read_end, _READ_BYTES)
            except BlockingIOError:
                return False
            if not chunk:
                break
            self._take(chunk)
        return True

    def _take(self, chunk: bytes) -> None:
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        now = time.time_ns() // 1_000_000
        for line in lines:
            self._emit(now, line)

    def _emit_partial(self) -> None:
        line, self._partial = self._partial, b""
        self._emit(time.time_ns() // 1_000_000, line)

    def _emit(self, now: int, line: bytes) -> None:
        text = line.decode(errors="replace")
        if text.strip():  # CloudWatch Logs takes no empty message
            self._sink(now, text)


def python_path(runtime: Path, layers: Sequence[Path]) -> str:
    """The search path as on AWS, where later layers lie over earlier ones and all lie before the runtime's packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [
        place for layer in reversed(layers) for place in (layer / "python" / "lib" / version / "site-packages", layer / "python") if place.is_dir()
    ]
    return os.pathsep.join(str(place) for place in [*places, runtime])


def runtime_packages(directory: Path) -> Path:
    """A directory with links to the packages of Lambda's Python runtime and to nothing else; made once."""
    with _runtime_lock:
        if not directory.exists():
            directory.mkdir(parents=True)
            for name in _RUNTIME_DISTRIBUTIONS:
                _link_distribution(name, directory)
    return directory


def _link_distribution(name: str, directory: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        (directory / top).symlink_to(str(distribution.locate_file(top)))
