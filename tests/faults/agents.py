"""The small world of the agents' tests, with the agent's real adapters above an AWS that remembers: each of its calls is one to be killed at.

The state machine, time and programs are those of ``tests/unit/agent/world.py``. The job's item lies in the tables in memory, checkpoints lie in
S3 in memory, as real objects with real checksums. The keeper is the agent's own as well, all but its threads: those are `Strand`, for which only
the world's time passes. ``AgentsAws.strikes`` decides what befalls each call.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import weakref
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from spot_agent.checkpoint_store import S3CheckpointStore
from spot_agent.clients import Clients
from spot_agent.job import Checkpoint, Job
from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.keeper import CheckpointKeeper, Order
from spot_agent.loop import Agent
from spot_agent.ports import Restored
from spot_agent.tasks import StepFunctionsTasks
from spot_agent.wiring import STORE_READ_SECONDS
from spot_agent.workplace import Archive, Workplace
from tests.fakes.aws import Call, Reply, json_error, ok
from tests.faults.cloud import ADDRESS, ANSWERED, EFFECTIVE, Blow, FakeAtFault, Killed
from tests.faults.tables import Refusal, Tables
from tests.unit.agent.world import FETCH_SECONDS, SAVE_SECONDS, FakeProgram, FakeStory, Instance, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from botocore.awsrequest import AWSPreparedRequest

    from spot_agent.knowledge import Me
    from spot_agent.ports import Outcome, Ports
    from tests.faults.cloud import Strike

BOOT_SECONDS = 10.0
RESTART_SECONDS = 2.0
"""RestartSec of the agent's unit."""
NAMES = {"status": "job_status"}
CALL_SECONDS = {"s3:PutObject": SAVE_SECONDS, "s3:GetObject": FETCH_SECONDS}
"""What a call takes that nothing befalls; the others take no time."""
READ_TIMEOUT_SECONDS = {"s3": STORE_READ_SECONDS}
USUAL_READ_TIMEOUT_SECONDS = float((Clients.client.__kwdefaults__ or {})["read_seconds"])
DRAGGING_SECONDS = 2.0
"""A slow answer that the client still waits for."""
LOCKED_SECONDS = 0.05
THROTTLING = {"dynamodb": "ProvisionedThroughputExceededException", "sfn": "ThrottlingException", "s3": "SlowDown"}
"""DynamoDB and Step Functions, "Common errors"; S3, "List of error codes"."""


class Body(io.BytesIO):
    """A response's body as urllib3 offers it."""

    def stream(self) -> Iterator[bytes]:
        """Yield it."""
        yield self.read()


@dataclass
class At:
    """Kill at the call of this number, counted from 0: before it, or when it has taken effect."""

    number: int = -1
    is_after: bool = False


class AgentsAws:
    """DynamoDB, Step Functions and S3 as the agents of one world see them."""

    def __init__(self, world: AgentsWorld, at: At) -> None:
        self.world = world
        self.at = at
        self.strikes: Strike = lambda _call: None
        self.tables = Tables()
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []

    def respond(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        """Answer a request of botocore, or end the process that made it."""
        operation = ":".join(event_name.split(".")[1:])
        call = Call(operation, _parameters(operation, request))
        is_last = len(self.calls) == self.at.number
        self.calls.append((operation, _gist(call)))
        if is_last and not self.at.is_after:
            raise Killed(operation)
        blow = self.strikes(call)
        answer = self._suffer(call, blow)
        if is_last:
            raise Killed(operation)
        status, content = answer
        headers: Any = {"x-amzn-requestid": "r-1", "content-length": str(len(content))}
        is_cut_off = blow is Blow.RESET_AFTER
        return AWSResponse(request.url, status, headers, Body(content[: len(content) // 2] if is_cut_off else content))

    def _suffer(self, call: Call, blow: Blow | None) -> tuple[int, bytes]:
        """Let a call have its effect, at the moment at which it does, and time pass for whoever waits for the answer."""
        service = call.operation.split(":")[0]
        timeout = READ_TIMEOUT_SECONDS.get(service, USUAL_READ_TIMEOUT_SECONDS)
        self._wait(CALL_SECONDS.get(call.operation, 0.0))
        answer = self._carried_out(call) if blow in ANSWERED | EFFECTIVE else _refused(service, blow)
        match blow:
            case Blow.RESET_AFTER if call.operation == "s3:GetObject":
                return answer  # of which half arrives
            case Blow.RESET_BEFORE | Blow.RESET_AFTER:
                raise ConnectionClosedError(endpoint_url=ADDRESS)
            case Blow.SLOW_BEFORE | Blow.SLOW_AFTER:
                self._wait(timeout)
                raise ReadTimeoutError(endpoint_url=ADDRESS)
            case Blow.DRAGGING:
                self._wait(DRAGGING_SECONDS)
        return answer

    def _wait(self, seconds: float) -> None:
        if seconds and self.world.strand is not None:
            self.world.strand.sleep(seconds)

    def _carried_out(self, call: Call) -> tuple[int, bytes]:
        try:
            return self._answer(call)
        except Exception as error:
            raise FakeAtFault(call) from error

    def _answer(self, call: Call) -> tuple[int, bytes]:
        service, operation = call.operation.split(":")
        if service == "s3":
            return self._object(operation, call.parameters)
        reply = self._of_table(operation, call.parameters) if service == "dynamodb" else self._of_task(operation, call.parameters)
        return reply.status, reply.body.encode()

    def _of_table(self, operation: str, asked: dict[str, Any]) -> Reply:
        try:
            done = self.tables.operation(operation)(asked)
        except Refusal as refusal:
            return json_error(refusal.code, "The conditional request failed")
        self.world.written()
        return ok(**done)

    def _of_task(self, operation: str, asked: dict[str, Any]) -> Reply:
        token = asked["taskToken"]
        if token not in self.world.waited_for:
            return json_error("TaskTimedOut", "Task Timed Out")
        if operation == "SendTaskHeartbeat":
            self.world.beats.append(self.world.now)
        else:
            self.world.succeed(token, json.loads(asked["output"]))
        return ok()

    def _object(self, operation: str, asked: dict[str, Any]) -> tuple[int, bytes]:
        key = asked["Key"]
        if operation == "PutObject":
            self.objects[key] = asked["Body"]
        elif operation == "DeleteObject":
            self.objects.pop(key, None)
        elif key in self.objects:
            return 200, self.objects[key]
        else:
            return 404, b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
        return 200, b""


def _refused(service: str, blow: Blow | None) -> tuple[int, bytes]:
    """Return the error that AWS answers instead."""
    is_throttled = blow is Blow.THROTTLED
    if service == "s3":
        code, status = ("SlowDown", 503) if is_throttled else ("InternalError", 500)
        return status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    code, status = (THROTTLING[service], 400) if is_throttled else ("InternalServerError", 500)
    return status, json_error(code, code).body.encode()


def _parameters(operation: str, request: AWSPreparedRequest) -> dict[str, Any]:
    body: Any = request.body
    if not operation.startswith("s3:"):
        asked: dict[str, Any] = json.loads(body)
        return asked
    content = body.read() if hasattr(body, "read") else b""
    if "aws-chunked" in str(request.headers.get("Content-Encoding", "")):
        content = _unchunked(content)
    return {"Key": unquote(urlparse(request.url).path.removeprefix("/bucket").lstrip("/")), "Body": content}


def _unchunked(content: bytes) -> bytes:
    """Return what was sent in chunks (S3 API, "Signature calculations: Including trailing headers")."""
    whole = b""
    while True:
        size, _, content = content.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            return whole
        whole, content = whole + content[:length], content[length + 2 :]


def _gist(call: Call) -> str:
    """Return what tells a call from others of its operation."""
    return str(call.parameters.get("UpdateExpression", "")) or str(json.loads(call.parameters.get("output", '{"result": ""}'))["result"])


class AgentsWorld(World):
    """A world whose item lies in a table. ``at`` is the call at which an agent is killed; then its instance ends, too, or the agent is restarted."""

    def __init__(self, at: At | None = None, *, is_restarted: bool = True, program_seconds: float = 30.0) -> None:
        self.aws = AgentsAws(self, at or At())
        self.folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.strand: Strand | None = None
        self.is_restarted = is_restarted
        self.crashes: list[tuple[int, str]] = []
        self.resumes: list[tuple[Checkpoint | None, Job]] = []
        self.saved: list[float] = []
        self.owners: list[int] = []
        self.finals: dict[int, float] = {}
        """When each attempt had saved its last checkpoint, as the item says."""
        self.warned_at = float("inf")
        super().__init__(job=Job("job", checkpoint_uri="s3://bucket/jobs", checkpoint_minutes=0.1), program_seconds=program_seconds)

    @property
    def job(self) -> Job | None:
        """The item."""
        item = self.aws.tables.items["jobs"].get(("job",))
        return Job.from_item(item) if item else None

    @job.setter
    def job(self, job: Job | None) -> None:
        item = {NAMES.get(name, name): _typed(value) for name, value in vars(job).items() if value not in (None, "", {})} if job else {}
        if job is None:
            self.aws.tables.items["jobs"].pop(("job",), None)
        else:
            self.aws.tables.items["jobs"]["job",] = item

    def launch(self, *, previous_dead: bool = False) -> Instance:
        """Launch the next attempt, with agents that speak to AWS."""
        launched = super().launch(previous_dead=previous_dead)
        self.instances[-1] = real = RealInstance(self, launched.me)
        return real

    def records_told(self) -> list[dict[str, float]]:
        """Return the attempts' own records, in their order."""
        items = [item for (key, *_), item in sorted(self.aws.tables.items["jobs"].items()) if "#" in key]
        return [{name: float(value["N"]) for name, value in item.items() if "N" in value} for item in items]

    def troubles_told(self, attempt: int) -> str:
        """Return the warnings in an attempt's own record."""
        record = self.aws.tables.items["jobs"].get((f"job#{attempt}",), {})
        return str(record["troubles"]["S"]) if "troubles" in record else ""

    def written(self) -> None:
        """Look at what the item says after each call of the agents' to the table: what it names, the one before included, is in S3, whole."""
        job = self.job_now()
        self.saved.append(job.saved_percent)
        self.owners.append(job.owner)
        self.finals.setdefault(job.final, self.now)
        for checkpoint in filter(None, (job.checkpoint, job.checkpoint_before)):
            content = self.aws.objects[checkpoint.key]
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (checkpoint.sha256, checkpoint.size)


def _typed(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, Checkpoint):
        return {"S": value.to_json()}
    return {"S": value} if isinstance(value, str) else {"N": repr(value)}


class Strand:
    """A thread of an agent. It runs only while the world waits for it, until it waits itself: for an answer, or for time to pass."""

    def __init__(self, world: AgentsWorld, begins_at: float, work: Callable[[], None]) -> None:
        self.world = world
        self.wakes_at = begins_at
        self.is_over = False
        self._is_resting = False
        self._is_killed = False
        self._error: BaseException | None = None
        self._forth, self._back = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, args=(work,), daemon=True)

    def go_on(self) -> None:
        """Let it run until it waits; raise what ends it."""
        outer, self.world.strand = self.world.strand, self
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._forth.release()
        self._back.acquire()
        self.world.strand = outer
        if self._error is not None:
            raise self._error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again where the world waits
            self._error = error
        self.is_over = True
        self._back.release()

    def sleep(self, seconds: float, *, is_rest: bool = False) -> None:
        """Wait, as the strand itself, while the world goes on; from a rest it may be woken up."""
        self.wakes_at, self._is_resting = self.world.now + seconds, is_rest
        if not self._is_killed:
            self._back.release()
            self._forth.acquire()
        self._is_resting = False
        if self._is_killed:
            raise Killed("with its process")

    def wake(self) -> None:
        """End its rest."""
        if self._is_resting:
            self.wakes_at = self.world.now

    def kill(self) -> None:
        """End it where it waits; one that runs ends when it would wait."""
        self._is_killed = True
        if self.world.strand is not self and not self.is_over:
            with suppress(Killed):
                if self._thread.ident is not None:
                    self.go_on()
            self.is_over = True


class RealInstance(Instance):
    """An instance whose agent has its real adapters; a killed one is started again by the service, or its instance is gone."""

    world: AgentsWorld
    program: RealProgram
    keeper: RealKeeper  # type: ignore[assignment]  # the world's own is a fake

    def __init__(self, world: AgentsWorld, me: Me) -> None:
        super().__init__(world, me)
        self._begin(world.now + BOOT_SECONDS)

    def _begin(self, at: float) -> None:
        """Have a new process of the agent at that time."""
        self.program = RealProgram(self.world)
        self.story = FakeStory(self.world, self.me)
        self.life = Strand(self.world, at, self._live)
        self.strands = [self.life]
        self.keeper = RealKeeper(self)

    def _live(self) -> None:
        self.agent = Agent(self.me, self.ports())
        while True:
            self.life.sleep(max(self.agent.turn(), 0.001), is_rest=True)

    def ports(self) -> Ports:
        """Return the agent's ports: jobs, tasks and keeper are real."""
        aws = self.world.aws
        jobs = DynamoJobsTable(aws_client("dynamodb", aws), "jobs", self.me)
        return replace(super().ports(), jobs=jobs, tasks=StepFunctionsTasks(aws_client("stepfunctions", aws)), story=self.story)

    @property
    def next_at(self) -> float:
        """When something happens here next."""
        return min(max(min(strand.wakes_at for strand in self.strands), self.is_frozen_until), self.dies_at)

    def happen(self) -> None:
        """Let it happen, unless it is the process's end."""
        if self.world.now >= self.dies_at:
            self.die()
            return
        try:
            for strand in [one for one in self.strands if one.wakes_at <= self.world.now]:
                strand.go_on()
        except Killed as killed:
            if self.is_alive:
                self.world.crashes.append((self.me.attempt, str(killed)))
                self.crashed()
        self.strands = [one for one in self.strands if not one.is_over]

    def crashed(self) -> None:
        """Lose all that was in memory, the program included (KillMode of the unit)."""
        if not self.world.is_restarted:
            self.die()
            return
        self._end()
        self.me = replace(self.me, agent_id=f"{self.me.agent_id}again")
        self._begin(self.world.now + RESTART_SECONDS)

    def die(self) -> None:
        """Be gone, with everything on it."""
        super().die()
        self._end()

    def _end(self) -> None:
        for strand in self.strands:
            strand.kill()


class RealProgram(FakeProgram):
    """A program as the keeper knows it: one that does not save itself."""

    can_save = False

    def percent(self) -> float | None:
        """Report the progress: what it has written last stays."""
        return self.worked()

    def pause(self) -> None:
        """Stand still, for no time at all."""

    def paused(self) -> AbstractContextManager[None]:
        """Stand still, for no time at all."""
        return nullcontext()


class Desk(Workplace):
    """A workplace whose archives are small files that tell the percentage."""

    def __init__(self, instance: RealInstance) -> None:
        super().__init__(instance.world.folder / instance.me.agent_id)
        self.spool.mkdir(parents=True)
        self.program = instance.program

    def archive(self, name: str) -> Archive:
        """Put down how far the program is."""
        content = json.dumps({"percent": self.program.worked()}).encode()
        path = self.spool / name
        path.write_bytes(content)
        return Archive(path, hashlib.sha256(content).hexdigest(), len(content))

    def unpack(self, path: Path) -> None:
        """Let the program be where it was."""
        self.program.base = float(json.loads(path.read_text())["percent"])

    def start_empty(self) -> None:
        """Let the program begin."""
        self.program.base = 0.0


class RealKeeper(CheckpointKeeper):
    """The agent's own keeper, in the world's time."""

    def __init__(self, instance: RealInstance) -> None:
        world, store = instance.world, S3CheckpointStore(aws_client("s3", instance.world.aws))
        program: Any = instance.program
        super().__init__(instance.me, store, Desk(instance), program, instance.story, instance.life.wake, lambda: world.now)
        self._fetching = Lock(world)  # type: ignore[assignment]  # as much of one as the keeper needs
        self.instance = instance

    def forget(self, job: Job, keys: list[str]) -> None:
        """Delete checkpoints."""
        self._spin(lambda: self._delete(job, keys))

    def _begin(self, order: Order, work: Callable[[], Outcome]) -> None:
        self._orders[order.number] = order
        strand = self._spin(lambda: self._run(order, work))
        order.given_up = Rest(strand)

    def _spin(self, work: Callable[[], None]) -> Strand:
        strand = Strand(self.instance.world, self.instance.world.now, work)
        self.instance.strands.append(strand)
        return strand

    def _restore(self, order: Order) -> Outcome:
        outcome = super()._restore(order)
        if isinstance(outcome, Restored):
            self.instance.world.resumes.append((outcome.checkpoint, self.instance.world.job_now()))
        return outcome


class Rest(Event):
    """An event for which a strand waits."""

    def __init__(self, strand: Strand) -> None:
        super().__init__()
        self.strand = strand

    def set(self) -> None:
        """Happen."""
        super().set()
        self.strand.wake()

    def wait(self, timeout: float | None = None) -> bool:
        """Rest until it happens, or time is up."""
        if not self.is_set():
            self.strand.sleep(timeout or 0.0, is_rest=True)
        return self.is_set()


class Lock:
    """A lock between strands: a real one would hold up the whole world."""

    def __init__(self, world: AgentsWorld) -> None:
        self.world = world
        self.is_held = False

    def __enter__(self) -> None:
        while self.is_held and self.world.strand is not None:
            self.world.strand.sleep(LOCKED_SECONDS)
        self.is_held = True

    def __exit__(self, *_: object) -> None:
        self.is_held = False


_PRESENT: list[AgentsAws] = []


def aws_client(service: str, aws: AgentsAws) -> Any:
    """Return a client of this AWS. Making one takes long: each is made once, and speaks to the world that was last asked for."""
    _PRESENT[:] = [aws]
    return _client(service)


@cache
def _client(service: str) -> Any:
    session = botocore.session.Session()
    session.set_config_variable("region", "us-east-1")
    session.register("before-send", _respond)
    config = Config(
        signature_version=UNSIGNED,
        parameter_validation=False,
        user_agent="faults",
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": "path"},
    )
    return session.create_client(service, config=config)


def _respond(**request: Any) -> Any:
    return _PRESENT[0].respond(**request)
