"""The checkpoint document, run as the SSM agent runs it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from spot_responder.adapters.ssm_commands import entry
from spot_responder.domain.notices import Action, Notice
from tests.checkpoint_document import PATTERN, RefusedBySsm, deployed, script
from tests.examples import COMMAND_ID, instance_id, notice, rebalance

if TYPE_CHECKING:
    from pathlib import Path

ME = instance_id()
MARGIN = 3
"""The seconds that the document keeps back, so that SSM still hears how it ended."""


def word(left: float = 60, *, who: str = ME, kind: str = "interruption", action: str = "terminate") -> str:
    """Return a notice as the document reads it, with so many seconds to its deadline."""
    return f"{who}:{kind}:{action}:{int(time.time() + left)}"


@dataclass
class Machine:
    """An instance: a directory for hooks, one for state, and a log that hooks write to."""

    directory: Path
    instance_id: str | None = ME

    @property
    def log(self) -> list[str]:
        """What the hooks wrote."""
        path = self.directory / "log"
        return path.read_text().splitlines() if path.exists() else []

    def hook(self, name: str, *body: str, mode: int = 0o755) -> None:
        """Put an executable into the hook directory."""
        path = self.directory / "config" / "checkpoint.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["#!/bin/sh", *body]) + "\n")
        path.chmod(mode)

    def environment(self) -> dict[str, str]:
        """Return the agent's environment."""
        own = {"SPOT_RESPONDER_CONFIG_DIR": str(self.directory / "config"), "SPOT_RESPONDER_STATE_DIR": str(self.directory / "state")}
        who = {"AWS_SSM_INSTANCE_ID": self.instance_id} if self.instance_id else {}
        return {"PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}", "LOG": str(self.directory / "log"), **own, **who}

    def start(self, notices: str, checkpoint_command: str = "") -> subprocess.Popen[str]:
        """Start the document's script."""
        path = self.directory / "_script.sh"
        path.write_text(script(notices, checkpoint_command))
        return subprocess.Popen(["sh", str(path)], env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, notices: str, checkpoint_command: str = "") -> tuple[int, str, str]:
        """Run it; return exit status, output and errors."""
        process = self.start(notices, checkpoint_command)
        output, errors = process.communicate(timeout=20)
        return process.returncode, output, errors


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return an instance without hooks."""
    return Machine(tmp_path)


def test_a_hook_that_outlasts_the_deadline_is_ended(machine: Machine) -> None:
    """A hook that does not end in time is ended before the deadline, and those behind it are too late."""
    machine.hook("10-save", "echo started", "exec sleep 60")
    machine.hook("20-upload", 'echo ran >>"$LOG"')
    notices = word(MARGIN + 1.9)
    status, output, errors = machine.run(notices)
    assert time.time() < int(notices.rsplit(":", 1)[1])
    assert (status, output, machine.log) == (124, "", [])
    assert [line.split(":")[0] for line in errors.splitlines()] == ["started", "10-save", "20-upload"]
    assert errors.count("did not end before the deadline, 20") == 2


def test_a_hook_that_was_killed(machine: Machine) -> None:
    """`timeout` is told to kill, a second later, what ignores its first signal; a 137 long before that is somebody else's kill, and told so."""
    stub = machine.directory / "bin" / "timeout"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\necho "$@" >"$LOG"\nexit 137\n')
    stub.chmod(0o755)
    machine.hook("10-save")
    status, _, errors = machine.run(word(60))
    (arguments,) = machine.log
    assert re.fullmatch(r"--kill-after=1 5[5-7] .*/10-save", arguments)
    assert (status, errors) == (1, "10-save: was killed\n")


def test_hooks_run_in_order(machine: Machine) -> None:
    """The executables of the hook directory run in the order of their names; what is no executable does not."""
    for name in ("20-upload", "10-save", "9-last"):
        machine.hook(name, f'echo {name} >>"$LOG"')
    machine.hook("15-disabled", 'echo disabled >>"$LOG"', mode=0o644)
    (machine.directory / "config/checkpoint.d/directory").mkdir()
    assert machine.run(word()) == (0, "10-save: done\n20-upload: done\n9-last: done\n", "")
    assert machine.log == ["10-save", "20-upload", "9-last"]


@pytest.mark.parametrize(("kind", "action"), [("interruption", "terminate"), ("interruption", "stop"), ("rebalance", "none")])
def test_hooks_know_their_notice(machine: Machine, kind: str, action: str) -> None:
    """A hook finds instance, kind, action and deadline in its environment."""
    machine.hook("10-save", 'env | grep ^SPOT_RESPONDER | grep -v _DIR= | sort >"$LOG"')
    notice_word = word(kind=kind, action=action)
    assert machine.run(notice_word)[0] == 0
    deadline = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(notice_word.rsplit(":", 1)[1])))
    expected = {"ACTION": action, "DEADLINE": deadline, "INSTANCE_ID": ME, "KIND": kind}
    assert machine.log == [f"SPOT_RESPONDER_{name}={value}" for name, value in expected.items()]


def test_each_instance_finds_its_own_notice(machine: Machine) -> None:
    """Of the fifty notices of a command, an instance takes its own."""
    machine.hook("10-save", 'echo "$SPOT_RESPONDER_KIND" >"$LOG"')
    others = [word(who=instance_id(number)) for number in range(2, 51)]
    assert machine.run(" ".join([*others[:30], word(kind="rebalance", action="none"), *others[30:]]))[0] == 0
    assert machine.log == ["rebalance"]


@pytest.mark.parametrize("who", [instance_id(2), None])
def test_another_instances_notice_runs_nothing(machine: Machine, who: str | None) -> None:
    """An instance that the command has no notice for, or that does not know who it is, runs nothing and says why."""
    machine.hook("10-save", 'echo ran >>"$LOG"')
    machine.instance_id = who
    status, _, errors = machine.run(word())
    assert (status, machine.log) == (64, [])
    assert f"no notice for this instance ({who or 'its id is unknown'})" in errors


def test_a_failing_hook_is_reported_and_stops_no_other(machine: Machine) -> None:
    """The exit status is that of the first hook that failed; the others have their turn all the same."""
    machine.hook("10-save", "echo half of it", "exit 3")
    machine.hook("20-more", "exit 4")
    machine.hook("30-upload", 'echo ran >>"$LOG"')
    status, output, errors = machine.run(word())
    assert (status, machine.log) == (3, ["ran"])
    assert output.splitlines() == ["30-upload: done"]
    assert errors.splitlines() == ["half of it", "10-save: exit status 3", "20-more: exit status 4"]


@pytest.mark.parametrize("left", [0, -100, MARGIN])
def test_too_late_to_begin(machine: Machine, left: float) -> None:
    """After the deadline, less what is kept back, nothing is begun."""
    machine.hook("10-save", 'echo ran >>"$LOG"')
    status, _, errors = machine.run(word(left))
    assert (status, machine.log) == (124, [])
    assert errors.startswith("too late: the deadline is 20")


def test_nothing_to_run(machine: Machine) -> None:
    """Without a command and without hooks, the instance says where to put one; that is no saved checkpoint."""
    status, _, errors = machine.run(word())
    assert status == 78
    assert "nothing to run: put an executable into" in errors
    assert "CheckpointCommand" in errors
    assert machine.run(word())[0] == 78


def test_twice_for_one_notice_runs_once(machine: Machine) -> None:
    """A second command for a notice whose checkpoint was saved has nothing left to do; another notice has."""
    machine.hook("10-save", 'echo ran >>"$LOG"')
    notices = word()
    assert machine.run(notices)[0] == 0
    assert machine.run(notices) == (0, "already saved for this notice\n", "")
    assert machine.log == ["ran"]
    assert machine.run(word(90))[0] == 0
    assert machine.log == ["ran", "ran"]


def test_two_at_once_run_once(machine: Machine) -> None:
    """Two commands for one notice at the same time: the second waits for the first and has nothing left to do."""
    machine.hook("10-save", 'echo ran >>"$LOG"; sleep 0.3')
    notices = word()
    processes = [machine.start(notices) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=20)[0] for process in processes)
    assert outputs == ["10-save: done\n", "already saved for this notice\n"]
    assert [process.returncode for process in processes] == [0, 0]
    assert machine.log == ["ran"]


def test_a_failed_checkpoint_may_be_tried_again(machine: Machine) -> None:
    """What failed was not saved: a second command for the same notice runs it again."""
    machine.hook("10-save", 'echo ran >>"$LOG"', "exit 1")
    notices = word()
    assert [machine.run(notices)[0] for _ in range(2)] == [1, 1]
    assert machine.log == ["ran", "ran"]


def test_a_hook_may_leave_something_behind(machine: Machine) -> None:
    """A hook may leave a process running: it holds neither the output that SSM waits for nor the lock of the next command."""
    machine.hook("10-save", 'sleep 5 & echo $! >>"$LOG"', "exit 1")
    notices = word()
    began = time.monotonic()
    for _ in range(2):
        assert machine.run(notices)[0] == 1
    assert time.monotonic() - began < 4
    for number in machine.log:
        os.kill(int(number), 9)


@pytest.mark.parametrize(
    "text",
    [
        'it\'s "quoted" $HOME `id` $(id) \\n %s !',
        "two\nlines\n",
        "${CheckpointCommand} {{ Notices }} ü",
        "-n",
    ],
)
def test_the_command_of_the_stack_is_run_as_it_stands(machine: Machine, text: str) -> None:
    """CheckpointCommand may hold quotes, dollars, line breaks and anything else: no quoting can break it."""
    machine.hook("10-save", 'echo hook >>"$LOG"')
    status, output, _ = machine.run(word(), f'printf %s {shlex.quote(text)} >"$LOG"')
    assert (status, output) == (0, "CheckpointCommand: done\n")
    assert (machine.directory / "log").read_text() == text


def test_a_jobs_instance_asks_its_agent(machine: Machine) -> None:
    """Where the agent of a job has put its hook, that is run, and the command of the stack, which is for other machines, is not."""
    machine.hook("50-spot-agent", 'echo agent >>"$LOG"')
    status, output, _ = machine.run(word(), 'echo command >>"$LOG"; exit 127')
    assert (status, machine.log) == (0, ["agent"])
    assert "50-spot-agent: done" in output


def test_other_hooks_leave_the_command_of_the_stack_in_place(machine: Machine) -> None:
    """An instance that is no job's runs the command of the stack alone, as ever."""
    machine.hook("10-mine", 'echo hook >>"$LOG"')
    status, _, _ = machine.run(word(), 'echo command >>"$LOG"')
    assert (status, machine.log) == (0, ["command"])


def test_the_command_of_the_stack_has_the_notice_too(machine: Machine) -> None:
    """CheckpointCommand finds the notice in its environment and its failure is its own."""
    status, _, errors = machine.run(word(), 'echo "$SPOT_RESPONDER_KIND $SPOT_RESPONDER_ACTION"; echo >&2 no; exit 9')
    assert (status, errors) == (9, "interruption terminate\nno\nCheckpointCommand: exit status 9\n")


@pytest.mark.parametrize(
    "notices",
    [
        "",
        "$(id)",
        f"{ME}:interruption:terminate:1795341720'; id; '",
        f"{ME}:interruption:terminate:1795341720\n{ME}:interruption:terminate:1795341720",
        f"{ME}:interruption:terminate:$(date +%s)",
        f"{ME}:interruption:terminate:1795341720 ",
        f"{ME}:interruption:hibernate:1795341720",
        f"{ME}:interruption:terminate:17953417200",
        "i-1;id:interruption:terminate:1795341720",
        " ".join([f"{ME}:interruption:terminate:1795341720"] * 51),
    ],
)
def test_ssm_refuses_what_is_no_notice(notices: str) -> None:
    """The parameter's pattern admits one to fifty notices of a fixed form, and nothing that a shell would act upon."""
    with pytest.raises(RefusedBySsm):
        script(notices)


def test_the_pattern_is_anchored() -> None:
    """The pattern covers the whole value: SSM would else accept a value that only contains a match."""
    assert PATTERN.startswith("^")
    assert PATTERN.endswith("$")
    assert "\n" not in PATTERN


@pytest.mark.parametrize("subject", [notice(), notice(action=Action.STOP), rebalance()])
def test_what_the_function_sends_is_accepted(subject: Notice) -> None:
    """What SsmCommands sends passes the pattern, for every notice for which an instance is asked."""
    assert re.fullmatch(PATTERN, entry(subject))


def test_the_document_as_deployed() -> None:
    """Nothing of CloudFormation is left in the document, and the command stands in it as base64 only."""
    document = deployed({"CheckpointCommand": f"save {COMMAND_ID}"})
    assert "Fn::" not in str(document)
    assert COMMAND_ID not in str(document)
    (step,) = document["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    assert step["precondition"] == {"StringEquals": ["platformType", "Linux"]}


def test_a_process_left_behind_holds_up_nobody(machine: Machine) -> None:
    """A hook may leave a process behind that keeps its output open: SSM waits for the document's output, which ends with the document."""
    machine.hook("10-daemon", "sleep 60 &", 'echo $! >>"$LOG"', "echo started")
    started = time.monotonic()
    status, output, _ = machine.run(word())
    took = time.monotonic() - started
    os.kill(int(machine.log[0]), signal.SIGKILL)
    assert (status, output.splitlines()) == (0, ["started", "10-daemon: done"])
    assert took < 30


def test_a_recommendation_behind_the_warning(machine: Machine) -> None:
    """Once the warning's checkpoint was asked, a recommendation that comes behind it starts no second one, which the end could cut off."""
    machine.hook("10-save", 'echo "$SPOT_RESPONDER_KIND" >>"$LOG"')
    machine.run(word())
    assert machine.run(word(kind="rebalance", action="none")) == (0, "answered by the interruption's checkpoint\n", "")
    assert machine.log == ["interruption"]
