"""The processes that are the instances: `instance.py` started, told what to do and listened to."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spot_sandbox import instance as program

LOG = logging.getLogger(__name__)

type Json = dict[str, Any]


def run_environment() -> dict[str, str]:
    """Return the variable that names this run of the sandbox, by which `python -m sandbox stop` finds what is left."""
    return {"SPOT_SANDBOX_RUN": run} if (run := os.environ.get("SPOT_SANDBOX_RUN")) else {}


class Machine:
    """One running instance process.

    `on_fact` is called with each line that it says (see `instance.py`), `on_end` once when it has ended, both from a
    thread of the machine's own.
    """

    def __init__(self, config: Json, on_fact: Callable[[Json], None], on_end: Callable[[], None]) -> None:
        """Start the process with `config` (see `instance.Instance`)."""
        self._mark: str = config["mark"]
        self._on_fact = on_fact
        self._on_end = on_end
        self._lock = threading.Lock()
        log = Path(config["root"]) / "console.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                # -I and -S leave out what the program does not need: it starts in half the time.
                [sys.executable, "-I", "-S", program.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=run_environment(),
                start_new_session=True,
            )
        assert self._process.stdin is not None  # noqa: S101  it was started with a pipe
        self._stdin = self._process.stdin
        self._write(config)
        threading.Thread(target=self._listen, name=f"machine-{self._mark}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the instance's process."""
        return self._process.pid

    def order(self, do: str, **details: Any) -> None:
        """Tell the instance to do something; one that has ended is past being told."""
        self._write({"do": do, **details})

    def destroy(self) -> None:
        """Pull the plug: kill the instance's process and all that it has started."""
        for _ in range(2):
            pids = [pid for pid in program.processes_of(self._mark) if pid != os.getpid()]
            program.kill_all(pids, signal.SIGKILL)
            self._process.kill()

    def _write(self, message: Json) -> None:
        with self._lock:
            try:
                self._stdin.write(json.dumps(message).encode() + b"\n")
                self._stdin.flush()
            except (BrokenPipeError, ValueError):  # the other end, or this one, is closed
                LOG.debug("instance %s has ended and does not hear %s", self._mark, message.get("do"))

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  it was started with a pipe
        for line in stream:
            self._hear(json.loads(line))
        stream.close()
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._process.wait()
        self._on_end()

    def _hear(self, fact: Json) -> None:
        # A fact that the emulator cannot digest must not make it deaf to the next.
        try:
            self._on_fact(fact)
        except Exception:
            LOG.exception("instance %s said %s", self._mark, fact)
