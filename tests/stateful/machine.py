"""An instance of the world: what EC2 says of it, and the agents, programs and commands that run on it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.knowledge import Me
from spot_agent.loop import Agent
from spot_agent.ports import Ports
from spot_agent.tasks import StepFunctionsTasks
from tests.unit.agent.world import WARNING_SECONDS, FakeKeeper, FakeMeasures, FakeProgram, FakeRequests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stateful.world import World

NEVER = float("inf")
LONG_AGO = float("-inf")
BOOT_SECONDS = 15.0
ENDING_SECONDS = 5.0
DELIVERY_SECONDS = 0.5
MARGIN_SECONDS = 3.0
"""The document stops its hooks so long before the deadline (documents/checkpoint.yaml)."""
JOB_TAG, ATTEMPT_TAG = "spot-responder:job", "spot-responder:attempt"


class Gone(BaseException):
    """The agent was killed while it waited for an answer."""


@dataclass
class Invocation:
    """A command on its way to an instance, at work there, and its answer."""

    command_id: str
    kind: str
    deadline: float
    at: float
    is_delivered: bool = False


@dataclass
class Process:
    """One agent, with its program. It is the ``instance`` of the fakes that it works with.

    ``stall`` is the number of calls until one takes very long, and how many seconds: between what it saw and what it writes, anything can happen.
    """

    machine: Machine
    me: Me
    world: World
    turn_at: float
    frozen_until: float = LONG_AGO
    is_alive: bool = True
    agent: Agent | None = None
    stall: tuple[int, float] = (0, 0.0)
    is_busy: bool = False
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program = FakeProgram(self.world)  # type: ignore[arg-type]  # this world has all that the fakes look at
        self.keeper = FakeKeeper(self)  # type: ignore[arg-type]  # likewise
        self.requests = FakeRequests()

    @property
    def next_at(self) -> float:
        """When something happens here next."""
        return max(min(self.turn_at, self.keeper.ends_at()), self.frozen_until) if self.is_alive and not self.is_busy else NEVER

    def turn(self) -> None:
        """Let the agent have its turn."""
        if self.agent is None:
            self.agent = Agent(self.me, self._ports())
        self.is_busy = True
        try:
            self.turn_at = self.world.now + max(self.agent.turn(), 0.001)
        except Gone:
            return
        finally:
            self.is_busy = False
        self.is_alive = self.is_alive and not self.agent.is_over

    def wait_for_call(self) -> None:
        """Let time pass before a call is carried out, if this is the one that stalls."""
        calls, seconds = self.stall
        self.stall = (calls - 1, seconds) if calls else (0, 0.0)
        if not calls and seconds:
            self.world.run_for(seconds)
            if not self.is_alive:
                raise Gone

    def kill(self) -> None:
        """End, with the program."""
        self.is_alive = False
        self.program.kill()

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Be the log."""
        self.world.lines.append((self.world.now, self.me.agent_id, event, message))
        self.warnings += [message] if facts.get("trouble") else []

    def troubles(self) -> str:
        """Return the log's last warnings."""
        return "\n".join(self.warnings[-3:])

    def stop(self) -> None:
        """Be the power switch."""
        self.machine.shut_down()

    def _ports(self) -> Ports:
        world, who = self.world, f"agent:{self.me.agent_id}"
        return Ports(
            clock=lambda: world.now,
            jobs=DynamoJobsTable(world.client("dynamodb", who, self.wait_for_call), "jobs", self.me),
            tasks=StepFunctionsTasks(world.client("stepfunctions", who, self.wait_for_call)),
            metadata=self.machine,
            program=self.program,
            keeper=self.keeper,
            requests=self.requests,
            measures=FakeMeasures(),
            machine=self,
            story=self,
        )


@dataclass
class Machine:
    """An instance. ``lives_on_until``: a zombie, which EC2 calls terminated while it works."""

    world: World
    instance_id: str
    tags: Mapping[str, str]
    boots_at: float
    launched_by: str = ""
    state: str = "pending"
    deadline: float | None = None
    ends_at: float = NEVER
    lives_on_until: float = LONG_AGO
    processes: list[Process] = field(default_factory=list)
    commands: list[Invocation] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def is_there(self) -> bool:
        """Whether EC2 lets it run."""
        return self.state in ("pending", "running")

    @property
    def has_job(self) -> bool:
        """Whether it works on a job."""
        return JOB_TAG in self.tags

    @property
    def attempt(self) -> int:
        """Which attempt it was launched for."""
        return int(self.tags.get(ATTEMPT_TAG, 0))

    @property
    def next_at(self) -> float:
        """When something happens here next."""
        processes = min((process.next_at for process in self.processes), default=NEVER)
        commands = min(
            (command.deadline if command.is_delivered or self.state != "running" else command.at for command in self.commands), default=NEVER
        )
        lives_on = self.lives_on_until if any(process.is_alive for process in self.processes) and not self.is_there else NEVER
        return min(self.boots_at, self.ends_at, max(lives_on, LONG_AGO), processes, commands)

    def happen(self) -> None:
        """Let it happen."""
        now = self.world.now
        if now >= self.boots_at:
            self.boots_at = NEVER
            self._boot()
        if now >= self.ends_at:
            self.ends_at = NEVER
            self._end()
        if not self.is_there and now >= self.lives_on_until:
            self._kill()
        for process in list(self.processes):
            if process.next_at <= now:
                process.turn()
        self._serve_commands()

    def notice(self) -> tuple[str, float] | None:
        """Be the metadata service."""
        return None if self.deadline is None else ("terminate", self.deadline)

    def warn(self) -> None:
        """EC2 takes it back, in two minutes."""
        if self.deadline is None:
            self.deadline = self.world.now + WARNING_SECONDS
            self.ends_at = min(self.ends_at, self.deadline)

    def start_agent(self) -> None:
        """Start an agent, as systemd does at boot and after a crash."""
        if self.has_job:
            me = Me(self.tags[JOB_TAG], self.attempt, self.instance_id, f"{self.instance_id}/{next(self.numbers)}")
            self.processes.append(Process(self, me, self.world, self.world.now))

    def shut_down(self) -> None:
        """Begin to end: nothing works any more, unless it is a zombie."""
        if self.is_there:
            self._become("shutting-down")
            self.ends_at = self.world.now + ENDING_SECONDS
        if self.world.now >= self.lives_on_until:
            self._kill()

    def receive(self, command: Invocation) -> None:
        """Take a command of SSM's."""
        self.commands.append(command)

    def _boot(self) -> None:
        if self.state == "pending":
            self._become("running")
            self.start_agent()

    def _end(self) -> None:
        if self.is_there:
            self.shut_down()
        elif self.state == "shutting-down":
            self._become("terminated")

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()
        # Nobody hears of a command again whose instance is gone.
        self.commands.clear()

    def _become(self, state: str) -> None:
        self.state = state
        self.world.state_changed(self)

    def _serve_commands(self) -> None:
        for command in list(self.commands):
            if not command.is_delivered and self.world.now >= command.at and self.state == "running":
                command.is_delivered = True
                self._ask(command)
            elif self.world.now >= command.deadline:
                self._answer(command, "TimedOut" if not command.is_delivered else "Failed")
        for process in self.processes:
            for answered, is_saved, _ in process.requests.answers:
                self._answered(answered, is_saved=is_saved)
            process.requests.answers.clear()

    def _ask(self, command: Invocation) -> None:
        """Run the hook, which asks the agent; one that is not there, or has ended, is no success."""
        alive = [process for process in self.processes if process.is_alive]
        if alive:
            alive[-1].requests.ask(command.kind, command.deadline + MARGIN_SECONDS if command.kind == "interruption" else None)
        else:
            self._answer(command, "Failed")

    def _answered(self, kind: str, *, is_saved: bool) -> None:
        for command in [command for command in self.commands if command.is_delivered and command.kind == kind]:
            self._answer(command, "Success" if is_saved else "Failed")

    def _answer(self, command: Invocation, status: str) -> None:
        self.commands.remove(command)
        self.world.command_ended(self, command, status)
