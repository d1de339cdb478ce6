"""Jobs as the end-to-end tests start, disturb and watch them: a sandbox with the stack and its job part deployed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.control import REPOSITORY
from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.deploy import Sam
    from sandbox.remote import Remote

TIME_SCALE = 0.1
BARREN_ATTEMPTS = 1
FIGURES = {
    "experiment", "hypothesis_held", "attempts", "percent_at_notice", "percent_resumed_from", "recomputed_percent",
    "seconds_without_worker", "total_seconds", "uninterrupted_seconds", "time_scale",
}  # fmt: skip
"""What gameday.json holds."""
LIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
PAUSE_SECONDS = 0.5
END_PAUSE_SECONDS = 1.0
"""Between two looks of those who wait for an end: all scenarios together look, and each look costs the sandbox what a call of the agent's does."""
ATTEMPT_SECONDS = 90.0
"""How long an attempt may take to be launched, boot and begin its work."""


@dataclass(frozen=True)
class Jobs:
    """The deployed stack, for those who want jobs run."""

    remote: Remote
    sam: Sam
    outputs: dict[str, str]
    machine: str
    """The ARN of the state machine."""
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Return boto3's client of a service, the same for all: making one costs more than a look at a job."""
        if service not in self._clients:
            self._clients[service] = self.remote.client(service)
        return self._clients[service]

    def start(self, job_id: str, **given: Any) -> Job:
        """Start an execution for a job of this id with an input; a job that is there already is resumed."""
        answer = self.client("stepfunctions").start_execution(stateMachineArn=self.machine, input=json.dumps({"JobId": job_id, **given}))
        return Job(self, job_id, answer["executionArn"])

    def but_for(self, name: str, *changes: tuple[str, str]) -> Jobs:
        """Return the same stack with another state machine: the deployed definition, in which texts are replaced by others.

        So a scenario has a parameter of its own beside the others', which go on in the same sandbox.
        """
        states = self.client("stepfunctions")
        deployed = states.describe_state_machine(stateMachineArn=self.machine)
        definition = deployed["definition"]
        for before, after in changes:
            assert before in definition, f"the definition has no {before!r}"
            definition = definition.replace(before, after)
        created = states.create_state_machine(name=name, definition=definition, roleArn=deployed["roleArn"])
        return replace(self, machine=created["stateMachineArn"])

    def empty_pools(self, instance_type: str, market: str) -> None:
        """Let no zone have capacity of an instance type."""
        zones = self.client("ec2").describe_availability_zones()["AvailabilityZones"]
        pools = {f"{instance_type}:{zone['ZoneName']}": 0 for zone in zones}
        self.remote.control("ec2/capacity", {"pools": pools, "market": market})

    def start_example(self, job_id: str, example: str, interval: float = 1.0, **environment: Any) -> Job:
        """Start a job that runs a program of docs/examples; `interval` is in seconds."""
        variables = {name: str(value) for name, value in environment.items()}
        return self.start(job_id, Command=command(example), CheckpointDuration=str(round(interval / 60, 6)), Environment=variables)

    def item(self, key: str) -> dict[str, Any]:
        """Return an item of the jobs table without DynamoDB's types; empty where there is none."""
        answer = self.client("dynamodb").get_item(TableName=self.outputs["JobsTable"], Key={"job_id": {"S": key}}, ConsistentRead=True)
        return {name: _plain(value) for name, value in answer.get("Item", {}).items()}


@dataclass(frozen=True)
class Ended:
    """How an execution ended."""

    status: str
    error: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Job:
    """One execution of a job."""

    jobs: Jobs
    job_id: str
    execution: str

    @property
    def item(self) -> dict[str, Any]:
        """Its item in the table, as it is now."""
        return self.jobs.item(self.job_id)

    def record(self, attempt: int) -> dict[str, Any]:
        """Return what an attempt's agent has written about it."""
        return self.jobs.item(f"{self.job_id}#{attempt}")

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all attempts that worked, in their order."""
        records = [self.record(number) for number in range(1, int(self.item["attempt"]) + 1)]
        return [record for record in records if "started_at" in record]

    def instances(self, *states: str) -> list[str]:
        """Return the ids of its instances, by default of those that are not gone yet."""
        filters = [{"Name": "tag:spot-responder:job", "Values": [self.job_id]}, {"Name": "instance-state-name", "Values": list(states or LIVE)}]
        answer = self.jobs.client("ec2").describe_instances(Filters=filters)
        return [one["InstanceId"] for group in answer["Reservations"] for one in group["Instances"]]

    def await_attempt(self, number: int) -> str:
        """Wait until an attempt, or a later one, has an instance; return the id of the latest."""
        self.await_item(lambda item: int(item.get("attempt", 0)) >= number, ATTEMPT_SECONDS, f"the launch of attempt {number}")
        return str(self.item["instance_id"])

    def await_work(self, attempt: int = 1, percent: float = 0.0) -> str:
        """Wait until an attempt works and the job has more than so many percent; return the attempt's instance."""

        def works(item: dict[str, Any]) -> bool:
            return item.get("owner") == attempt and "started_at" in self.record(attempt) and item["percent"] > percent

        self.await_item(works, ATTEMPT_SECONDS, f"more than {percent:g} % of attempt {attempt}")
        return str(self.item["instance_id"])

    def await_item(self, holds: Any, seconds: float, what: str) -> dict[str, Any]:
        """Wait until the item is as wanted, and return it; nobody waits for a job that is over."""

        def look() -> dict[str, Any]:
            found = self.item
            if found and holds(found):
                return found
            if found.get("job_status") not in (None, "running"):
                raise AssertionError(f"{self.job_id} has ended before {what}: {self.await_end(0)}, {self.item}")
            return {}

        return wait_for(look, seconds, f"{what} of {self.job_id}", PAUSE_SECONDS)

    def await_end(self, seconds: float) -> Ended:
        """Wait until the execution has ended; return how."""

        def look() -> Mapping[str, Any]:
            found = self._description()
            return found if found["status"] != "RUNNING" else {}

        ended = wait_for(look, seconds, f"the end of the execution of {self.job_id}", END_PAUSE_SECONDS)
        return Ended(ended["status"], ended.get("error", ""), ended.get("cause", ""))

    def await_nothing_left(self, seconds: float = 30) -> None:
        """Wait until none of its instances is left."""
        wait_for(lambda: not self.instances(), seconds, f"the end of the instances of {self.job_id}", END_PAUSE_SECONDS)

    def finish(self, seconds: float) -> None:
        """Wait for a good end, after which nothing of the job is left."""
        ended = self.await_end(seconds)
        assert ended.status == "SUCCEEDED", f"{self.job_id}: {ended}"
        item = self.item
        assert (item["job_status"], item["percent"]) == ("finished", 100), item
        self.await_nothing_left()

    def launched_at(self, instance_id: str) -> float:
        """Return when an instance was launched, in seconds since the epoch, as EC2 tells it: the second."""
        launched: datetime = self._describe(instance_id)["LaunchTime"]
        return launched.timestamp()

    def ended_at(self, instance_id: str) -> float:
        """Return when an instance that somebody terminated began to shut down, as EC2 tells it: the second."""
        reason = self._describe(instance_id)["StateTransitionReason"]
        found = re.search(r"\((.*) GMT\)", reason)
        assert found, f"{instance_id} was not terminated by anybody: {reason}"
        return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()

    def is_spot(self, instance_id: str) -> bool:
        """Tell whether an instance is a Spot Instance."""
        return bool(self._describe(instance_id).get("InstanceLifecycle") == "spot")

    def _describe(self, instance_id: str) -> Mapping[str, Any]:
        answer = self.jobs.client("ec2").describe_instances(InstanceIds=[instance_id])
        found: Mapping[str, Any] = answer["Reservations"][0]["Instances"][0]
        return found

    def times_in(self, state: str) -> list[tuple[float, float]]:
        """Return when the execution entered and left a state, each time, in seconds since the epoch."""
        pages = self.jobs.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=self.execution)
        moments = {"Entered": list[float](), "Exited": list[float]()}
        for event in (event for page in pages for event in page["events"]):
            for way, times in moments.items():
                if event.get(f"state{way}EventDetails", {}).get("name") == state:
                    times.append(event["timestamp"].timestamp())
        return list(zip(moments["Entered"], moments["Exited"], strict=True))

    def progress(self, instance_id: str) -> float:
        """Return how far the program on an instance is by its own word, which needs no service of AWS's."""
        path = self._root(instance_id) / "opt/spot-responder/work/control/progress"
        return float(path.read_text() or 0)

    def done_twice(self) -> list[float]:
        """Return, for each hand-over, the percent that the one before had reached and the next did not go on from."""
        return [max(0.0, after["previous_percent"] - after["resumed_percent"]) for after in self.records()[1:]]

    def stop(self) -> None:
        """Stop the execution by hand."""
        self.jobs.client("stepfunctions").stop_execution(executionArn=self.execution, error="Stopped", cause="by hand")

    def log(self, instance_id: str) -> str:
        """Return what the agent on an instance has logged."""
        path = self._root(instance_id) / "opt/spot-responder/agent.log"
        return path.read_text() if path.exists() else ""

    def crash(self, instance_id: str) -> None:
        """Let an instance end as one whose hardware fails: all its processes at once, with no shutdown."""
        self.signal(instance_id, signal.SIGKILL)

    def signal(self, instance_id: str, number: signal.Signals) -> None:
        """Send a signal to everything that runs on an instance; the machine itself hears only SIGKILL."""
        mark = f"SPOT_SANDBOX_INSTANCE={instance_id}".encode()
        inside = {pid for pid, environment in _environments() if mark in environment.split(b"\0")}
        machines = _machines(inside) if number is signal.SIGKILL else set()
        assert inside, f"nothing runs on {instance_id}"
        for pid in [*machines, *inside]:
            with contextlib.suppress(ProcessLookupError):  # it ends with another of them
                os.kill(pid, number)

    def _root(self, instance_id: str) -> Path:
        return self.jobs.sam.directory / "instances" / instance_id

    def _description(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.jobs.client("stepfunctions").describe_execution(executionArn=self.execution)
        return answer


def command(example: str) -> str:
    """Return a shell command that runs a program of docs/examples."""
    text = (REPOSITORY / "docs/examples" / example).read_text()
    interpreter = "python3" if example.endswith(".py") else "sh"
    return f'cat >"$SPOT_PROGRESS_FILE.program" <<\'PROGRAM\'\n{text}\nPROGRAM\nexec {interpreter} "$SPOT_PROGRESS_FILE.program"'


def _environments() -> list[tuple[int, bytes]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((int(entry.name), (entry / "environ").read_bytes()))
            except OSError:  # it has ended meanwhile, or is not ours to see
                continue
    return found


def _machines(inside: set[int]) -> set[int]:
    """Return the instances' own processes, which those that run on them name."""
    named = b"SPOT_SANDBOX_INSTANCE_PID="
    return {
        int(variable.removeprefix(named))
        for pid, environment in _environments()
        if pid in inside
        for variable in environment.split(b"\0")
        if variable.startswith(named)
    }


def _plain(value: Mapping[str, Any]) -> Any:
    (kind, content), *_ = value.items()
    return float(content) if kind == "N" else content
