"""A world in which the real functions, the real agent and the real definition of the state machine meet; only AWS itself is played.

Nothing is delivered by itself: events wait in ``events``, new notices in ``stream``, until somebody lets them arrive, in any order,
twice, or hours late. Time goes on from one thing that happens to the next.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from spot_responder.domain.errors import ResponderError
from tests.examples import EVENT_TIME, INTERRUPTION, INVOCATION, OPT_IN, REBALANCE, STATE_CHANGE, event, instance_id
from tests.lambdas import Context, invoke
from tests.stateful.account import SERVICES, Client, Stopped, Tables, Trouble, output_of, refusal
from tests.stateful.definition import FIRST, TIME, Execution
from tests.stateful.judge import Judge
from tests.stateful.machine import BOOT_SECONDS, DELIVERY_SECONDS, JOB_TAG, MARGIN_SECONDS, NEVER, Invocation, Machine
from tests.stateful.witness import EVERYBODY, Call, Harm, Witness
from tests.statemachine.definitions import END_JOB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.stateful.expressions import Item

START = EVENT_TIME.timestamp()
JOB_SECONDS = 150.0
FUNCTION_OF = {
    INTERRUPTION: "record_notice",
    REBALANCE: "record_notice",
    INVOCATION: "record_checkpoint",
    STATE_CHANGE: "record_instance_state",
}
"""Which function the rules of the template send an event to."""
TOLD_STATES = ("shutting-down", "terminated")
SECONDS_LEFT = 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to its function; Lambda's own retries have the same request id."""

    function: str
    event: Mapping[str, Any]
    request_id: str


@dataclass
class World:
    """All there is. What the agent's fakes look at has the names that they know."""

    states: Mapping[str, Mapping[str, Any]]
    end_states: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Any]
    exit_status: int = 0
    now: float = START
    program_seconds: float = JOB_SECONDS
    reports_progress: bool = True
    ignores_signals: bool = False
    store_is_down: bool = False
    damaged: set[str] = field(default_factory=set)
    writes: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[float, str, str, str]] = field(default_factory=list)
    machines: dict[str, Machine] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    events: list[Delivery] = field(default_factory=list)
    said: list[Delivery] = field(default_factory=list)
    stream: list[tuple[str, Item]] = field(default_factory=list)
    delivered: list[tuple[str, Item]] = field(default_factory=list)
    endings: list[Execution] = field(default_factory=list)
    """The executions of whose end EventBridge has not told yet."""
    saved: set[tuple[str, str]] = field(default_factory=set)
    """Which command succeeded on which instance."""
    witnesses: dict[str, Witness] = field(default_factory=dict)
    befallen: list[Harm] = field(default_factory=list)
    launches: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """What EC2 was asked with each client token, and its answer."""
    capacity_from: float = float("-inf")
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    trouble: Trouble = field(default_factory=Trouble)
    judge: Judge = field(default_factory=Judge)

    def __post_init__(self) -> None:
        TIME.now = self.now
        self.tables = Tables(lambda: self.now)
        self.trouble.met = self.befall
        self.tables.watchers += [self.judge.watch, self._stream, self._look_on]
        self.services: Mapping[str, Mapping[str, Callable[..., Any]]] = {
            "dynamodb": self.tables.operations(),
            "ec2": {
                "create_fleet": self._create_fleet,
                "describe_instances": self._describe_instances,
                "terminate_instances": self._terminate_instances,
            },
            "ssm": {
                "send_command": self._send_command,
                "describe_instance_information": self._describe_instance_information,
                "get_command_invocation": lambda _, **__: {"StatusDetails": "Failed", "ResponseCode": 1, "StandardErrorContent": "no luck"},
            },
            "stepfunctions": {
                "send_task_success": self._send_task_success,
                "send_task_heartbeat": self._send_task_heartbeat,
                "describe_execution": lambda _, executionArn: {"Status": self._execution(executionArn).status},  # noqa: N803  # AWS's name
            },
        }
        assert set(self.services) == set(SERVICES)

    def client(self, service: str, who: str, before: Callable[[], None] = lambda: None) -> Client:
        """Return a client of a service, for somebody."""
        return Client(self.trouble, who, service, self.services[service], before)

    def befall(self, whom: str = EVERYBODY) -> None:
        """Note that something goes wrong, with an instance or with AWS."""
        self.befallen.append(Harm(whom, self.now, self.now))

    def lose_store(self) -> None:
        """Let S3 be out of reach, or be back."""
        self.store_is_down = not self.store_is_down
        if self.store_is_down:
            self.befallen.append(Harm(EVERYBODY, self.now, NEVER))
        else:
            self.befallen += [Harm(harm.whom, harm.began, self.now) for harm in self.befallen if harm.ended == NEVER]
            self.befallen = [harm for harm in self.befallen if harm.ended != NEVER]

    # What people and EC2 do

    def start_job(self, **given: object) -> Execution:
        """Start the job's state machine; the first execution names the job, the later ones are to resume it."""
        job = {"JobId": self.job_id} if self.executions else {}
        execution = Execution(f"job-{next(self.numbers)}", given | job, self.states, self._call, on_end=self._ended)
        self.witnesses[execution.name] = Witness(self, execution)
        self.executions.append(execution)
        return execution

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.executions[0].name

    def jobs(self) -> list[Execution]:
        """Return the executions of the job, the first one first."""
        return [execution for execution in self.executions if execution.name in self.witnesses]

    def is_running(self, arn: str) -> bool:
        """Whether an execution runs."""
        return self._execution(arn).status == "RUNNING"

    def _ended(self, execution: Execution) -> None:
        self.judge.wrongs += self.witnesses[execution.name].judge_the_end()
        if execution.status != "SUCCEEDED":
            self.endings.append(execution)

    def _look_on(self, table: str, before: Item, after: Item, who: str) -> None:
        """Judge what executions write to the job's item."""
        if table == "jobs" and who.startswith("execution:"):
            self.judge.wrongs += self._misdeeds(who.removeprefix("execution:"), before, after)

    def _misdeeds(self, name: str, before: Item, after: Item) -> Iterator[str]:
        """Only the execution that the item names writes, and one that takes over from another that does not run any more."""
        mine, was, is_now = self._arn_of(name), text_of(before, "execution"), text_of(after, "execution")
        if was not in ("", mine):
            other = self._execution(was)
            if is_now != mine or name not in self.witnesses:
                yield f"{name} writes to the job of {other.name}"
            elif text_of(before, "job_status") == "running" and other.status == "RUNNING" and not other.redrives:
                yield f"{name} takes over from {other.name}, which is running"
        if name in self.witnesses:
            yield from self.witnesses[name].wrote(before, after)

    def _arn_of(self, name: str) -> str:
        """Return an execution's ARN, or that of the one whose remains it removes."""
        execution = next(each for each in self.executions if each.name == name)
        return execution.arn if name in self.witnesses else str(execution.given["detail"]["executionArn"])

    def launch_stranger(self, *, is_opted_in: bool) -> Machine:
        """Let an instance run that belongs to nobody's job."""
        machine = self._launch({OPT_IN.key: OPT_IN.value} if is_opted_in else {})
        machine.boots_at = self.now
        machine.happen()
        return machine

    def say(self, detail_type: str, **detail: object) -> None:
        """Let EventBridge have an event."""
        said = event(detail_type, at=datetime.fromtimestamp(math.floor(self.now), UTC), **detail)
        self.said.append(Delivery(FUNCTION_OF[detail_type], said, f"request-{next(self.numbers)}"))
        self.events.append(self.said[-1])

    def end_job(self, number: int = 0) -> None:
        """Let EventBridge tell of an execution that failed or was stopped: what it left behind is ended."""
        job = self.endings.pop(number % len(self.endings))
        detail = {"executionArn": job.arn, "name": job.name, "input": json.dumps(job.given)}
        self.executions.append(Execution(f"end-{next(self.numbers)}", {"detail": detail}, self.end_states, self._call, FIRST[END_JOB]))

    # Deliveries

    def deliver(self, number: int) -> None:
        """Let one of the waiting events arrive; if its function fails, it waits again."""
        delivery = self.events.pop(number % len(self.events))
        if not self._invoke(delivery.function, delivery.event, delivery.request_id)[0]:
            self.events.append(delivery)

    def repeat(self, number: int) -> None:
        """Let EventBridge deliver one of the last events again: another invocation."""
        said = self.said[-1 - number % min(len(self.said), 6)]
        self.events.append(Delivery(said.function, said.event, f"request-{next(self.numbers)}"))

    def deliver_stream(self) -> None:
        """Let Lambda deliver what the stream has; from where the function says, or all if it failed, it is delivered again."""
        batch, self.stream = self.stream, []
        if not batch:
            return
        records = [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": number, "NewImage": image}} for number, image in batch]
        is_done, answer = self._invoke("respond_to_notices", {"Records": records}, f"request-{next(self.numbers)}")
        failures = answer["batchItemFailures"] if is_done else [{"itemIdentifier": batch[0][0]}]
        first = min((int(failure["itemIdentifier"]) for failure in failures), default=NEVER)
        again = [record for record in batch if int(record[0]) >= first]
        self.stream = again + self.stream
        self.delivered += [record for record in batch if record not in again]

    def _invoke(self, function: str, said: Mapping[str, Any], request_id: str) -> tuple[bool, Any]:
        self.tables.looked_at.clear()
        try:
            return True, invoke(function, said, Context(request_id, left=SECONDS_LEFT * 1000))
        except (ResponderError, Stopped):
            return False, None

    def _stream(self, table: str, before: Item, after: Item, _who: str) -> None:
        if table == "notices" and not before:
            self.stream.append((str(next(self.numbers)), after))

    # Time

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.now + seconds
        while self.now < end:
            self._step(end)

    def _step(self, end: float) -> None:
        happening: list[Machine | Execution] = [*self.machines.values(), *self.executions]
        TIME.now = self.now = max(min([each.next_at for each in happening] + [end]), self.now)
        for machine in list(self.machines.values()):
            if machine.next_at <= self.now:
                machine.happen()
        for execution in list(self.executions):
            if execution.next_at <= self.now:
                execution.wake()

    # What the machines tell

    def state_changed(self, machine: Machine) -> None:
        """EC2 tells of an instance's state; the template's rule has no use for the others."""
        if machine.state in TOLD_STATES:
            self.say(STATE_CHANGE, instance_id=machine.instance_id, state=machine.state)

    def command_ended(self, machine: Machine, command: Invocation, status: str) -> None:
        """SSM tells how a command ended."""
        if status == "Success":
            self.saved.add((command.command_id, machine.instance_id))
        named = {"command_id": command.command_id, "document_name": "checkpoint", "requested_date_time": "2026-11-22T10:00:00Z"}
        self.say(INVOCATION, instance_id=machine.instance_id, status=status, **named)

    # EC2

    def _launch(self, tags: Mapping[str, str], by: str = "") -> Machine:
        machine = Machine(self, instance_id(next(self.numbers)), tags, self.now + BOOT_SECONDS, by)
        self.machines[machine.instance_id] = machine
        return machine

    def _create_fleet(self, who: str, *, ClientToken: str, **asked: Any) -> Any:  # noqa: N803  # AWS's name
        """Launch once for each client token (EC2 API, "Ensuring idempotency"): what is asked with it again has to be the same."""
        if ClientToken not in self.launches:
            self.launches[ClientToken] = asked, self._fleet(who.removeprefix("execution:"), **asked)
        before, answer = self.launches[ClientToken]
        if before != asked:
            raise refusal("IdempotentParameterMismatch", "Status Code: 400")
        return answer

    def _fleet(self, by: str, *, TagSpecifications: Any, **_: Any) -> Any:  # noqa: N803  # AWS's name
        if self.now < self.capacity_from:
            return {"Instances": [], "Errors": [{"ErrorCode": "InsufficientInstanceCapacity", "ErrorMessage": "there is none"}]}
        tags = {tag["Key"]: tag["Value"] for specification in TagSpecifications for tag in specification["Tags"]}
        machine = self._launch(tags, by)
        if any((other.launched_by, other.attempt) == (by, machine.attempt) for other in self.machines.values() if other is not machine):
            self.judge.wrongs.append(f"{by} launched a second instance for attempt {machine.attempt}")
        return {"Instances": [{"InstanceIds": [machine.instance_id]}], "Errors": []}

    def _describe_instances(self, _who: str, *, Filters: Any = (), InstanceIds: Any = ()) -> Any:  # noqa: N803  # AWS's names
        wanted = {one["Name"]: one["Values"] for one in Filters}
        found = [
            machine
            for machine in self.machines.values()
            if machine.instance_id in wanted.get("instance-id", InstanceIds or list(self.machines))
            and machine.state in wanted.get("instance-state-name", [machine.state])
            and machine.tags.get(JOB_TAG) in wanted.get(f"tag:{JOB_TAG}", [machine.tags.get(JOB_TAG)])
        ]
        return {"Reservations": [{"Instances": [_described(machine)]} for machine in found]}

    def _terminate_instances(self, who: str, *, InstanceIds: list[str]) -> Any:  # noqa: N803  # AWS's name
        """End instances; nobody ends those of another execution that runs."""
        arn = self._arn_of(who.removeprefix("execution:"))
        for each in InstanceIds:
            machine = self.machines[each]
            owner = next(job for job in self.jobs() if job.name == machine.launched_by)
            if owner.arn != arn and owner.status == "RUNNING":
                self.judge.wrongs.append(f"{who} ends {machine.instance_id}, which {owner.name} has launched")
            machine.shut_down()
        return {}

    # SSM

    def _send_command(self, _who: str, *, InstanceIds: list[str], Parameters: Any, **_: Any) -> Any:  # noqa: N803  # AWS's names
        if not all(self._is_managed(each) for each in InstanceIds):
            raise refusal("InvalidInstanceId", "Instances not in a valid state for account")
        command_id = f"{next(self.numbers):08x}-0000-4000-8000-000000000000"
        for entry in Parameters["Notices"][0].split(" "):
            instance, kind, _action, deadline = entry.split(":")
            # A table that does not say in time what was done before holds up no command.
            looked_at = {key: self.tables.items["notices"].get(key, {}) for key in self.tables.looked_at}
            self.judge.asked(looked_at, instance, kind, float(deadline))
            command = Invocation(command_id, kind, float(deadline) - MARGIN_SECONDS, self.now + DELIVERY_SECONDS)
            self.machines[instance].receive(command)
        return {"Command": {"CommandId": command_id}}

    def _describe_instance_information(self, _who: str, *, Filters: Any) -> Any:  # noqa: N803  # AWS's name
        known = [each for each in Filters[0]["Values"] if self._is_managed(each)]
        return {"InstanceInformationList": [{"InstanceId": each, "PingStatus": "Online"} for each in known]}

    def _is_managed(self, instance: str) -> bool:
        return instance in self.machines and self.machines[instance].state == "running"

    # Step Functions

    def _call(self, execution: Execution, service: str, operation: str, arguments: Mapping[str, Any]) -> Any:
        client = self.client({"sfn": "stepfunctions"}.get(service, service), f"execution:{execution.name}")
        given = {"executionArn": arguments["ExecutionArn"]} if service == "sfn" else arguments
        answer, error = None, ""
        try:
            answer = getattr(client, operation)(**given)
        except (ClientError, BotoCoreError) as raised:
            error = raised.response["Error"]["Code"] if isinstance(raised, ClientError) else str(raised)
            raise
        finally:
            if execution.name in self.witnesses:
                self.witnesses[execution.name].called(Call(self.now, service, operation, error, answer))
        return answer

    def _execution(self, arn: str) -> Execution:
        return next(execution for execution in self.executions if execution.arn == arn)

    def _send_task_success(self, _who: str, *, taskToken: str, output: str) -> Any:  # noqa: N803  # AWS's names
        if not any(execution.take(taskToken, output_of(output)) for execution in self.executions):
            raise refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        return {}

    def _send_task_heartbeat(self, _who: str, *, taskToken: str) -> Any:  # noqa: N803  # AWS's name
        if not any(execution.beat(taskToken) for execution in self.executions):
            raise refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        return {}

    # At rest

    def is_at_rest(self) -> bool:
        """Whether nothing is on its way any more."""
        is_running = any(execution.status == "RUNNING" for execution in self.executions)
        is_busy = any(machine.has_job and machine.state != "terminated" for machine in self.machines.values())
        has_commands = any(machine.commands for machine in self.machines.values())
        return not (self.events or self.stream or self.endings or is_running or is_busy or has_commands)

    def item(self, job_id: str) -> Item:
        """Return a job's item."""
        return self.tables.items["jobs"].get((job_id,), {})


def _described(machine: Machine) -> Mapping[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in machine.tags.items()]
    placement = {"AvailabilityZone": "us-east-1a"}
    return {"InstanceId": machine.instance_id, "State": {"Name": machine.state}, "InstanceType": "m5.large", "Placement": placement, "Tags": tags}


def text_of(item: Item, name: str) -> str:
    """Return an attribute that is a text."""
    return str(item.get(name, {}).get("S", ""))
