"""Builds the agent from its settings: the only place that knows all the parts."""

from __future__ import annotations

import fcntl
import os
import secrets
import selectors
import signal
import time
from typing import TYPE_CHECKING, TextIO

from spot_agent.checkpoint_store import S3CheckpointStore
from spot_agent.clients import Clients
from spot_agent.errors import Misconfigured
from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.keeper import CheckpointKeeper
from spot_agent.knowledge import Me
from spot_agent.loop import Agent
from spot_agent.machine import Machine
from spot_agent.measures import CloudWatchMeasures
from spot_agent.metadata import InstanceMetadata, patiently
from spot_agent.ports import Ports
from spot_agent.program import ChildProgram
from spot_agent.requests import SocketRequests
from spot_agent.story import StoryLog
from spot_agent.tasks import StepFunctionsTasks
from spot_agent.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from spot_agent.settings import Settings

IDENTITY_SECONDS = 60.0
STORE_READ_SECONDS = 10.0
"""S3 answers only when the whole object has arrived, which by then it has but for what the kernel still holds. A call that hangs must not take a
large part of the two minutes' notice: it is made again.
"""
PARTS_READ_SECONDS = 60.0
"""S3 may take long to put the parts of a large archive together ("CompleteMultipartUpload")."""
PART_TRIES = 5


class Waiter:
    """Sleeps until something happens: a signal, a child's end, a request, an end in the background, or the time that was given."""

    def __init__(self) -> None:
        self._asleep, self._awake = os.pipe()
        for end in (self._asleep, self._awake):
            os.set_blocking(end, False)  # the os module's own signature
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._asleep, selectors.EVENT_READ)

    def watch(self, requests: SocketRequests) -> None:
        """Wake up for requests."""
        self._selector.register(requests.listener, selectors.EVENT_READ)

    def catch_signals(self, agent: Agent) -> None:
        """Wake up for the end of a child; SIGTERM ends the agent in order."""

        def end(_number: int, _frame: FrameType | None) -> None:
            agent.shut_down()

        signal.set_wakeup_fd(self._awake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, end)

    def wake(self) -> None:
        """Wake the main thread, from any other."""
        try:
            os.write(self._awake, b".")
        except BlockingIOError:
            return  # full of reasons to wake up already

    def wait(self, seconds: float) -> None:
        """Sleep."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj == self._asleep:
                os.read(self._asleep, 4096)


def locked(folder: Path) -> TextIO:
    """Hold the lock of this instance's one agent; raise Misconfigured where another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise Misconfigured(f"another agent runs on this instance: it holds {lock.name}") from error
    return lock


def build(settings: Settings, waiter: Waiter) -> Agent:
    """Return the agent of this instance."""
    metadata = InstanceMetadata()
    instance_id, job_id, attempt, _ = patiently(metadata, IDENTITY_SECONDS)
    me = Me(job_id, attempt, instance_id, secrets.token_hex(4))
    story = StoryLog(me)
    clients = Clients(settings.region)
    workplace = Workplace(settings.work)
    workplace.prepare()
    program = ChildProgram(workplace, {"AWS_DEFAULT_REGION": settings.region})
    once = clients.client("s3", read_seconds=STORE_READ_SECONDS)
    patient = clients.client("s3", read_seconds=PARTS_READ_SECONDS, tries=PART_TRIES)
    requests = SocketRequests(settings.state)
    waiter.watch(requests)
    ports = Ports(
        clock=time.time,
        jobs=DynamoJobsTable(clients.client("dynamodb"), settings.jobs_table, me),
        tasks=StepFunctionsTasks(clients.client("stepfunctions")),
        metadata=metadata,
        program=program,
        keeper=CheckpointKeeper(me, S3CheckpointStore(once, patient), workplace, program, story, waiter.wake),
        requests=requests,
        measures=CloudWatchMeasures(lambda: clients.client("cloudwatch")),
        machine=Machine(is_supervised=settings.is_supervised),
        story=story,
    )
    story.tell("agent started", f"Attempt {attempt} of job {job_id} on {instance_id}", agent_id=me.agent_id)
    return Agent(me, ports)
