"""A small world in which agents live: a clock, one job's item, a state machine, instances, programs. All in memory, at any speed.

The table keeps to the same conditions as the real one (tests/contract/test_agent_jobs_table.py holds the real one to them).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from spot_agent.errors import Overtaken, Refused, Unavailable
from spot_agent.job import FINISHED, RUNNING, Checkpoint, Job
from spot_agent.knowledge import Do, Me, Saved
from spot_agent.loop import Agent
from spot_agent.ports import EndedByItself, Mark, Outcome, Ports, Prefetched, Request, Restored
from spot_agent.story import StoryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JOB_SECONDS = 360.0
BOOT_SECONDS = 40.0
SAVE_SECONDS = 1.0
FETCH_SECONDS = 0.2
WARNING_SECONDS = 120.0
SHUTDOWN_SECONDS = 30.0
HEARTBEAT_SECONDS = 180.0


@dataclass
class World:
    """The time, the item, and what is out of order."""

    now: float = 1_000_000.0
    job: Job | None = field(default_factory=lambda: Job("job", checkpoint_uri="s3://bucket/jobs", checkpoint_minutes=2.0))
    table_is_down: bool = False
    refused: frozenset[str] = frozenset()
    """What AWS does not permit: reads, writes."""
    store_is_down: bool = False
    damaged: set[str] = field(default_factory=set)
    writes: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[float, int, str, str]] = field(default_factory=list)
    told: list[Mapping[str, object]] = field(default_factory=list)
    waited_for: set[str] = field(default_factory=set)
    beats: list[float] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    launches: list[tuple[float, int, bool]] = field(default_factory=list)
    result: Mapping[str, object] | None = None
    attempts_allowed: int = 50
    program_seconds: float = JOB_SECONDS
    exit_status: int = 0
    ignores_signals: bool = False
    reports_progress: bool = True
    records: dict[int, dict[str, float]] = field(default_factory=dict)
    troubles: dict[int, str] = field(default_factory=dict)

    def job_now(self) -> Job:
        """Return the item, which must be there."""
        assert self.job is not None
        return self.job

    def messages(self, event: str) -> list[str]:
        """Return the log's messages of one kind."""
        return [message for _, _, name, message in self.lines if name == event]

    # The state machine

    def launch(self, *, previous_dead: bool = False) -> Instance:
        """Launch the next attempt, as the state machine does: an instance, then its token on the item."""
        job = self.job_now()
        attempt = job.attempt + 1
        instance = Instance(self, Me("job", attempt, f"i-{attempt:017x}", f"agent{attempt}"))
        token = f"token-{attempt}"
        self.waited_for = {token}
        self.beats = [self.now]
        self.job = replace(job, attempt=attempt, token=token, instance_id=instance.me.instance_id, previous_dead=previous_dead)
        self.launches.append((self.now, attempt, previous_dead))
        self.instances.append(instance)
        return instance

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        """Take a task's output; the first sender wins."""
        if token not in self.waited_for:
            return False
        self.waited_for = set()
        self.told.append(output)
        self._go_on(output)
        return True

    def _go_on(self, output: Mapping[str, object]) -> None:
        if output["result"] == "finished" or self.job is None or self.job.status == FINISHED:
            self.result = output
        elif len(self.launches) < self.attempts_allowed:
            self.launch(previous_dead=output["result"] == "gone")
        else:
            self.result = output

    def instance_ended(self, instance: Instance) -> None:
        """EC2 reports that an instance is gone."""
        if self.job is not None and instance.me.attempt == self.job.attempt:
            self.succeed(f"token-{instance.me.attempt}", {"result": "gone", "state": "terminated"})

    # Time

    def run(self, until: Callable[[World], bool], seconds: float = 3600.0) -> None:
        """Let time pass until something holds; fail when it never does."""
        end = self.now + seconds
        while not until(self):
            assert self.now < end, f"not within {seconds} s; item: {self.job}"
            self.step()

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.step(end)

    def step(self, end: float = float("inf")) -> None:
        """Go to the next moment at which something happens."""
        alive = [instance for instance in self.instances if instance.is_alive]
        self.now = max(min([instance.next_at for instance in alive] + [self.now + 1.0, end]), self.now)
        for instance in alive:
            if instance.next_at <= self.now:
                instance.happen()
        if self.waited_for and self.now - self.beats[-1] > HEARTBEAT_SECONDS:
            self.succeed(next(iter(self.waited_for)), {"result": "gone", "state": "silent"})


class Instance:
    """An instance of the world with its agent."""

    def __init__(self, world: World, me: Me) -> None:
        self.world = world
        self.me = me
        self.boots_at = world.now + BOOT_SECONDS
        self.deadline: float | None = None
        self.dies_at = float("inf")
        self.is_alive = True
        self.is_frozen_until = float("-inf")
        self.agent: Agent | None = None
        self.turn_at = self.boots_at
        self.program = FakeProgram(world)
        self.keeper = FakeKeeper(self)
        self.requests = FakeRequests()

    @property
    def next_at(self) -> float:
        """When something happens here next."""
        wake = min(self.turn_at, self.keeper.ends_at())
        return min(max(wake, self.is_frozen_until), self.dies_at)

    def happen(self) -> None:
        """Let it happen."""
        if self.world.now >= self.dies_at:
            self.die()
        elif self.agent is None:
            self.agent = Agent(self.me, self.ports())
            self.turn_at = self.world.now
        else:
            self.turn_at = self.world.now + max(self.agent.turn(), 0.001)

    def ports(self) -> Ports:
        """Return the agent's ports."""
        world = self.world
        jobs, tasks = FakeJobs(world, self.me), FakeTasks(world, self.me)
        return Ports(
            clock=lambda: world.now, jobs=jobs, tasks=tasks, metadata=self, program=self.program, keeper=self.keeper,
            requests=self.requests, measures=FakeMeasures(), machine=self, story=FakeStory(world, self.me),
        )  # fmt: skip

    def warn(self) -> None:
        """EC2 gives its notice; two minutes later the instance goes down."""
        if self.deadline is None:
            self.deadline = self.world.now + WARNING_SECONDS
            self.dies_at = self.deadline + 1.0

    def notice(self) -> tuple[str, float] | None:
        """Be the metadata service."""
        return None if self.deadline is None else ("terminate", self.deadline)

    def freeze(self, seconds: float) -> None:
        """Stop the agent as SIGSTOP does; its program goes on."""
        self.is_frozen_until = self.world.now + seconds

    def stop(self) -> None:
        """Be the power switch."""
        self.die()

    def die(self) -> None:
        """Be gone, with everything on it."""
        if self.is_alive:
            self.is_alive = False
            self.program.kill()
            self.world.instance_ended(self)


class FakeProgram:
    """A program that works by the world's clock, and saves itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.base = 0.0
        self.since: float | None = None
        self.status: int | None = None

    def start(self, _job: Job, _attempt: int) -> None:
        """Begin where the last checkpoint ended."""
        self.since = self.world.now

    def worked(self) -> float:
        """Return the percentage of the work that is done."""
        if self.since is None:
            return self.base
        return min(self.base + 100.0 * (self.world.now - self.since) / self.world.program_seconds, 100.0)

    def percent(self) -> float | None:
        """Report the progress."""
        return self.worked() if self.is_running() and self.world.reports_progress else None

    def is_running(self) -> bool:
        """Tell whether it works."""
        return self.since is not None and self.exit_status() is None

    def exit_status(self) -> int | None:
        """End at 100 %, in the way that the world has laid down."""
        if self.status is None and self.since is not None and self.worked() >= 100.0:
            self.status = self.world.exit_status
        return self.status

    def last_lines(self) -> list[str]:
        """Return the end of the output."""
        return ["reading input", "it is broken"]

    def kill(self) -> None:
        """End at once; the work is lost unless it was saved."""
        if self.is_running():
            self.base = self.worked()
            self.status = 137
            self.since = None


class FakeKeeper:
    """Saves take `SAVE_SECONDS`, restores `FETCH_SECONDS`, both longer while the store is down."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.world = instance.world
        self.going: dict[int, tuple[float, Callable[[], Outcome]]] = {}

    def ends_at(self) -> float:
        """Return when the next of its activities ends."""
        return min((self._end(at) for at, _ in self.going.values()), default=float("inf"))

    def _end(self, at: float) -> float:
        return max(at, self.world.now + 1.0) if self.world.store_is_down else at

    def save(self, number: int, do: Do, _job: Job, kill_at: float) -> None:
        """Begin a save: the state is of this moment."""
        program, now = self.instance.program, self.world.now
        if do is Do.SAVE_FINAL and program.exit_status() == 0:
            self.going[number] = (now, EndedByItself)
            return
        percent = 100.0 if do is Do.SAVE_RESULT else program.worked()
        if do is Do.SAVE_FINAL and self.world.ignores_signals:
            self.going[number] = (kill_at, lambda: self._ignored(now))
            return
        if do is Do.SAVE_FINAL:
            program.kill()
        key = f"{self.instance.me.attempt}-{number}"
        stopped = now if do is Do.SAVE_FINAL else None
        self.going[number] = (now + SAVE_SECONDS, lambda: self._saved(do, key, percent, now, stopped))

    def _saved(self, do: Do, key: str, percent: float, began: float, stopped: float | None) -> Saved:
        self.world.writes.append((self.instance.me.agent_id, f"put {key}"))
        checkpoint = Checkpoint(key, "sha", percent, 10, self.world.now)
        return Saved(do, checkpoint, began, self.world.now - began, stopped)

    def _ignored(self, began: float) -> Saved:
        self.instance.program.kill()
        return Saved(Do.SAVE_FINAL, None, began, self.world.now - began, self.world.now, "the program did not exit")

    def restore(self, number: int, job: Job) -> None:
        """Begin a restore of the newest checkpoint that is whole."""
        newest = [c for c in (job.checkpoint, job.checkpoint_before) if c]
        faults = tuple(c.key for c in newest if c.key in self.world.damaged)
        good = next((c for c in newest if c.key not in self.world.damaged), None)
        self.going[number] = (self.world.now + FETCH_SECONDS, lambda: self._restored(good, faults))

    def _restored(self, good: Checkpoint | None, faults: tuple[str, ...]) -> Restored:
        self.instance.program.base = good.percent if good else 0.0
        return Restored(good, faults)

    def prefetch(self, number: int, _checkpoint: Checkpoint, _job: Job) -> None:
        """Begin to fetch ahead."""
        self.going[number] = (self.world.now + FETCH_SECONDS, Prefetched)

    def forget(self, _job: Job, keys: list[str]) -> None:
        """Delete checkpoints."""
        self.world.writes += [(self.instance.me.agent_id, f"delete {key}") for key in keys]

    def abandon(self, number: int) -> None:
        """Let go."""
        self.going.pop(number, None)

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """Return what has ended."""
        if self.world.store_is_down:
            return []
        over = [number for number, (at, _) in self.going.items() if at <= self.world.now]
        return [(number, self.going.pop(number)[1]()) for number in over]


class FakeJobs:
    """The item, for one agent."""

    def __init__(self, world: World, me: Me) -> None:
        self.world = world
        self.me = me

    def read(self) -> Job | None:
        """Return the item."""
        self._reach("reads")
        return self.world.job

    def announce_ready(self) -> Job:
        """Set ready, upwards only."""
        job = self._reach()
        return self._write(
            job, "ready", job.attempt >= self.me.attempt and job.ready < self.me.attempt and job.status == RUNNING, ready=self.me.attempt
        )

    def claim(self, seen_owner: int) -> Job:
        """Set the owner."""
        job = self._reach()
        holds = job.owner == seen_owner and job.attempt >= self.me.attempt and job.status == RUNNING
        return self._write(job, "claim", holds, owner=self.me.attempt, owner_id=self.me.agent_id, handover_until=None)

    def record_deadline(self, until: float) -> Job:
        """Set the deadline, downwards only."""
        job = self._reach()
        holds = self._owns(job) and (job.handover_until is None or job.handover_until > until)
        return self._write(job, "deadline", holds, handover_until=until)

    def write_progress(self, percent: float, now: float) -> Job:
        """Set the progress."""
        job = self._reach()
        return self._write(job, "progress", self._owns(job), percent=percent, percent_at=now)

    def mark(self, mark: Mark) -> Job:
        """Record a save."""
        job = self._reach()
        changes: dict[str, object] = {}
        if mark.checkpoint is not None:
            changes |= {"checkpoint": mark.checkpoint, "saved_percent": mark.checkpoint.percent}
            changes |= {"checkpoint_before": mark.before} if mark.before else {}
        optional = {"checkpoint_seconds": mark.seconds, "percent": mark.percent, "stopped_at": mark.stopped_at}
        changes |= {name: value for name, value in optional.items() if value is not None}
        changes |= {"final": self.me.attempt} if mark.is_final else {}
        changes |= {"status": FINISHED} if mark.is_finished else {}
        return self._write(job, "final" if mark.is_final else "mark", self._owns(job), **changes)

    def record_attempt(self, facts: Mapping[str, float | str]) -> None:
        """Add to the attempt's record."""
        self._reach()
        record = self.world.records.setdefault(self.me.attempt, {})
        for name, fact in facts.items():
            if isinstance(fact, str):
                self.world.troubles[self.me.attempt] = fact
            else:
                record[name] = fact
        self.world.writes.append((self.me.agent_id, "record"))

    def _owns(self, job: Job) -> bool:
        return (job.owner, job.owner_id) == (self.me.attempt, self.me.agent_id)

    def _reach(self, what: str = "writes") -> Job:
        if self.world.table_is_down:
            raise Unavailable("dynamodb: no connection")
        if what in self.world.refused:
            raise Refused(f"dynamodb {what}: AccessDeniedException: not authorized")
        return self.world.job if self.world.job is not None else Job("job", status="deleted")

    def _write(self, job: Job, what: str, holds: bool, **changes: object) -> Job:  # noqa: FBT001  # a condition's truth
        if not holds or self.world.job is None:
            raise Overtaken(f"the condition of {what} does not hold")
        self.world.job = replace(job, **changes)  # type: ignore[arg-type]  # the attributes' own types
        self.world.writes.append((self.me.agent_id, what))
        return self.world.job


class FakeTasks:
    """The Run state, for one agent."""

    def __init__(self, world: World, me: Me) -> None:
        self.world = world
        self.me = me

    def heartbeat(self, token: str) -> bool:
        """Count a heartbeat."""
        if token not in self.world.waited_for:
            return False
        self.world.beats.append(self.world.now)
        return True

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        """Take an output."""
        return self.world.succeed(token, output)


class FakeRequests:
    """The hook's questions."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        self.answers: list[tuple[str, bool, str]] = []

    def ask(self, kind: str, deadline: float | None = None) -> None:
        """Ask for a checkpoint."""
        self.waiting.append(Request(len(self.answers) + len(self.waiting), kind, "terminate", deadline))

    def arrived(self) -> list[Request]:
        """Return the questions."""
        arrived, self.waiting = self.waiting, []
        return arrived

    def answer(self, request: Request, is_saved: bool, text: str) -> None:  # noqa: FBT001  # as in the port
        """Take an answer."""
        self.answers.append((request.kind, is_saved, text))


class FakeMeasures:
    """Metrics that nobody reads."""

    def sample(self, now: float, percent: float, saved_percent: float) -> None:
        """Take a sample."""

    def flush(self) -> None:
        """Publish."""


class FakeStory:
    """The log."""

    def __init__(self, world: World, me: Me) -> None:
        self.world = world
        self.me = me
        self.log = StoryLog(me, io.StringIO())

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Write a line."""
        self.world.lines.append((self.world.now, self.me.attempt, event, message))
        self.log.tell(event, message, **facts)

    def troubles(self) -> str:
        """Return the latest warnings."""
        return self.log.troubles()
