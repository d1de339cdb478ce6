"""An AWS that remembers, in virtual time: tables, instances, commands, task tokens, and the functions that live there.

What a call changes stays changed, also where its answer never arrives. `Cloud.strikes` decides what befalls each call; time passes only where
somebody waits. Functions run side by side: each invocation has a clock of its own that starts when its event arrives.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import botocore.retries.standard
from botocore import UNSIGNED
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.useragent import UserAgentString

from spot_responder.adapters import clients
from spot_responder.adapters.story_log import StoryLog
from spot_responder.domain.jobs import ATTEMPT_TAG, JOB_TAG, Attempt
from spot_responder.domain.notices import timestamp
from spot_responder.wiring import parts
from tests.examples import EVENT_TIME, OPT_IN
from tests.fakes.aws import AwsOverHttp, Reply, described, ec2_error, json_error, ok
from tests.faults.tables import Refusal, Tables
from tests.lambdas import forget_parts, start_cold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import pytest

    from spot_responder.domain.lines import Line
    from tests.fakes.aws import Call

CALL_SECONDS = 0.02
"""What a call takes that nothing befalls."""
BACKOFF_SECONDS = 0.5
"""botocore's pause before its one second try: 0 to 1 s at random."""
DRAGGING_SECONDS = 8.0
"""A slow answer that the client still waits for."""
FOR_EVER = 1e6
READ_TIMEOUT_SECONDS = float(clients.CONFIG.read_timeout)  # type: ignore[attr-defined]  # the stubs do not know it
ADDRESS = "https://aws.example"


class Killed(BaseException):
    """The process is gone: nothing that it would have done happens, and no ``except`` of the product sees it."""


class FakeAtFault(BaseException):
    """The fake does not know what it was asked: no fault of AWS's, so that no ``except`` may take it for one."""


class Blow(Enum):
    """What can befall a call."""

    KILLED_BEFORE = auto()
    KILLED_AFTER = auto()
    THROTTLED = auto()
    BROKEN = auto()
    RESET_BEFORE = auto()
    RESET_AFTER = auto()
    SLOW_BEFORE = auto()
    SLOW_AFTER = auto()
    DRAGGING = auto()
    PARTLY = auto()
    HANGING_BEFORE = auto()
    HANGING_AFTER = auto()


EFFECTIVE = frozenset({Blow.KILLED_AFTER, Blow.RESET_AFTER, Blow.SLOW_AFTER, Blow.HANGING_AFTER})
"""The call does what it says, and nobody hears of it."""
ANSWERED = frozenset({None, Blow.DRAGGING, Blow.PARTLY})
"""The answer arrives: late, or with a part of what was asked for."""

THROTTLING = {"ec2": "RequestLimitExceeded", "ssm": "ThrottlingException", "sfn": "ThrottlingException", "dynamodb": "ThrottlingException"}
"""EC2, "Request throttling"; Systems Manager, DynamoDB and Step Functions, "Common errors"."""


class Strike(Protocol):
    """Decides what befalls a call."""

    def __call__(self, call: Call) -> Blow | None:
        """Return the blow, or None where all goes well."""


@dataclass
class VirtualClock:
    """``Clock``; who sleeps, or waits for an answer, moves it. ``stops_at`` is when Lambda ends the invocation."""

    present: datetime = EVENT_TIME
    stops_at: datetime | None = None

    def now(self) -> datetime:
        """Return the present."""
        return self.present

    def sleep(self, seconds: float) -> None:
        """Move on; beyond the function's timeout there is nobody left to wake up."""
        self.present += timedelta(seconds=seconds)
        if self.stops_at is not None and self.present >= self.stops_at:
            self.present = self.stops_at
            raise Killed("the function's timeout")


@dataclass
class Machine:
    """An instance; ``job`` is the attempt that runs on it."""

    instance_id: str
    job: Attempt | None = None
    is_opted_in: bool = True
    is_managed: bool = True
    state: str = "running"


@dataclass(frozen=True)
class Sent:
    """A command that SSM took."""

    command_id: str
    instance_ids: tuple[str, ...]
    at: datetime


@dataclass
class Cloud:
    """Everything that there is, and what was asked of it."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    tables: Tables = field(default_factory=Tables)
    machines: dict[str, Machine] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    waiting: dict[str, Attempt] = field(default_factory=dict)
    resumed: list[tuple[Attempt, str]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    strikes: Strike = lambda _call: None
    on_sent: Callable[[Sent], None] = lambda _sent: None
    on_resumed: Callable[[Attempt], None] = lambda _attempt: None

    # The world

    def run(self, *machines: Machine) -> None:
        """Let these instances run; a job's waits in its Run state with a token of its own."""
        for machine in machines:
            self.machines[machine.instance_id] = machine
            if machine.job is not None:
                self.await_attempt(machine.job)

    def await_attempt(self, attempt: Attempt) -> None:
        """Be the Run state of the job's state machine: put attempt, instance and a new token on the job's item."""
        token = f"token of {attempt.job_id}, attempt {attempt.number}"
        texts = {"job_id": attempt.job_id, "job_status": "running", "instance_id": attempt.instance_id, "token": token}
        item = {name: {"S": text} for name, text in texts.items()} | {"attempt": {"N": str(attempt.number)}}
        self.tables.items["jobs"][attempt.job_id,] = item
        self.waiting[token] = attempt

    def asked(self) -> Counter[str]:
        """Return how many commands went to each instance."""
        return Counter(instance_id for sent in self.sent for instance_id in sent.instance_ids)

    # The services

    def answer(self, call: Call) -> Reply:
        """Answer a call, as far as nothing befalls it."""
        self.calls.append(call)
        self.times.append(self.clock.now())
        blow = self.strikes(call)
        if blow is Blow.KILLED_BEFORE:
            raise Killed(call.operation)
        try:
            reply = self._carry_out(call, blow) if blow in ANSWERED | EFFECTIVE else None
        except Exception as error:
            raise FakeAtFault(call) from error
        self._suffer(call, blow)
        return _refused(call, blow) if reply is None else reply

    def _suffer(self, call: Call, blow: Blow | None) -> None:
        """Let a blow be felt by whoever called."""
        match blow:
            case Blow.KILLED_AFTER:
                raise Killed(call.operation)
            case Blow.RESET_BEFORE | Blow.RESET_AFTER:
                self.clock.sleep(CALL_SECONDS)
                raise ConnectionClosedError(endpoint_url=ADDRESS)
            case Blow.SLOW_BEFORE | Blow.SLOW_AFTER:
                self.clock.sleep(READ_TIMEOUT_SECONDS)
                raise ReadTimeoutError(endpoint_url=ADDRESS)
            case Blow.HANGING_BEFORE | Blow.HANGING_AFTER:
                self.clock.sleep(FOR_EVER)
            case Blow.DRAGGING:
                self.clock.sleep(DRAGGING_SECONDS)
            case _:
                self.clock.sleep(CALL_SECONDS)

    def _carry_out(self, call: Call, blow: Blow | None) -> Reply:
        service, operation = call.operation.split(":")
        if service == "dynamodb":
            try:
                done = self.tables.operation(f"half_{operation}" if blow is Blow.PARTLY else operation)(call.parameters)
            except Refusal as refusal:
                return json_error(refusal.code, "The conditional request failed", **refusal.members)
            return ok(**done)
        return getattr(self, f"_{operation}")(call)  # type: ignore[no-any-return]  # one of those below

    def _DescribeInstances(self, call: Call) -> Reply:  # noqa: N802  # named by the operation, as those that follow
        wanted = call.listed("InstanceId") or call.listed("Filter.1.Value")
        known = [self.machines[instance_id] for instance_id in wanted if instance_id in self.machines]
        replies = [_seen(machine) for machine in known]
        return Reply("".join([described([]).body.partition("</reservationSet>")[0], *replies, "</reservationSet></DescribeInstancesResponse>"]))

    def _SendCommand(self, call: Call) -> Reply:  # noqa: N802
        ids = tuple(call.parameters["InstanceIds"])
        if not all(self._is_reached(instance_id) for instance_id in ids):
            return json_error("InvalidInstanceId", "Instances not in a valid state for account")
        sent = Sent(f"{len(self.sent):08x}-0000-4000-8000-000000000000", ids, self.clock.now())
        self.sent.append(sent)
        self.on_sent(sent)
        return ok(Command={"CommandId": sent.command_id})

    def _DescribeInstanceInformation(self, call: Call) -> Reply:  # noqa: N802
        (wanted,) = call.parameters["Filters"]
        online = [one for one in wanted["Values"] if self._is_reached(one)]
        return ok(InstanceInformationList=[{"InstanceId": one, "PingStatus": "Online"} for one in online])

    def _GetCommandInvocation(self, _call: Call) -> Reply:  # noqa: N802
        return ok(StatusDetails="Failed", ResponseCode=3, StandardErrorContent="disk full\n")

    def _SendTaskSuccess(self, call: Call) -> Reply:  # noqa: N802
        attempt = self.waiting.pop(call.parameters["taskToken"], None)
        if attempt is None:
            return json_error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        self.resumed.append((attempt, json.loads(call.parameters["output"])["result"]))
        self.on_resumed(attempt)
        return ok()

    def _is_reached(self, instance_id: str) -> bool:
        machine = self.machines.get(instance_id)
        return machine is not None and machine.is_managed and machine.state == "running"


def _seen(machine: Machine) -> str:
    """Return an instance as a reservation of its own in DescribeInstances' answer."""
    tag_key = OPT_IN.key if machine.is_opted_in else "unrelated"
    body = described([machine.instance_id], state=machine.state, tag_key=tag_key).body
    tags = {JOB_TAG: machine.job.job_id, ATTEMPT_TAG: str(machine.job.number)} if machine.job else {}
    shown = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items())
    return body.partition("<reservationSet>")[2].partition("</reservationSet>")[0].replace("<tagSet>", f"<tagSet>{shown}")


def _refused(call: Call, blow: Blow | None) -> Reply:
    """Return the error that AWS answers instead."""
    service = call.operation.split(":")[0]
    code, status = (THROTTLING[service], 400) if blow is Blow.THROTTLED else ("InternalError", 500)
    return ec2_error(code, code, 503) if service == "ec2" else json_error(code, code, status)


# The functions there


@dataclass
class Stage:
    """Puts clouds under the functions, one after the other. Clients and their connections are the same for all: making them takes long."""

    patch: pytest.MonkeyPatch
    cloud: Cloud = field(default_factory=Cloud)
    quotas: list[Any] = field(default_factory=list)

    def build(self) -> None:
        """Take over botocore's transport, the clock and the log; needed once."""
        aws = AwsOverHttp()
        aws.install(self.patch)
        aws.standing = _Everything(self)
        session, made = aws.session(), {}
        # What every call costs and no test looks at: its signature, and who makes it.
        session.register("choose-signer", lambda **_: UNSIGNED)
        self.patch.setattr(UserAgentString, "to_string", lambda _: "faults")
        create = session.create_client

        def create_once(service: str, **options: Any) -> Any:
            if service not in made:
                made[service] = create(service, **options)
            return made[service]

        self.patch.setattr(session, "create_client", create_once)
        self.patch.setattr(clients, "_session", lambda: session)
        self._count_pauses()
        self.patch.setattr(parts, "SystemClock", lambda: self.cloud.clock)
        self.patch.setattr(StoryLog, "tell", lambda _, line: self.cloud.lines.append(line))
        self.patch.setenv("JOBS_TABLE", "jobs")
        self.patch.setenv("REBALANCE_RESPONSE", "replace")

    def _count_pauses(self) -> None:
        """Let botocore's own pause pass in virtual time, and give every cloud's clients their whole quota of second tries."""
        quota = botocore.retries.standard.quota.RetryQuota
        acquire, known = quota.acquire, self.quotas

        def remember(this: Any, amount: int) -> bool:
            if this not in known:
                known.append(this)
            return bool(acquire(this, amount))

        def pause(*_: object) -> float:
            self.cloud.clock.sleep(BACKOFF_SECONDS)
            return 0

        self.patch.setattr(quota, "acquire", remember)
        self.patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", pause)

    def begin(self, cloud: Cloud) -> Cloud:
        """Let this be the AWS from now on."""
        self.cloud = cloud
        for quota in self.quotas:
            quota._available_capacity = quota._max_capacity
        return cloud


class _Everything(dict[str, Any]):
    """Every operation is the present cloud's to answer."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def get(self, _operation: str, _default: object = None) -> Any:
        return self.stage.cloud.answer


@dataclass(frozen=True)
class Invocation:
    """How Lambda's context object looks to a function that may run for so many seconds."""

    aws_request_id: str
    clock: VirtualClock
    ends: datetime

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left."""
        return int((self.ends - self.clock.now()) / timedelta(milliseconds=1))


def starting(patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Yield a stage for a module's tests."""
    stage = Stage(patch)
    start_cold(patch)
    stage.build()
    yield stage
    forget_parts()


def deadlines(cloud: Cloud) -> dict[str, str]:
    """Return each instance's deadline, as the table has it."""
    return {item["instance_id"]["S"]: item["deadline"]["S"] for item in cloud.tables.of("notices")}


def unasked(cloud: Cloud, instance_ids: Collection[str]) -> set[str]:
    """Return those of the instances that no command went to in time."""
    ends = deadlines(cloud)
    in_time = {one for sent in cloud.sent for one in sent.instance_ids if timestamp(sent.at) < ends.get(one, "")}
    return set(instance_ids) - in_time
