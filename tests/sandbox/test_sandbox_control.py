"""Starting, finding and stopping the sandbox, from the command line as its users do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox import control
from sandbox.__main__ import main
from sandbox.control import SandboxError
from sandbox.environment import Run, client_environment, emulator_environment
from sandbox.processes import processes_of
from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path


def sandbox_command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m sandbox`` with a state directory."""
    command = [sys.executable, "-m", "sandbox", *arguments, "--directory", str(directory)]
    return subprocess.run(command, cwd=control.REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(180)
def test_a_life_from_start_to_stop(tmp_path: Path) -> None:
    """It starts on a free port, is found, refuses to start twice, survives no kill unnoticed, and leaves no process behind."""
    started = sandbox_command(tmp_path, "start", "--port", "0", "--time-scale", "0.5")
    assert started.returncode == 0, started.stderr
    endpoint = started.stdout.strip()
    try:
        state = control.running(tmp_path)
        assert state is not None
        assert state.endpoint == endpoint
        # Another of this machine's addresses: who listens on all of them answers here, too.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", state.port), timeout=5)

        found = sandbox_command(tmp_path, "status")
        assert found.returncode == 0
        assert endpoint in found.stdout

        again = sandbox_command(tmp_path, "start", "--port", "0")
        assert again.returncode == 1
        assert "already running" in again.stderr

        control.change_time_scale(tmp_path, 0.25)
        assert "time scale 0.25" in sandbox_command(tmp_path, "status").stdout
        with pytest.raises(SandboxError, match="refused"):
            control.change_time_scale(tmp_path, -1)

        exports = sandbox_command(tmp_path, "env").stdout
        assert f"export AWS_ENDPOINT_URL={endpoint}" in exports
        assert "unset AWS_PROFILE" in exports

        os.kill(state.pid, signal.SIGKILL)
        wait_for(lambda: control.running(tmp_path) is None, 5, "The end of the killed emulator")
        assert sandbox_command(tmp_path, "status").returncode == 3
    finally:
        sandbox_command(tmp_path, "stop")
    assert processes_of(state.run) == set()
    assert "not running" in sandbox_command(tmp_path, "stop").stdout


def test_stop_ends_what_a_killed_emulator_left(tmp_path: Path) -> None:
    """A process that the emulator had started ends although its parent is gone, and one in a session of its own too."""
    environment = {**os.environ, "SPOT_SANDBOX_RUN": "left-behind"}
    orphans = [subprocess.Popen(["sleep", "60"], env=environment, start_new_session=own) for own in (False, True)]
    state = {"run": "left-behind", "pid": 2**22 - 1, "port": 1, "time_scale": 1, "boot_seconds": 1}
    (tmp_path / "emulator.json").write_text(json.dumps(state))
    assert control.running(tmp_path) is None
    assert control.stop(tmp_path)
    assert [orphan.wait(5) for orphan in orphans] == [-signal.SIGKILL, -signal.SIGKILL]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """When another program listens there, the sentence says so and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SandboxError, match=r"is taken.*--port 0"):
        control.start(tmp_path, port=other.getsockname()[1], time_scale=1, boot_seconds=40)


def test_a_missing_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the virtual environment the sentence says which command makes it."""
    monkeypatch.setattr(control, "REPOSITORY", tmp_path)
    with pytest.raises(SandboxError, match="make setup"):
        control.start(tmp_path / "state", port=0, time_scale=1, boot_seconds=40)


def test_the_emulator_sees_nothing_of_ours(tmp_path: Path) -> None:
    """A developer's profile, endpoint or proxy does not reach the emulator."""
    ours = {"PATH": "/bin", "AWS_PROFILE": "work", "AWS_ENDPOINT_URL": "https://x", "HTTP_PROXY": "http://proxy", "LOCALSTACK_AUTH_TOKEN": "t"}
    seen = emulator_environment(Run("r", tmp_path, 4566, 1.0, 40.0), ours)
    assert seen["PATH"] == "/bin"
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL", "HTTP_PROXY", "LOCALSTACK_AUTH_TOKEN"} & seen.keys()


def test_clients_speak_to_the_sandbox() -> None:
    """Clients get the endpoint, credentials that mean nothing, a Region, and no pager."""
    assert client_environment("http://127.0.0.1:1")["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert client_environment("http://127.0.0.1:1")["AWS_PAGER"] == ""


@pytest.mark.parametrize(
    ("option", "bad", "expected"),
    [
        *(("--time-scale", bad, "expected a number above 0") for bad in ("0", "-1", "nan", "inf", "fast")),
        *(("--port", bad, "expected a port from 0 to 65535") for bad in ("-1", "65536", "http")),
        *(("--boot-seconds", bad, "expected seconds, 0 or more") for bad in ("-1", "nan", "soon")),
    ],
)
def test_an_option_that_means_nothing(option: str, bad: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started, and the sentence says what was expected."""
    with pytest.raises(SystemExit) as ended:
        main(["start", f"{option}={bad}", "--directory", str(tmp_path)])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, whoever runs this: not even root makes a folder in a file's place."""
    (tmp_path / "file").touch()
    wanted = tmp_path / "file" / "state"
    assert main(["start", "--port", "0", "--directory", str(wanted)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"{wanted} cannot be made (Not a directory): give another --directory."


def test_no_environment_of_what_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who evaluates the environment of a sandbox that does not run fails, so that what comes next does not go to an account."""
    assert main(["env", "--directory", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "start it with `python -m sandbox start`" in printed.err
    assert subprocess.run(["/bin/bash", "-c", 'eval "$0" && echo went on', printed.out], capture_output=True, check=False).stdout == b""
