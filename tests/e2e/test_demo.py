"""`make demo`'s own program, run once: what it promises holds, and it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.control import REPOSITORY
from sandbox.processes import processes_of
from sandbox.waiting import wait_for
from tests.control_c import hearing_control_c
from tests.e2e.jobs import FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Run:
    """A run of ``python -m sandbox demo`` with a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "sandbox"
        self.out = place / "out"
        command = [sys.executable, "-m", "sandbox", "demo", "--directory", str(self.directory), "--out", str(self.out)]
        with hearing_control_c():
            self.process = subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def emulator(self) -> str:
        """Return the identifier of the emulator's run, once it has started."""
        state = self.directory / "emulator.json"
        text = wait_for(lambda: state.read_text() if state.exists() else "", 30, "the start of the demonstration's sandbox")
        return str(json.loads(text)["run"])

    def finish(self, seconds: float) -> str:
        """Wait for the end and return what was printed."""
        output, _ = self.process.communicate(timeout=seconds)
        return output

    def end(self) -> None:
        """Kill it, if it still runs, and everything it has started."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        subprocess.run([sys.executable, "-m", "sandbox", "stop", "--directory", str(self.directory)], cwd=REPOSITORY, check=True, capture_output=True)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[[], Run]]:
    """Starts demonstrations, each in a place of its own; they are ended afterwards."""
    started: list[Run] = []

    def start() -> Run:
        started.append(Run(tmp_path / str(len(started))))
        return started[-1]

    yield start
    for run in started:
        run.end()


@pytest.mark.timeout(450)
def test_demonstration(runs: Callable[[], Run]) -> None:
    """The demonstration ends with status 0, its figures and those of the game day are what must hold, and no process is left."""
    run = runs()
    emulator = run.emulator()
    output = run.finish(400)
    assert run.process.returncode == 0, output
    figures = json.loads((run.out / "demo.json").read_text())
    assert set(figures) == {"notices", "duplicates", "calls", "outcomes", "event_to_command_seconds"}
    assert (figures["notices"], figures["duplicates"]) == (20, 1)
    assert figures["outcomes"] == {"saved": 16, "failed": 2, "vanished": 1, "not opted in": 1, "late": 0}
    assert 1 <= figures["calls"]["ec2:DescribeInstances"] <= 4
    gameday = json.loads((run.out / "gameday.json").read_text())
    assert set(gameday) == FIGURES
    assert (gameday["experiment"], gameday["hypothesis_held"], gameday["attempts"], gameday["time_scale"]) == ("interrupt", True, 2, 0.1)
    assert gameday["recomputed_percent"] == pytest.approx(0, abs=0.05)
    for picture in ("demo.png", "gameday.png"):
        assert (run.out / picture).read_bytes().startswith(b"\x89PNG")
    assert processes_of(emulator) == set()


def test_stopped_by_hand(runs: Callable[[], Run]) -> None:
    """Ctrl-C, or a polite kill, in the middle stops the sandbox with everything in it; two demonstrations do not disturb each other."""
    by_signal = {number: runs() for number in (signal.SIGINT, signal.SIGTERM)}
    emulators = [run.emulator() for run in by_signal.values()]
    for number, run in by_signal.items():
        instances = run.directory / "instances"
        wait_for(lambda instances=instances: list(instances.glob("*")), 60, "the launch of the first instance")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        run.process.send_signal(number)
    for run in by_signal.values():
        output = run.finish(120)
        assert run.process.returncode == 130, output
    assert [processes_of(emulator) for emulator in emulators] == [set(), set()]
