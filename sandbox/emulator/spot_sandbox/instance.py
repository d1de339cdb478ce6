"""One EC2 instance as one operating-system process, standard library only so that 45 of them stay light.

The emulator starts it with ``python -I -S instance.py`` and talks to it in lines of JSON. The first line on standard
input is the instance's configuration (`Instance.from_config`), every further one an order with the key ``do``:

- ``metadata``: ``{"set": {"spot/instance-action": "..." or null}}``, what IMDS shows from now on;
- ``run``: an SSM command, ``{"id", "steps": [{"name", "script", "timeout", "directory", "environment", "exit_on"}]}``;
- ``cancel``: ``{"id"}``, end that command;
- ``shutdown``: ``{"grace": seconds}``, what an operating system does when it goes down.

It answers on standard output, one line for each fact with the key ``say``: ``listening`` (the port of its IMDS),
``booted``, ``user-data`` (the exit status), ``started``, ``step`` and ``finished`` of a command, ``poweroff`` (something on
the instance asked to shut it down). The end of standard input means that the emulator is gone: everything that the
instance started is killed, so that nothing is left behind even after a ``kill -9`` of the emulator.

Every process that descends from the instance bears the variable ``SPOT_SANDBOX_INSTANCE``, by which it is found again
when it has made itself a daemon.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, NoReturn

MARK = "SPOT_SANDBOX_INSTANCE"
"""The environment variable that names the instance in each of its processes."""

Json = dict[str, Any]

TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105  the name of a header
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
LONGEST_TOKEN_SECONDS = 21600
OUTPUT_LIMIT = 24000
ERROR_LIMIT = 8000
KILLED = 137
"""The exit code of a step that the agent had to kill."""


class Metadata:
    """What the Instance Metadata Service knows: text by path, and the tokens it has given out.

    Paths are relative to the version, as ``meta-data/instance-id`` or ``user-data``. A path that others start with is
    a folder and lists its children. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
    """

    def __init__(self, entries: dict[str, str], *, tokens_required: bool, enabled: bool) -> None:
        """Start from `entries`; `tokens_required` is HttpTokens=required, `enabled` HttpEndpoint=enabled."""
        self.entries = dict(entries)
        self.tokens_required = tokens_required
        self.enabled = enabled
        self.tokens: dict[str, float] = {}
        self.lock = threading.Lock()

    def update(self, changes: dict[str, str | None]) -> None:
        """Set the entries in `changes`; None removes one."""
        with self.lock:
            for path, text in changes.items():
                if text is None:
                    self.entries.pop(path, None)
                else:
                    self.entries[path] = text

    def issue_token(self, seconds: int, now: float) -> str:
        """Return a new token that holds for `seconds`."""
        token = base64.urlsafe_b64encode(os.urandom(40)).decode()
        with self.lock:
            self.tokens[token] = now + seconds
        return token

    def permits(self, token: str | None, now: float) -> bool:
        """Tell whether a request that bears `token` may read: a wrong token never, none only where IMDSv1 is on."""
        if token is None:
            return not self.tokens_required
        with self.lock:
            return self.tokens.get(token, 0.0) > now

    def read(self, path: str) -> str | None:
        """Return the text at `path`, the listing of a folder, or None for what does not exist."""
        path = path.strip("/")
        with self.lock:
            if path in self.entries:
                return self.entries[path]
            return "\n".join(self._children(path)) or None

    def _children(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        names = set()
        for path in self.entries:
            if path.startswith(prefix):
                name, slash, _ = path[len(prefix) :].partition("/")
                names.add(name + slash)
        # EC2 lists "user-data" and the like without a slash; only folders have one.
        return sorted(names)


class Refused(Exception):
    """A request that IMDS answers with an error status."""

    def __init__(self, status: int) -> None:
        """Remember the HTTP status."""
        super().__init__(str(status))
        self.status = status


REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}


def answer(metadata: Metadata, method: str, target: str, headers: dict[str, str], now: float) -> tuple[str, dict[str, str]]:
    """Answer one request: the body and further headers; raise `Refused` with IMDS's status otherwise.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    """
    if not metadata.enabled:
        raise Refused(403)
    version, _, path = target.partition("?")[0].lstrip("/").partition("/")
    if method == "PUT" and path.strip("/") == "api/token":
        return _token(metadata, headers, now)
    if method != "GET":
        raise Refused(405)
    if not metadata.permits(headers.get(TOKEN_HEADER), now):
        raise Refused(401)
    text = "latest" if not version else metadata.read(path)
    if text is None:
        raise Refused(404)
    return text, {}


def _token(metadata: Metadata, headers: dict[str, str], now: float) -> tuple[str, dict[str, str]]:
    if "x-forwarded-for" in headers:
        raise Refused(403)
    text = headers.get(TTL_HEADER, "")
    if not text.isdigit() or not 1 <= int(text) <= LONGEST_TOKEN_SECONDS:
        raise Refused(400)
    return metadata.issue_token(int(text), now), {TTL_HEADER: text}


def serve(listener: socket.socket, metadata: Metadata) -> NoReturn:
    """Accept connections for ever, each served by a thread of its own."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection, metadata), daemon=True).start()


def _converse(connection: socket.socket, metadata: Metadata) -> None:
    """Answer the requests of one connection until the client closes it."""
    with connection, connection.makefile("rb") as stream:
        try:
            while request := _read_request(stream):
                connection.sendall(_respond(metadata, *request))
        except (OSError, ValueError):
            return  # the client went away or does not speak HTTP: nobody is left to be told


def _read_request(stream: Any) -> tuple[str, str, dict[str, str]] | None:
    """Read a request's method, target and headers (names in lower case); None at the end of the stream."""
    line = stream.readline(65536).decode("latin-1")
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(65536).decode("latin-1").strip()) != "":
        name, _, text = line.partition(":")
        headers[name.strip().lower()] = text.strip()
    stream.read(int(headers.get("content-length", "0")))
    return method, target, headers


def _respond(metadata: Metadata, method: str, target: str, headers: dict[str, str]) -> bytes:
    try:
        text, extra = answer(metadata, method, target, headers, time.monotonic())
        status = 200
    except Refused as refused:
        text, extra, status = f"{refused.status} - {REASONS[refused.status]}\n", {}, refused.status
    body = text.encode()
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", "Content-Type: text/plain", f"Content-Length: {len(body)}", "Server: EC2ws"]
    lines += [f"{name}: {value}" for name, value in extra.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def processes_of(mark: str) -> list[int]:
    """Return the ids of the processes that bear `mark`, this one left out (Linux's /proc; elsewhere none)."""
    wanted = f"{MARK}={mark}".encode()
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  pathlib costs import time
    except OSError:
        return []
    return [pid for pid in pids if pid != os.getpid() and wanted in _environment_of(pid)]


def _environment_of(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123  pathlib costs import time
            return file.read().split(b"\0")
    except OSError:
        return []  # it has ended meanwhile, or is not ours to see


def kill_all(pids: list[int], number: int) -> None:
    """Send signal `number` to each of `pids` that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it ended by itself: what we wanted


def read_start(path: str, limit: int) -> str:
    """Return the first `limit` characters of a file, with the agent's mark where something was cut off."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123  pathlib costs import time
        text = file.read(limit + 1)
    mark = "\n---Output truncated---"
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


class Command:
    """One SSM command on this instance: its steps, one after the other, each a script run by ``sh``.

    As the SSM agent does it (agent/executers and agent/plugins/runscript of aws/amazon-ssm-agent): the script is written
    to a file and its output to files beside it, of which the first 24,000 and 8,000 characters are reported. A step
    lasts until its output is closed, so a process left in the background that keeps it open keeps the step running. A
    step that outlasts its timeout, or is cancelled, is killed with its process group and has the exit code 137; one that
    ends with 137 by itself counts as timed out, too.
    """

    def __init__(self, instance: "Instance", order: Json) -> None:
        """Take the order as `run` describes it."""
        self.instance = instance
        self.order = order
        self.cancelled = threading.Event()
        self.woken = threading.Event()

    def run(self) -> None:
        """Run all steps and say how each ended."""
        self.instance.say("started", id=self.order["id"])
        for step in self.order["steps"]:
            if self.cancelled.is_set():
                break
            outcome = self._step(step)
            self.instance.say("step", id=self.order["id"], name=step["name"], **outcome)
            if outcome["status"] in step["exit_on"]:
                break
        self.instance.forget(self.order["id"])
        self.instance.say("finished", id=self.order["id"])

    def cancel(self) -> None:
        """End the step that runs, and start no other."""
        self.cancelled.set()
        self.woken.set()

    def _step(self, step: Json) -> Json:
        folder = f"{self.instance.root}/var/lib/amazon/ssm/{self.instance.id}/document/orchestration/{self.order['id']}/{step['name']}"
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  pathlib costs import time
        script = f"{folder}/_script.sh"
        with open(script, "w", encoding="utf-8", opener=_executable) as file:
            file.write(step["script"])
        started = time.time()
        status, code = self._execute(step, script, folder)
        return {
            "status": status,
            "code": code,
            "started": started,
            "ended": time.time(),
            "stdout": read_start(f"{folder}/stdout", OUTPUT_LIMIT),
            "stderr": read_start(f"{folder}/stderr", ERROR_LIMIT),
        }

    def _execute(self, step: Json, script: str, folder: str) -> tuple[str, int]:
        """Run the script; return the step's status and response code."""
        environment = {**self.instance.environment, **step["environment"]}
        # The agent is a service whose working directory is /usr/bin.
        directory = step["directory"] or f"{self.instance.root}/usr/bin"
        with open(f"{folder}/stdout", "wb", 0) as out, open(f"{folder}/stderr", "wb", 0) as err:  # noqa: PTH123  costs import time
            try:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", script],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    env=environment, cwd=directory, process_group=0,
                )  # fmt: skip
            except OSError as error:
                err.write(f"failed to run commands: {error}".encode())
                return "Failed", 1
            pumps = [_start(_copy, process.stdout, out), _start(_copy, process.stderr, err)]
            return self._wait(process, pumps, step["timeout"])

    def _wait(self, process: "subprocess.Popen[bytes]", pumps: list[threading.Thread], seconds: float) -> tuple[str, int]:
        """Wait until the step has ended and closed its output, its time is up, or it is cancelled."""
        self.woken.clear()
        if self.cancelled.is_set():
            self.woken.set()
        ended = threading.Event()
        _start(self._await_end, process, pumps, ended)
        self.woken.wait(seconds)
        if ended.is_set() and not self.cancelled.is_set():
            return _outcome(process.returncode)
        _kill_group(process)
        process.wait()
        return ("Cancelled" if self.cancelled.is_set() else "TimedOut"), KILLED

    def _await_end(self, process: "subprocess.Popen[bytes]", pumps: list[threading.Thread], ended: threading.Event) -> None:
        for pump in pumps:
            pump.join()
        process.wait()
        ended.set()
        self.woken.set()


def _outcome(code: int) -> tuple[str, int]:
    """Return status and response code of a step that ended by itself; what a signal ended has -1, as in Go."""
    if code == 0:
        return "Success", 0
    if code == KILLED:
        return "TimedOut", KILLED
    return "Failed", max(code, -1)


def _start(target: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def _copy(source: Any, sink: Any) -> None:
    """Copy a step's output to its file until the last process that holds it open is gone."""
    with source:
        while data := source.read1(65536):
            try:
                sink.write(data)
            except ValueError:
                return  # the step was given up meanwhile: the agent, too, no longer listens


def _executable(path: str, flags: int) -> int:
    return os.open(path, flags, 0o700)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself: what we wanted


class Instance:
    """The instance: its files, its metadata service, its user data and its SSM agent."""

    def __init__(self, config: Json) -> None:
        """Take the configuration that the emulator sends first; keys as `ec2_machines` writes them."""
        self.id: str = config["id"]
        self.root: str = config["root"]
        self.mark: str = config["mark"]
        self.boot_seconds: float = config["boot_seconds"]
        self.user_data = base64.b64decode(config["user_data"])
        self.metadata = Metadata(config["metadata"], tokens_required=config["tokens_required"], enabled=config["endpoint_enabled"])
        self.environment: dict[str, str] = dict(config["environment"])
        self.commands: dict[str, Command] = {}
        self.lock = threading.Lock()
        self.going_down = False

    def say(self, fact: str, **details: Any) -> None:
        """Tell the emulator a fact; without an emulator the instance ends.

        An instance that goes down says nothing more, since its SSM agent is one of the first to go.
        """
        if self.going_down:
            return
        line = json.dumps({"say": fact, **details}).encode() + b"\n"
        with self.lock:
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                self.vanish()

    def start(self) -> None:
        """Make the instance's folders, serve IMDS and boot in the background."""
        for folder in ("root", "tmp", "usr/bin", "usr/sbin", "var/log", "etc/spot-responder", "run/spot-responder"):
            os.makedirs(f"{self.root}/{folder}", exist_ok=True)  # noqa: PTH103
        self._install_shutdown()
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = listener.getsockname()[1]
        self.environment |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/",
            "SPOT_SANDBOX_INSTANCE_PID": str(os.getpid()),
            MARK: self.mark,
        }
        threading.Thread(target=serve, args=(listener, self.metadata), daemon=True).start()
        # Said by the other thread: the first one may be interrupted by a signal whose handler speaks, too.
        threading.Thread(target=self._boot, args=(port,), daemon=True).start()

    def _install_shutdown(self) -> None:
        """Let `shutdown`, `poweroff` and `halt` do on this instance what they do on a machine of one's own."""
        for name in ("shutdown", "poweroff", "halt"):
            with open(f"{self.root}/usr/sbin/{name}", "w", encoding="utf-8", opener=_executable) as file:
                file.write('#!/bin/sh\nexec kill -USR1 "$SPOT_SANDBOX_INSTANCE_PID"\n')

    def _boot(self, port: int) -> None:
        """Come up: IMDS answers at once; after the boot's time the SSM agent answers, and cloud-init runs the user data, the first time only."""
        self.say("listening", port=port)
        time.sleep(self.boot_seconds)
        self.say("booted")
        done = f"{self.root}/var/lib/cloud/instance/sem/config_scripts_user"
        if self.user_data and not os.path.exists(done):  # noqa: PTH110
            os.makedirs(os.path.dirname(done), exist_ok=True)  # noqa: PTH103, PTH120
            with open(done, "w", encoding="utf-8"):  # noqa: PTH123
                self.say("user-data", status=self._run_user_data())

    def _run_user_data(self) -> int:
        """Run the user data as cloud-init does a shell script; its output goes to cloud-init-output.log."""
        data = self.user_data
        if data.startswith(b"\x1f\x8b"):
            import gzip  # noqa: PLC0415  costs import time that nearly no instance needs

            data = gzip.decompress(data)
        with open(f"{self.root}/var/log/cloud-init-output.log", "ab") as log:  # noqa: PTH123
            if not data.startswith(b"#!"):
                log.write(b"cloud-init: user data is no script (#!): the sandbox runs nothing else\n")
                return 1
            script = f"{self.root}/var/lib/cloud/instance/user-data.sh"
            with open(script, "wb", opener=_executable) as file:
                file.write(data)
            process = subprocess.run(
                [script],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.root,
                process_group=0,
            )
            return process.returncode

    def obey(self, order: Json) -> None:
        """Carry out one order of the emulator."""
        match order["do"]:
            case "metadata":
                self.metadata.update(order["set"])
            case "run":
                self._run(Command(self, order))
            case "cancel" if command := self.commands.get(order["id"]):
                command.cancel()
            case "shutdown":
                self.shut_down(order["grace"])

    def _run(self, command: Command) -> None:
        self.commands[command.order["id"]] = command
        threading.Thread(target=command.run, daemon=True).start()

    def forget(self, command_id: str) -> None:
        """Drop a command that has ended."""
        self.commands.pop(command_id, None)

    def shut_down(self, grace: float) -> NoReturn:
        """Go down as an operating system does: SIGTERM to all, `grace` seconds, then SIGKILL. IMDS answers to the end."""
        self.going_down = True
        kill_all(processes_of(self.mark), signal.SIGTERM)
        deadline = time.monotonic() + grace
        pause = 0.02
        while processes_of(self.mark) and time.monotonic() < deadline:
            time.sleep(pause)
            # Many instances may go down at once, and each look costs a walk through /proc.
            pause = min(pause * 2, 0.5)
        self.vanish()

    def vanish(self) -> NoReturn:
        """End at once, with everything that this instance has started."""
        # Twice: a process may fork between the look and the blow.
        for _ in range(2):
            kill_all(processes_of(self.mark), signal.SIGKILL)
        os._exit(0)


def main() -> NoReturn:
    """Be the instance that the first line of standard input describes, until it is told to end."""
    instance = Instance(json.loads(sys.stdin.buffer.readline()))
    signal.signal(signal.SIGUSR1, lambda _number, _frame: instance.say("poweroff"))
    instance.start()
    for line in sys.stdin.buffer:
        instance.obey(json.loads(line))
    instance.vanish()


if __name__ == "__main__":
    main()
