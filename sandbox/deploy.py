"""The real ``sam build`` and ``sam deploy``, into a sandbox: what `make demo` and the end-to-end tests deploy with."""

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.control import REPOSITORY, SandboxError
from sandbox.environment import client_environment, client_unset

STACK = "spot-responder"
SHOWN_LINES = 15

type Progress = Callable[[str], None]
"""Takes what is being done just now, in a few words."""


@dataclass(frozen=True)
class Sam:
    """SAM's command line for one sandbox: its artefacts and logs go to `directory`, so that several can run at once."""

    endpoint: str
    directory: Path

    @property
    def template(self) -> Path:
        """The built template."""
        return self.directory / "build" / "template.yaml"

    def build(self, progress: Progress = lambda _: None) -> None:
        """Build; raise `SandboxError` with the end of SAM's output where that fails."""
        options = ["--build-dir", str(self.template.parent), "--cache-dir", str(self.directory / "build-cache"), "--cached"]
        self._run(["build", *options], progress)

    def deploy(self, *parameters: str, stack: str = STACK, progress: Progress = lambda _: None) -> str:
        """Deploy and return SAM's output; `parameters` are ``Name=value``. Raises as `build` does."""
        overrides = ["--parameter-overrides", *parameters] if parameters else []
        chosen = ["--template", str(self.template), "--stack-name", stack]
        return self._run(["deploy", *chosen, *overrides], progress)

    def _run(self, arguments: Sequence[str], progress: Progress) -> str:
        command = [_program("sam"), *arguments, "--config-file", str(REPOSITORY / "samconfig.toml"), "--config-env", "sandbox"]
        log = self.directory / f"sam-{arguments[0]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=client_process_environment(self.endpoint), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with process, log.open("w") as file:
            output = list(_follow(process, file.write, progress))
        if process.returncode != 0:
            last = "".join(deque(output, SHOWN_LINES))
            raise SandboxError(f"`sam {arguments[0]}` failed with exit status {process.returncode}; its whole output is in {log}\n{last}")
        return "".join(output)


def client_process_environment(endpoint: str) -> dict[str, str]:
    """Return the environment of a program that is to take the sandbox for AWS: ours, and nothing that leads elsewhere."""
    ours = {name: text for name, text in os.environ.items() if name not in client_unset()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{ours.get('PATH', os.defpath)}"
    local = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return ours | client_environment(endpoint) | local | {"PATH": path, "PYTHONUNBUFFERED": "1"}


def outputs(cloudformation: Any, stack: str = STACK) -> dict[str, str]:
    """Return the outputs of a deployed stack by key."""
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def functions(cloudformation: Any, stack: str = STACK) -> dict[str, str]:
    """Return the names of a deployed stack's functions by their names in the template."""
    resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    chosen = (resource for resource in resources if resource["ResourceType"] == "AWS::Lambda::Function")
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in chosen}


def subnets(ec2: Any) -> str:
    """Return the ids of the default subnets, one for each zone, as the parameter ``SubnetIds`` takes them."""
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    return ",".join(sorted(subnet["SubnetId"] for subnet in found))


def _program(name: str) -> str:
    program = Path(sys.executable).parent / name
    if not program.exists():
        raise SandboxError(f"{program} is missing; run `make setup`.")
    return str(program)


def _follow(process: "subprocess.Popen[str]", write: Callable[[str], object], progress: Progress) -> Sequence[str]:
    """Pass each line of output on as it comes and return them all; `progress` hears of what a person wants to know."""
    lines = []
    assert process.stdout is not None  # noqa: S101  it was started with a pipe
    for line in process.stdout:
        lines.append(line)
        write(line)
        if said := in_words(line):
            progress(said)
    return lines


def in_words(line: str) -> str:
    """Return what a line of SAM's output says, in a few words; nothing for those that do not matter here."""
    if built := re.match(r"Building (?:layer '|codeuri: .* functions: )(\w+)", line):
        return f"building {built[1]}"
    if made := re.match(r"CREATE_COMPLETE\s+(AWS::\S+)\s+(\S+)", line):
        return f"{made[2]} is there"
    if "Uploading to" in line:
        return "uploading the code"
    return "waiting for the change set" if "Waiting for changeset" in line else ""
