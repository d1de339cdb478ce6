"""The command line: results, pictures and exit statuses."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import matplotlib.image as mpimg
import pytest

from gameday import __main__ as command
from gameday.evidence import Job
from tests.unit.gameday.scene import BEGAN, Account, interrupted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """The account that the command line finds."""
    account = Account()
    monkeypatch.setattr(command, "services_of", lambda _: account.services())
    return account


def run(folder: Path, *arguments: str, experiment: str = "interrupt", stack: str = "spot-responder") -> int:
    """The exit status of a game day whose results go into this folder."""
    paths = ["--json", str(folder / "out" / "gameday.json"), "--picture", str(folder / "out" / "gameday.png")]
    return command.main([experiment, "--stack", stack, *paths, *arguments])


def test_held(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0; the table on the standard output, the figures as JSON, the picture as PNG."""
    assert run(tmp_path) == 0
    assert "It held." in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "gameday.json").read_text())["hypothesis_held"] is True
    height, width, _ = mpimg.imread(tmp_path / "out" / "gameday.png").shape
    assert width > height > 500


def test_not_held(account: Account, tmp_path: Path) -> None:
    """Exit status 1, and the results are written all the same."""
    account.evidence = dataclasses.replace(interrupted(), job=Job("failed", 80.0, 2))
    assert run(tmp_path) == 1
    assert json.loads((tmp_path / "out" / "gameday.json").read_text())["hypothesis_held"] is False


def test_unmet(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and one sentence; results of an earlier run do not stay."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gameday.json").write_text("{}")
    assert run(tmp_path, stack="other") == 2
    assert capsys.readouterr().err == "The stack other was not found\n"
    assert not (tmp_path / "out" / "gameday.json").exists()


def test_ctrl_c(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 130 after both were stopped, and it says so."""

    def press() -> None:
        if account.time > BEGAN + 100:
            raise KeyboardInterrupt

    account.at_pause = press
    assert run(tmp_path) == 130
    shown = capsys.readouterr()
    assert "experiment EXP1 stopped" in shown.out
    assert "stopped; its instances are being ended" in shown.out
    assert shown.err == "The game day was ended early; there is no result.\n"


@pytest.mark.parametrize("bad", ["0", "-1", "inf", "nan", "six"])
def test_a_number_that_is_none(bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Durations and the time scale are numbers above 0."""
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, f"--job-minutes={bad}")
    assert ended.value.code == 2
    assert f"expected a number above 0, not {bad}" in capsys.readouterr().err


def test_a_picture_of_next_to_nothing(account: Account, tmp_path: Path) -> None:
    """Without metrics, records and ends of instances there is still a picture."""
    machines = tuple(dataclasses.replace(machine, ended_at=None) for machine in interrupted().machines)
    account.evidence = dataclasses.replace(interrupted(), attempts=(), unsaved=(), checkpointed=(), machines=machines)
    assert run(tmp_path, experiment="terminate") == 1
    assert (tmp_path / "out" / "gameday.png").stat().st_size > 1000


@pytest.mark.parametrize("bad", ["picture", "picture.gifx", "picture.txt"])
def test_a_picture_that_cannot_be_drawn(bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before the game day, not after."""
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, f"--picture={bad}")
    assert ended.value.code == 2
    assert "expected a file name that ends in .png" in capsys.readouterr().err
