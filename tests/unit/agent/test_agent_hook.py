"""The hook and the socket behind it."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import install
from spot_agent import ask_checkpoint
from spot_agent.requests import SOCKET_NAME, SocketRequests, connected
from tests.unit.agent.real import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spot_agent.ports import Request

AGENT = Path(__file__).parents[3] / "agent"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory whose path is longer than a socket's address may be."""
    folder = tmp_path / ("long" * 30) / "agent"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def requests(folder: Path) -> Iterator[SocketRequests]:
    """An agent's ear."""
    requests = SocketRequests(folder)
    yield requests
    requests.listener.close()


def answered(requests: SocketRequests, *, is_saved: bool, text: str) -> list[Request]:
    """Answer the next request from another thread; return the list in which it will be found."""
    heard: list[Request] = []

    def has_heard() -> bool:
        heard.extend(requests.arrived())
        return bool(heard)

    def listen() -> None:
        eventually(has_heard)
        requests.answer(heard[0], is_saved, text)

    threading.Thread(target=listen).start()
    return heard


def test_hook_hears_that_it_is_saved(folder: Path, requests: SocketRequests) -> None:
    """A saved checkpoint: exit status 0, and the agent has heard kind, action and deadline."""
    heard = answered(requests, is_saved=True, text="saved at 42 %")
    question = {"kind": "interruption", "action": "terminate", "deadline": 1_800_000_000.0}
    assert ask_checkpoint.ask(folder, question, 5.0) == (0, "saved at 42 %")
    assert heard[0][1:] == ("interruption", "terminate", 1_800_000_000.0)


def test_hook_hears_why_not(folder: Path, requests: SocketRequests) -> None:
    """A checkpoint that could not be saved: a status other than 0 and the agent's reason."""
    answered(requests, is_saved=False, text="fenced off: the job belongs to attempt 2")
    status, text = ask_checkpoint.ask(folder, {"kind": "rebalance", "action": "none", "deadline": None}, 5.0)
    assert (status, text) == (1, "fenced off: the job belongs to attempt 2")


def test_hook_gives_up_before_the_deadline(folder: Path, requests: SocketRequests) -> None:
    """An agent that does not answer in time: one sentence, before SSM's patience ends."""
    began = time.monotonic()
    status, text = ask_checkpoint.ask(folder, {"kind": "interruption", "action": "stop", "deadline": None}, 0.3)
    assert (status, text) == (75, "the agent did not save a checkpoint before the deadline")
    assert time.monotonic() - began < 2


def test_hook_without_an_agent(tmp_path: Path) -> None:
    """No agent on the instance: said in one sentence."""
    status, text = ask_checkpoint.ask(tmp_path, {"kind": "interruption", "action": "stop", "deadline": None}, 1.0)
    assert status == 69
    assert text.startswith("no agent answers")


def test_hook_whose_agent_ends(folder: Path, requests: SocketRequests) -> None:
    """An agent that ends without an answer is not taken for a saved checkpoint."""

    def hang_up() -> None:
        eventually(requests.arrived)
        for connection in requests._asking.values():
            connection.close()

    threading.Thread(target=hang_up).start()
    assert ask_checkpoint.ask(folder, {"kind": "interruption", "action": "stop", "deadline": None}, 5.0)[0] == 1


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b'{"kind": 1, "action": 2, "deadline": "soon"}\n', b"\xff\n"])
def test_what_is_no_request_is_dropped(folder: Path, requests: SocketRequests, line: bytes) -> None:
    """Whatever else is sent to the socket is dropped and disturbs nobody."""
    with connected(folder, 5.0) as connection:
        connection.sendall(line)
        assert requests.arrived() == []
        assert connection.recv(1) == b""


def test_socket_is_for_its_owner_only(folder: Path, requests: SocketRequests) -> None:
    """Nobody but root and the agent's user may ask."""
    assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o600


def test_installed_hook_speaks_to_the_agent(tmp_path: Path) -> None:
    """The hook as installed, run as the SSM document runs it, reaches the agent and passes its answer on."""
    install.install_hook(tmp_path / "etc")
    hook = tmp_path / "etc" / "checkpoint.d" / "50-spot-agent"
    state = tmp_path / "run" / "agent"
    state.mkdir(parents=True)
    requests = SocketRequests(state)
    heard = answered(requests, is_saved=True, text="saved at 7 %")
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    environment = {
        "PATH": "/usr/bin:/bin",
        "SPOT_RESPONDER_STATE_DIR": str(tmp_path / "run"),
        "SPOT_RESPONDER_KIND": "interruption",
        "SPOT_RESPONDER_ACTION": "terminate",
        "SPOT_RESPONDER_DEADLINE": deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    result = subprocess.run([str(hook)], env=environment, capture_output=True, text=True, check=False, timeout=20)
    requests.listener.close()
    assert (result.returncode, result.stdout, result.stderr) == (0, "saved at 7 %\n", "")
    assert heard[0].deadline == pytest.approx(deadline.timestamp(), abs=1)


def test_hook_needs_no_aws_library() -> None:
    """The hook starts without botocore: it has to be quick."""
    code = "import spot_agent.ask_checkpoint, sys; print('botocore' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(AGENT)}, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


UNIT = install.UNIT.format(here="/opt/x/agent", python="/usr/bin/python3", user="root", home="/opt/x")


def test_unit_runs_the_agent_as_its_own_user() -> None:
    """The service has its own user, starts again after a crash, and powers the machine off only after exit status 0."""
    assert "User={user}" in install.UNIT
    assert "Restart=on-failure" in UNIT
    assert '"$EXIT_CODE/$EXIT_STATUS" = exited/0' in UNIT
    assert "RuntimeDirectory=spot-responder/agent" in UNIT


def test_unit_does_not_begin_anew_for_ever() -> None:
    """Where memory runs out, only the program ends; and an agent that crashes five times in ten minutes is given up, with its instance."""
    sections = {part.partition("]")[0]: part.partition("]")[2].splitlines() for part in UNIT.split("\n[")}
    assert "OOMPolicy=continue" in sections["Service"]
    assert {"StartLimitIntervalSec=600", "StartLimitBurst=5", "StartLimitAction=poweroff"} <= set(sections["[Unit"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_unit_is_sound(tmp_path: Path) -> None:
    """The service is well formed, as systemd itself sees it."""
    file = tmp_path / install.SERVICE
    file.write_text(UNIT)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False)
    about = [line for line in result.stderr.splitlines() if install.SERVICE in line or str(file) in line]
    assert about == []
    assert result.returncode == 0, result.stderr


def test_answers_are_lines_of_json(folder: Path, requests: SocketRequests) -> None:
    """One line each way, so that other hooks can speak it, too."""
    heard = answered(requests, is_saved=True, text="ok")
    with connected(folder, 5.0) as connection:
        connection.sendall(b'{"kind": "by hand", "action": "none"}\n')
        with connection.makefile("rb") as stream:
            assert json.loads(stream.readline()) == {"saved": True, "text": "ok"}
    assert heard[0].kind == "by hand"
