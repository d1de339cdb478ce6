"""Game days as they could have gone: evidence by hand, and an account in memory that plays one by a clock of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gameday.evidence import Attempt, Evidence, Execution, Job, Machine, Sample
from gameday.experiment import Experiment, Plan, TimeScale
from gameday.failures import Unmet
from gameday.ports import ExperimentState, Services, Stack
from gameday.story import LogEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BEGAN = 1_800_000_000.0
OLD, NEW = "i-0a1b2c3d4e5f60718", "i-0f9e8d7c6b5a49382"


def plan(experiment: Experiment = Experiment.INTERRUPT, scale: float = 1.0) -> Plan:
    """The workshop's: 6 minutes of work, a checkpoint every 2."""
    return Plan(experiment, "spot-responder", scale=TimeScale(scale))


def interrupted(scale: float = 1.0) -> Evidence:
    """Notice at 39 %, hand-over at 50 % with 3 s between the two workers."""

    def at(seconds: float) -> float:
        return BEGAN + seconds * scale

    old = Attempt(1, OLD, 0.0, at(43), 0.0, at(44), at(184), 38.9, at(224), 50.0)
    new = Attempt(2, NEW, 50.0, at(224), 50.0, at(227), stopped_at=at(407), stopped_percent=100.0)
    machines = (Machine(OLD, at(2), "terminated", at(228)), Machine(NEW, at(186), "terminated", at(412)))
    unsaved = (*(Sample(at(second), (second - 44) / 3.6) for second in range(44, 220, 10)), Sample(at(407), 100.0))
    checkpointed = (Sample(at(44), 0.0), Sample(at(164), 33.3), Sample(at(184), 38.8), Sample(at(226), 50.0), Sample(at(407), 100.0))
    return Evidence(Execution(at(0), at(408), "SUCCEEDED", events=42), Job("finished", 100.0, 2), (old, new), machines, checkpointed, unsaved)


def terminated() -> Evidence:
    """Gone without notice at 38.6 % as the successor found it, last sign of work 182 s after the start; resumed from 33.3 %."""
    old = Attempt(1, OLD, 0.0, BEGAN + 43, 0.0, BEGAN + 44)
    new = Attempt(2, NEW, 38.6, BEGAN + 182, 33.3, BEGAN + 232, stopped_at=BEGAN + 472, stopped_percent=100.0)
    machines = (Machine(OLD, BEGAN + 2, "terminated", BEGAN + 184), Machine(NEW, BEGAN + 188, "terminated", BEGAN + 478))
    return Evidence(Execution(BEGAN, BEGAN + 473, "SUCCEEDED", events=40), Job("finished", 100.0, 2), (old, new), machines)


@dataclass(slots=True)
class Account:
    """An account in memory: what each port answers is a function of its clock, so that a whole game day takes no time.

    ``script`` holds what differs from the day that goes well. What was asked of it stands in ``done``.
    """

    evidence: Evidence = field(default_factory=interrupted)
    time: float = BEGAN
    targets: Sequence[str] = ()
    empty_starts: int = 0
    experiment_fails: str = ""
    failed_status: str = "failed"
    running_from: float = 2.0
    at_pause: Callable[[], None] = lambda: None
    refuse_stop: bool = False
    done: list[str] = field(default_factory=list)
    job_input: Mapping[str, str] = field(default_factory=dict)
    experiments_started: int = 0

    def services(self) -> Services:
        """All its ports."""
        return Services(_Stacks(), _Workflows(self), _Experiments(self), _Machines(self), _Jobs(self), _Metrics(self), _Logs(self), _Clock(self))


@dataclass(frozen=True, slots=True)
class _Stacks:
    def find(self, name: str) -> Stack:
        if name != "spot-responder":
            raise Unmet(f"The stack {name} was not found")
        return Stack(name, "us-east-1", "arn:machine", "jobs", "/story", frozenset({"EXT1"}), "FisSpot-us-east-1")


@dataclass(frozen=True, slots=True)
class _Clock:
    account: Account

    def now(self) -> float:
        return self.account.time

    def pause(self, seconds: float) -> None:
        self.account.time += seconds
        self.account.at_pause()


@dataclass(frozen=True, slots=True)
class _Workflows:
    account: Account

    def check(self, state_machine: str) -> None:
        self.account.done.append(f"check {state_machine}")

    def start(self, state_machine: str, name: str, job_input: Mapping[str, str]) -> str:
        self.account.done.append(f"start {state_machine}")
        self.account.job_input = job_input
        return f"arn:{name}"

    def look(self, execution: str) -> Execution | None:
        assert execution.startswith("arn:gameday-")
        ended = self.account.evidence.execution
        return dataclasses.replace(ended, events=0) if self.account.time >= ended.ended_at else None

    def stop(self, execution: str, cause: str) -> None:
        if self.account.refuse_stop:
            raise Unmet("No right to call states:StopExecution")
        self.account.done.append(f"stop {execution}: {cause}")

    def count_events(self, execution: str) -> int:
        assert execution.startswith("arn:gameday-")
        return self.account.evidence.execution.events


@dataclass(frozen=True, slots=True)
class _Experiments:
    account: Account

    def template(self, experiment: Experiment, among: frozenset[str]) -> str:
        self.account.done.append(f"template {experiment}")
        return min(among)

    def start(self, template: str, experiment: Experiment) -> str:
        self.account.experiments_started += 1
        self.account.done.append(f"start {template} {experiment}")
        return f"EXP{self.account.experiments_started}"

    def look(self, run: str) -> ExperimentState:
        assert run == f"EXP{self.account.experiments_started}"
        if self.account.experiments_started <= self.account.empty_starts:
            return ExperimentState("failed", "Target resolution returned empty set", empty=True)
        if self.account.experiment_fails:
            return ExperimentState(self.account.failed_status, self.account.experiment_fails)
        return ExperimentState("completed" if self.account.time >= BEGAN + 302 else "running")

    def stop(self, run: str) -> None:
        self.account.done.append(f"stop {run}")


@dataclass(frozen=True, slots=True)
class _Machines:
    account: Account

    def targets(self) -> Sequence[str]:
        return self.account.targets

    def of_job(self, job_id: str) -> list[Machine]:
        assert job_id.startswith("gameday-")
        now = self.account.time
        return [self._seen(machine, now) for machine in self.account.evidence.machines if machine.launched_at <= now]

    def _seen(self, machine: Machine, now: float) -> Machine:
        ended = machine.ended_at is not None and machine.ended_at <= now
        state = "terminated" if ended else "running" if now >= machine.launched_at + self.account.running_from else "pending"
        return Machine(machine.instance_id, machine.launched_at, state)


@dataclass(frozen=True, slots=True)
class _Jobs:
    account: Account

    def check(self, table: str) -> None:
        self.account.done.append(f"check {table}")

    def job(self, table: str, job_id: str) -> Job | None:
        assert (table, job_id.startswith("gameday-")) == ("jobs", True)
        return self.account.evidence.job if self.account.evidence.job.status != "missing" else None

    def attempts(self, table: str, job_id: str, count: int) -> Sequence[Attempt]:
        assert (table, job_id.startswith("gameday-")) == ("jobs", True)
        return self.account.evidence.attempts[:count]


@dataclass(frozen=True, slots=True)
class _Metrics:
    account: Account

    def samples(self, metric: str, start: float, end: float) -> list[Sample]:
        series = {"unsaved": self.account.evidence.unsaved, "checkpointed": self.account.evidence.checkpointed}[metric]
        return [sample for sample in series if start <= sample.time <= end]


@dataclass(frozen=True, slots=True)
class _Logs:
    account: Account

    def group(self, name: str) -> _Logs:
        self.account.done.append(f"group {name}")
        return self

    def since(self, time: float) -> list[LogEvent]:
        told = LogEvent("e1", BEGAN + 185, '{"message": "i-0a1b2c3d4e5f60718: interruption warning"}')
        return [told] if time <= told.time <= self.account.time else []
