"""The process that is an instance: real processes, real HTTP, real signals."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from spot_sandbox import instance as program
from spot_sandbox.ec2_machines import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 10.0


class Running:
    """An instance process and what it has said."""

    def __init__(self, root: Path, user_data: str = "", **changes: Any) -> None:
        self.root = root
        self.mark = f"i-test-{os.getpid()}-{root.name}"
        self.facts: queue.Queue[dict[str, Any]] = queue.Queue()
        config = {
            "id": "i-1",
            "root": str(root),
            "mark": self.mark,
            "boot_seconds": 0.0,
            "user_data": base64.b64encode(user_data.encode()).decode(),
            "metadata": {"meta-data/instance-id": "i-1", "meta-data/placement/region": "us-east-1", "user-data": "x"},
            "tokens_required": True,
            "endpoint_enabled": True,
            "environment": {"PATH": f"{root}/usr/sbin:/usr/bin:/bin"},
        }
        self.machine = Machine(config | changes, self.facts.put, lambda: self.facts.put({"say": "ended"}))
        self.url = f"http://127.0.0.1:{self.hear('listening')['port']}"

    def hear(self, fact: str) -> dict[str, Any]:
        """Wait for a fact and return it."""
        deadline = time.monotonic() + SECONDS
        while True:
            said = self.facts.get(timeout=max(0.0, deadline - time.monotonic()))
            if said["say"] == fact:
                return said

    def get(self, path: str, *, token: str | None = None, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Ask the metadata service; return status and text."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        if token:
            given["X-aws-ec2-metadata-token"] = token
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=given)  # noqa: S310  our own server
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  our own server
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def token(self) -> str:
        """Get a token for IMDSv2."""
        return self.get("/latest/api/token", method="PUT", X_aws_ec2_metadata_token_ttl_seconds="60")[1]

    def run(self, *scripts: str, timeout: float = SECONDS, exit_on: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Run scripts as the steps of one command; return what was said of each."""
        self.machine.order("run", id="c-1", steps=_steps(scripts, timeout, exit_on))
        self.hear("started")
        said = []
        while (fact := self.facts.get(timeout=SECONDS))["say"] != "finished":
            if fact["say"] == "step":
                said.append(fact)
        return said


def _steps(scripts: tuple[str, ...], timeout: float, exit_on: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"name": f"s{n}", "script": script, "timeout": timeout, "directory": "", "environment": {"SSM_X": "1"}, "exit_on": exit_on}
        for n, script in enumerate(scripts)
    ]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start instances that are gone after the test."""
    started: list[Running] = []

    def start_one(*args: Any, **changes: Any) -> Running:
        started.append(Running(tmp_path / f"{tmp_path.name}-{len(started)}", *args, **changes))
        return started[-1]

    yield start_one
    for running in started:
        running.machine.destroy()


def wait_until(holds: Callable[[], bool]) -> bool:
    """Tell whether something comes to hold before the deadline."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_metadata_needs_a_token(start: Callable[..., Running]) -> None:
    """With HttpTokens=required a request without a token, or with a wrong one, gets 401."""
    running = start()
    assert running.get("/latest/meta-data/instance-id")[0] == 401
    assert running.get("/latest/meta-data/instance-id", token="wrong")[0] == 401
    assert running.get("/latest/meta-data/instance-id", token=running.token()) == (200, "i-1")


def test_metadata_without_a_token(start: Callable[..., Running]) -> None:
    """With HttpTokens=optional IMDSv1 works, and a wrong token is still refused."""
    running = start(tokens_required=False)
    assert running.get("/latest/meta-data/instance-id") == (200, "i-1")
    assert running.get("/latest/meta-data/instance-id", token="wrong")[0] == 401


@pytest.mark.parametrize("headers", [{}, {"X_aws_ec2_metadata_token_ttl_seconds": "0"}, {"X_aws_ec2_metadata_token_ttl_seconds": "21601"}])
def test_token_needs_a_lifetime(start: Callable[..., Running], headers: dict[str, str]) -> None:
    """A token request without a lifetime of 1 to 21,600 s is a bad request."""
    assert start().get("/latest/api/token", method="PUT", **headers)[0] == 400


def test_token_is_not_given_through_a_proxy(start: Callable[..., Running]) -> None:
    """A token request with X-Forwarded-For is forbidden."""
    headers = {"X_aws_ec2_metadata_token_ttl_seconds": "60", "X_Forwarded_For": "10.0.0.1"}
    assert start().get("/latest/api/token", method="PUT", **headers)[0] == 403


def test_disabled_metadata(start: Callable[..., Running]) -> None:
    """With HttpEndpoint=disabled everything is forbidden."""
    running = start(endpoint_enabled=False)
    assert running.get("/latest/api/token", method="PUT", X_aws_ec2_metadata_token_ttl_seconds="60")[0] == 403


def test_folders_list_their_children(start: Callable[..., Running]) -> None:
    """A folder lists its children, folders among them with a slash, with and without one at the end of the path."""
    running = start(tokens_required=False)
    assert running.get("/latest/meta-data/") == running.get("/latest/meta-data") == (200, "instance-id\nplacement/")


def test_warning_appears_and_goes(start: Callable[..., Running]) -> None:
    """spot/instance-action is 404 until the emulator sets it."""
    running = start(tokens_required=False)
    path = "/latest/meta-data/spot/instance-action"
    assert running.get(path)[0] == 404
    running.machine.order("metadata", set={"meta-data/spot/instance-action": "{}"})
    assert wait_until(lambda: running.get(path) == (200, "{}"))
    running.machine.order("metadata", set={"meta-data/spot/instance-action": None})
    assert wait_until(lambda: running.get(path)[0] == 404)


def test_user_data_runs_once(start: Callable[..., Running]) -> None:
    """User data runs at the first boot with the instance's environment, and its output is kept."""
    script = '#!/bin/sh\necho "at $AWS_EC2_METADATA_SERVICE_ENDPOINT in $PWD"\nexit 3\n'
    running = start(script)
    assert running.hear("user-data")["status"] == 3
    log = running.root / "var/log/cloud-init-output.log"
    assert log.read_text() == f"at {running.url}/ in {running.root}\n"
    running.machine.destroy()
    again = Running(running.root, script)
    try:
        assert again.run("true")[0]["status"] == "Success"
        assert log.read_text().count("at http") == 1
    finally:
        again.machine.destroy()


def test_user_data_that_is_no_script(start: Callable[..., Running]) -> None:
    """Cloud-config is not run, and the log says so."""
    running = start("#cloud-config\n")
    assert running.hear("user-data")["status"] == 1
    assert "no script" in (running.root / "var/log/cloud-init-output.log").read_text()


def test_environment_is_clean(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the emulator's own environment reaches a script."""
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    said = start().run("env")[0]["stdout"]
    assert "SECRET_OF_THE_HOST" not in said
    assert "SSM_X=1" in said


def test_exit_status_and_both_outputs(start: Callable[..., Running]) -> None:
    """A step reports its exit status and its outputs apart."""
    step = start().run("echo out; echo err >&2; exit 7")[0]
    assert (step["status"], step["code"], step["stdout"], step["stderr"]) == ("Failed", 7, "out\n", "err\n")


def test_later_steps_run_after_a_failure_unless_told_to_exit(start: Callable[..., Running]) -> None:
    """A failed step does not stop the next one; with onFailure exit it does."""
    running = start()
    assert [step["status"] for step in running.run("false", "true")] == ["Failed", "Success"]
    assert [step["status"] for step in running.run("false", "true", exit_on=("Failed",))] == ["Failed"]


def test_outputs_are_cut(start: Callable[..., Running]) -> None:
    """24,000 characters of output and 8,000 of errors are reported, with a mark at the cut."""
    step = start().run("yes | head -c 30000; yes | head -c 30000 >&2")[0]
    assert (len(step["stdout"]), len(step["stderr"])) == (24000, 8000)
    assert step["stdout"].endswith("---Output truncated---")


def test_output_that_is_no_text(start: Callable[..., Running]) -> None:
    """Bytes that are no UTF-8 do not keep a step from being reported."""
    assert start().run(r"printf '\377'")[0]["stdout"] == "\ufffd"


def test_timeout_ends_the_whole_step(start: Callable[..., Running]) -> None:
    """A step that outlasts its timeout is killed with its children."""
    running = start()
    step = running.run("sleep 77 & sleep 77", timeout=0.2)[0]
    assert (step["status"], step["code"]) == ("TimedOut", 137)
    assert wait_until(lambda: not program.processes_of(running.mark))


def test_background_process_that_holds_the_output_keeps_the_step_running(start: Callable[..., Running]) -> None:
    """As with the SSM agent: a step lasts until nobody can write to its output any more."""
    running = start()
    assert running.run("echo out; sleep 77 &", timeout=0.3)[0]["status"] == "TimedOut"
    step = running.run("echo out; sleep 77 > /dev/null 2>&1 &", timeout=SECONDS)[0]
    assert (step["status"], step["stdout"]) == ("Success", "out\n")


def test_step_that_a_signal_ends(start: Callable[..., Running]) -> None:
    """A script that a signal ends has failed; one that ends with 137 counts as timed out."""
    running = start()
    step = running.run("kill -TERM $$")[0]
    assert step["status"] == "Failed"
    assert step["code"] in {-1, 143}  # what it is depends on whether the shell runs the script itself
    assert running.run("exit 137")[0]["status"] == "TimedOut"


def test_cancel_ends_the_step(start: Callable[..., Running]) -> None:
    """A cancelled command's step ends, and no other starts."""
    running = start()
    running.machine.order("run", id="c-1", steps=_steps(("sleep 77", "true"), SECONDS, ()))
    running.hear("started")
    assert wait_until(lambda: bool(program.processes_of(running.mark)))
    running.machine.order("cancel", id="c-1")
    assert running.hear("step")["status"] == "Cancelled"
    assert running.facts.get(timeout=SECONDS)["say"] == "finished"


def test_shutdown_gives_processes_their_grace(start: Callable[..., Running]) -> None:
    """On shutdown a process gets SIGTERM and may finish its work."""
    running = start("#!/bin/sh\ntrap 'sleep 0.2; echo saved > done; exit 0' TERM\necho ready > ready\nwhile :; do sleep 0.05; done\n")
    assert wait_until((running.root / "ready").exists)
    running.machine.order("shutdown", grace=SECONDS)
    running.hear("ended")
    assert (running.root / "done").read_text() == "saved\n"


def test_shutdown_kills_what_does_not_listen(start: Callable[..., Running]) -> None:
    """What ignores SIGTERM, even as a daemon of its own session, is killed after the grace."""
    running = start("#!/bin/sh\ntrap '' TERM\nsetsid sh -c \"trap '' TERM; echo ready > ready; while :; do sleep 0.05; done\" &\n")
    assert wait_until((running.root / "ready").exists)
    running.machine.order("shutdown", grace=0.2)
    running.hear("ended")
    assert wait_until(lambda: not program.processes_of(running.mark))


def test_poweroff_is_reported(start: Callable[..., Running]) -> None:
    """`shutdown` on the instance tells EC2 that it wants to go down."""
    running = start("#!/bin/sh\nshutdown -h now\n")
    running.hear("poweroff")


def test_destroy_leaves_nothing(start: Callable[..., Running]) -> None:
    """Pulling the plug kills the instance and everything it has started."""
    running = start("#!/bin/sh\nsetsid sleep 77 &\nsleep 77\n")
    assert wait_until(lambda: len(program.processes_of(running.mark)) >= 2)
    running.machine.destroy()
    running.hear("ended")
    assert wait_until(lambda: not program.processes_of(running.mark))


def test_nothing_is_left_when_the_emulator_is_killed(tmp_path: Path) -> None:
    """An instance whose emulator dies by kill -9 ends by itself, with everything it has started."""
    mark = f"i-orphan-{os.getpid()}"
    config = {
        "id": "i-1",
        "root": str(tmp_path / "i-1"),
        "mark": mark,
        "boot_seconds": 0.0,
        "user_data": base64.b64encode(b"#!/bin/sh\nsetsid sleep 77 &\nsleep 77\n").decode(),
        "metadata": {},
        "tokens_required": True,
        "endpoint_enabled": True,
        "environment": {"PATH": "/usr/bin:/bin"},
    }
    code = "import json, sys, time; from spot_sandbox.ec2_machines import Machine; Machine(json.loads(sys.argv[1]), print, print); time.sleep(77)"
    path = os.pathsep.join(sys.path)
    emulator = subprocess.Popen([sys.executable, "-c", code, json.dumps(config)], env={"PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: len(program.processes_of(mark)) >= 2)
    finally:
        emulator.send_signal(signal.SIGKILL)
        emulator.wait(SECONDS)
    assert wait_until(lambda: not program.processes_of(mark))


def test_instance_is_light(start: Callable[..., Running]) -> None:
    """An instance takes little memory and less than 150 ms of CPU to start."""
    running = start()
    running.hear("booted")
    pid = running.machine.pid
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  a line of the kernel
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    assert ticks / os.sysconf("SC_CLK_TCK") < 0.15
    assert int(fields[21]) * os.sysconf("SC_PAGE_SIZE") < 20 * 1024 * 1024
