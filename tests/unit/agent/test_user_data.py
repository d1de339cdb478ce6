"""The user data: what an instance runs first, where nobody watches."""

from __future__ import annotations

import base64
import os
import subprocess
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMES = {"AWS::Region": "us-east-1", "AgentLayer": "arn:aws:lambda:us-east-1:123456789012:layer:agent:1", "JobsTable": "spot-responder-jobs"}
NO_BOTOCORE = 'echo "no module named botocore" >&2; exit 1'
NO_LAMBDA = '[ "$1" = -c ] || { cat >/dev/null; echo "The agent cannot be fetched: Connect timeout" >&2; exit 1; }'


def written() -> str:
    """Return the user data as the template has it."""
    template = (ROOT / "template.yaml").read_text()
    return textwrap.dedent(template.partition("          Fn::Base64:\n            Fn::Sub: |\n")[2].partition("\n  JobInstanceProfile:")[0])


def deployed() -> str:
    """Return it as ``Fn::Sub`` makes it."""
    text = written()
    for name, value in NAMES.items():
        text = text.replace(f"${{{name}}}", value)
    return text.replace("${!", "${")


class Machine:
    """A machine whose tools are ours: what they were called with stands in ``log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        for name in ("dnf", "shutdown", "sleep", "python3"):
            self.tool(name, "")

    def tool(self, name: str, script: str) -> None:
        """Put a tool in place."""
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.log}"\n{script}\n')
        file.chmod(0o755)

    def boot(self) -> subprocess.CompletedProcess[str]:
        """Run the user data."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SPOT_RESPONDER_HOME": str(self.folder / "home"),
            "SPOT_RESPONDER_CONFIG_DIR": str(self.folder / "config"),
        }
        return subprocess.run(["bash"], input=deployed(), env=environment, capture_output=True, text=True, check=False, timeout=20)

    def calls(self, name: str) -> list[str]:
        """Return how a tool was called."""
        return [line for line in self.log.read_text().splitlines() if line.split()[0] == name]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine on which everything works."""
    return Machine(tmp_path)


def test_user_data_is_small_and_complete() -> None:
    """The user data stays under EC2's 16 KB, and once its names are put in, it is a shell script with a sound Python part."""
    text = written()
    assert len(base64.b64encode(text.encode())) < 16 * 1024
    assert {part.partition("}")[0] for part in text.split("${")[1:] if not part.startswith("!")} == set(NAMES)
    compile(text.partition("<<'END'\n")[2].partition("\nEND")[0], "user data", "exec")


def test_machine_with_its_agent_stays(machine: Machine) -> None:
    """Where all goes well, nothing is installed that is there, and the instance works on."""
    assert machine.boot().returncode == 0
    assert [machine.calls(name) for name in ("dnf", "shutdown")] == [[], []]


def test_machine_without_repositories_ends(machine: Machine) -> None:
    """Where dnf reaches nothing, the instance ends after three tries, and its console says why."""
    machine.tool("dnf", 'echo "Error: Failed to download metadata for repo" >&2; exit 1')
    machine.tool("python3", NO_BOTOCORE)
    ended = machine.boot()
    assert ended.returncode == 1
    assert len(machine.calls("dnf")) == 3
    assert machine.calls("shutdown") == ["shutdown -h now"]
    assert "Failed to download metadata" in ended.stderr
    assert ended.stderr.endswith("the agent could not be installed (exit status 1, reason above). The instance ends.\n")


def test_machine_without_its_agent_ends(machine: Machine) -> None:
    """Where the agent cannot be fetched, the instance ends at once instead of being silent, and its console says why."""
    machine.tool("python3", NO_LAMBDA)
    ended = machine.boot()
    assert machine.calls("shutdown") == ["shutdown -h now"]
    assert "The agent cannot be fetched: Connect timeout" in ended.stderr
