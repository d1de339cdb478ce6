"""The small world of the agents' tests, with the agent's real adapters above an AWS that remembers: each of its calls is one to be killed at.

The state machine, time and programs are those of ``tests/unit/agent/world.py``. The job's item lies in the tables in memory, checkpoints lie in
S3 in memory, as real objects with real checksums.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from spot_agent.checkpoint_store import Place, S3CheckpointStore
from spot_agent.job import Checkpoint, Job
from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.knowledge import Do, Saved
from spot_agent.ports import Prefetched, Restored
from spot_agent.tasks import StepFunctionsTasks
from tests.fakes.aws import Call, Reply, json_error, ok
from tests.faults.cloud import FakeAtFault, Killed
from tests.faults.tables import Refusal, Tables
from tests.unit.agent.world import FakeKeeper, FakeProgram, Instance, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.awsrequest import AWSPreparedRequest

    from spot_agent.knowledge import Me
    from spot_agent.ports import Ports

BOOT_SECONDS = 10.0
RESTART_SECONDS = 2.0
"""RestartSec of the agent's unit."""
NAMES = {"status": "job_status"}


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
        try:
            status, content = self._answer(call)
        except Exception as error:
            raise FakeAtFault(call) from error
        if is_last:
            raise Killed(operation)
        headers: Any = {"x-amzn-requestid": "r-1", "content-length": str(len(content))}
        return AWSResponse(request.url, status, headers, Body(content))

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
        self.is_restarted = is_restarted
        self.crashes: list[tuple[int, str]] = []
        self.resumes: list[tuple[Checkpoint | None, Job]] = []
        self.saved: list[float] = []
        self.owners: list[int] = []
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

    def written(self) -> None:
        """Look at what the item says after each call of the agents' to the table: what it names, the one before included, is in S3, whole."""
        job = self.job_now()
        self.saved.append(job.saved_percent)
        self.owners.append(job.owner)
        for checkpoint in filter(None, (job.checkpoint, job.checkpoint_before)):
            content = self.aws.objects[checkpoint.key]
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (checkpoint.sha256, checkpoint.size)


def _typed(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, Checkpoint):
        return {"S": value.to_json()}
    return {"S": value} if isinstance(value, str) else {"N": repr(value)}


class RealInstance(Instance):
    """An instance whose agent has its real adapters; a killed one is started again by the service, or its instance is gone."""

    world: AgentsWorld

    def __init__(self, world: AgentsWorld, me: Me) -> None:
        super().__init__(world, me)
        self.boots_at = self.turn_at = world.now + BOOT_SECONDS
        self.keeper: RealKeeper = RealKeeper(self)

    def ports(self) -> Ports:
        """Return the agent's ports: jobs and tasks are real."""
        aws = self.world.aws
        jobs = DynamoJobsTable(aws_client("dynamodb", aws), "jobs", self.me)
        return replace(super().ports(), jobs=jobs, tasks=StepFunctionsTasks(aws_client("stepfunctions", aws)))

    def happen(self) -> None:
        """Let it happen, unless it is the process's end."""
        try:
            super().happen()
        except Killed:
            self.world.crashes.append((self.me.attempt, self.world.aws.calls[-1][0]))
            self.crashed()

    def crashed(self) -> None:
        """Lose all that was in memory, the program included (KillMode of the unit)."""
        if not self.world.is_restarted:
            self.die()
            return
        self.me = replace(self.me, agent_id=f"{self.me.agent_id}again")
        self.program = FakeProgram(self.world)
        self.keeper = RealKeeper(self)
        self.agent = None
        self.turn_at = self.world.now + RESTART_SECONDS


@dataclass
class RealKeeper(FakeKeeper):
    """Saves and restores through S3: an archive is a small file that tells the percentage."""

    instance: RealInstance
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    def __init__(self, instance: RealInstance) -> None:
        super().__init__(instance)
        self.instance = instance

    @property
    def _store(self) -> S3CheckpointStore:
        return S3CheckpointStore(aws_client("s3", self.instance.world.aws))

    def _saved(self, do: Do, key: str, percent: float, began: float, stopped: float | None) -> Saved:
        """Put the archive, under a name that no other agent gives."""
        key = f"jobs/job/{self.instance.me.agent_id}-{key}.tar"
        content = json.dumps({"percent": percent}).encode()
        with tempfile.NamedTemporaryFile() as archive:
            archive.write(content)
            archive.flush()
            self._store.put(Path(archive.name), Place("bucket", "jobs"), key)
        checkpoint = Checkpoint(key, hashlib.sha256(content).hexdigest(), percent, len(content), self.world.now)
        return Saved(do, checkpoint, began, self.world.now - began, stopped)

    def restore(self, number: int, job: Job) -> None:
        """Begin a restore of the newest checkpoint."""
        self.going[number] = (self.world.now + 0.2, lambda: self._fetched(job))

    def _fetched(self, job: Job) -> Restored:
        self.instance.program.base = self._fetch(job.checkpoint) if job.checkpoint else 0.0
        self.instance.world.resumes.append((job.checkpoint, self.instance.world.job_now()))
        return Restored(job.checkpoint, ())

    def prefetch(self, number: int, checkpoint: Checkpoint, _job: Job) -> None:
        """Begin to fetch ahead."""

        def fetch() -> Prefetched:
            self._fetch(checkpoint)
            return Prefetched()

        self.going[number] = (self.world.now + 0.2, fetch)

    def _fetch(self, checkpoint: Checkpoint) -> float:
        """Return the percentage in a checkpoint, which must be whole."""
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "fetched"
            self._store.fetch(checkpoint, Place("bucket", "jobs"), archive, lambda: False)
            return float(json.loads(archive.read_text())["percent"])

    def forget(self, _job: Job, keys: list[str]) -> None:
        """Delete checkpoints."""
        for key in keys:
            self._store.delete(Place("bucket", "jobs"), key)


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
