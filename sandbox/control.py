"""Start, find and stop the sandbox.

A run is described by ``emulator.json`` in its state directory; the emulator itself is LocalStack, a detached process
of the virtual environment ``.venv-sandbox``. Two sandboxes can run at once, each with a port and a directory of its
own. What can go wrong is a `SandboxError` whose text is one sentence for the person at the keyboard.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sandbox.environment import Run, emulator_environment
from sandbox.processes import end_processes, processes_of

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_DIRECTORY = REPOSITORY / ".sandbox"
START_SECONDS = 90.0
_GRACE_SECONDS = 2.0
_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}
"""The emulators that this very process has started, by id: whoever stops one of them reaps it."""


class SandboxError(Exception):
    """The sandbox cannot do what was asked; the text says why and what to do."""


@dataclass(frozen=True)
class State:
    """What ``emulator.json`` holds."""

    run: str
    pid: int
    port: int
    time_scale: float
    boot_seconds: float

    @property
    def endpoint(self) -> str:
        """The URL for ``AWS_ENDPOINT_URL``."""
        return f"http://127.0.0.1:{self.port}"


def state_directory(given: str | None = None) -> Path:
    """The directory given, else ``SPOT_SANDBOX_DIR``, else ``.sandbox`` in the repository."""
    return Path(given or os.environ.get("SPOT_SANDBOX_DIR") or DEFAULT_DIRECTORY).resolve()


def running(directory: Path) -> State | None:
    """The sandbox that runs in `directory`, or None; what a killed emulator has left behind does not count."""
    state = _read_state(directory)
    if state is None or state.pid not in processes_of(state.run):
        return None
    return state


def start(directory: Path, *, port: int, time_scale: float, boot_seconds: float) -> State:
    """Start the emulator and return once it answers.

    `port` 0 picks a free one. Raises `SandboxError` when it already runs, the port is taken, the virtual environment
    is missing, the directory cannot be made, or the emulator does not answer within `START_SECONDS`.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"{directory} cannot be made ({error.strerror}): give another --directory.") from error
    with _only_one(directory):
        _refuse_second(directory)
        _clear_remains(directory)
        chosen = _free_port() if port == 0 else _available_port(port)
        run = Run(uuid.uuid4().hex, directory, chosen, time_scale, boot_seconds)
        _provide_catalogue(run)
        state = _launch(run)
        try:
            _await_ready(state, directory)
        except BaseException:
            stop(directory)
            raise
    return state


def change_time_scale(directory: Path, time_scale: float) -> State:
    """Let the time of the sandbox in `directory` run at another pace from now on; return its state."""
    state = running(directory)
    if state is None:
        raise SandboxError(f"No sandbox runs in {directory}.")
    body = json.dumps({"time_scale": time_scale}).encode()
    request = urllib.request.Request(f"{state.endpoint}/_sandbox/settings", body, {"Content-Type": "application/json"})  # noqa: S310  our own address
    try:
        with _opener().open(request, timeout=30):
            changed = replace(state, time_scale=time_scale)
    except urllib.error.HTTPError as error:
        raise SandboxError(f"The sandbox refused the time scale {time_scale:g}: {error.read().decode(errors='replace')}") from error
    _state_file(directory).write_text(json.dumps(asdict(changed)))
    return changed


def stop(directory: Path) -> bool:
    """End the emulator and everything it has started; return whether anything was there to end."""
    state = _read_state(directory)
    if state is None:
        return False
    alive = processes_of(state.run)
    if state.pid in alive:
        _ask_to_end(state)
    left = end_processes(state.run)
    if child := _CHILDREN.pop(state.pid, None):
        child.wait()
    if left:
        listed = ", ".join(str(pid) for pid in sorted(left))
        msg = f"These processes of the sandbox could not be ended: {listed}."
        raise SandboxError(msg)
    _state_file(directory).unlink(missing_ok=True)
    return bool(alive)


def _refuse_second(directory: Path) -> None:
    state = running(directory)
    if state is not None:
        msg = f"The sandbox is already running at {state.endpoint} (process {state.pid}); end it with `python -m sandbox stop` first."
        raise SandboxError(msg)


def _clear_remains(directory: Path) -> None:
    """End what a killed emulator left running and remove its files: nothing of an earlier run shows in the next."""
    stop(directory)
    for name in ("filesystem", "volume", "tmp", "instances", "lambda"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / "tmp").mkdir()


def _provide_catalogue(run: Run) -> None:
    """Put LocalStack's index of AWS's operations where it looks for it; the first time, build it (some seconds)."""
    python = _emulator_python()
    kept = Path(python).parent.parent / "catalogue"
    if not list(kept.glob("*.dill")):
        sys.stderr.write("Indexing the AWS operations (once)\n")
        command = [python, "-m", "spot_sandbox.catalogue", str(kept)]
        built = subprocess.run(command, env=emulator_environment(run, os.environ), capture_output=True, text=True, check=False)
        if built.returncode:
            msg = f"The sandbox's environment in {kept.parent} is not whole; run `make setup`. {built.stderr[-500:]}"
            raise SandboxError(msg)
    libraries = run.directory / "filesystem" / "usr" / "lib" / "localstack"
    libraries.mkdir(parents=True)
    for index in kept.glob("*.dill"):
        (libraries / index.name).symlink_to(index)


def _launch(run: Run) -> State:
    python = _emulator_python()
    with _log_file(run.directory).open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "localstack.runtime.main"],
            cwd=run.directory,
            env=emulator_environment(run, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _CHILDREN[process.pid] = process
    state = State(run.identifier, process.pid, run.port, run.time_scale, run.boot_seconds)
    _state_file(run.directory).write_text(json.dumps(asdict(state)))
    return state


def _emulator_python() -> str:
    python = REPOSITORY / ".venv-sandbox" / "bin" / "python"
    if not python.exists():
        msg = f"The sandbox's virtual environment {python.parent.parent} is missing; run `make setup`."
        raise SandboxError(msg)
    return str(python)


def _await_ready(state: State, directory: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(state.endpoint, "/_localstack/health"):
        if _has_ended(state.pid):
            msg = f"The emulator ended while it started; {_end_of_log(directory)}"
            raise SandboxError(msg)
        if time.monotonic() > deadline:
            msg = f"The emulator did not answer within {START_SECONDS:.0f} s; {_end_of_log(directory)}"
            raise SandboxError(msg)
        _progress()
        time.sleep(0.2)
    if not _answers(state.endpoint, "/_sandbox/settings"):
        msg = f"The sandbox's own plugins are not installed in .venv-sandbox; run `make setup`. {_end_of_log(directory)}"
        raise SandboxError(msg)


def _progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write(".")
        sys.stderr.flush()


def _answers(endpoint: str, path: str) -> bool:
    try:
        with _opener().open(endpoint + path, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _opener() -> urllib.request.OpenerDirector:
    # No proxy: the environment's would be asked for 127.0.0.1 too.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _has_ended(pid: int) -> bool:
    """Whether our child has ended; it is reaped here, so that its id means nothing else."""
    return _CHILDREN[pid].poll() is not None


def _ask_to_end(state: State) -> None:
    """Let LocalStack shut down by itself for a moment: it then ends Lambda environments and instances in order."""
    with contextlib.suppress(ProcessLookupError):  # it may end by itself between look and signal
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and state.pid in processes_of(state.run):
        time.sleep(0.1)


def _end_of_log(directory: Path) -> str:
    log = _log_file(directory)
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines)])


def _available_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            msg = f"Port {port} is taken by another program; choose one with --port, or --port 0 for any free one."
            raise SandboxError(msg) from error
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, so that two starts at the same moment do not both find nothing running."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"Another `python -m sandbox start` is at work in {directory}."
            raise SandboxError(msg) from error
        yield


def _read_state(directory: Path) -> State | None:
    try:
        return State(**json.loads(_state_file(directory).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        msg = f"{_state_file(directory)} is damaged; remove it and end the emulator's processes by hand."
        raise SandboxError(msg) from error


def _state_file(directory: Path) -> Path:
    return directory / "emulator.json"


def _log_file(directory: Path) -> Path:
    return directory / "emulator.log"
