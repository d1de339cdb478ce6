"""What a game day needs of AWS. The adapters are these on boto3; every method may raise ``failures.GameDayFailure``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gameday.evidence import Attempt, Execution, Job, Machine, Sample
    from gameday.experiment import Experiment
    from gameday.story import LogSource
    from gameday.waiting import Clock


@dataclass(frozen=True, slots=True)
class Stack:
    """The deployed application, as far as a game day needs it."""

    name: str
    region: str
    state_machine: str
    jobs_table: str
    log_group: str
    experiment_templates: frozenset[str]
    dashboard: str | None = None


class Stacks(Protocol):
    """CloudFormation."""

    def find(self, name: str) -> Stack:
        """Return the stack; Unmet: not there, not whole, or without the job."""
        ...


class Workflows(Protocol):
    """Step Functions."""

    def check(self, state_machine: str) -> None:
        """Unmet: the state machine is not there or not active."""
        ...

    def start(self, state_machine: str, name: str, job_input: Mapping[str, str]) -> str:
        """Start an execution; return its ARN."""
        ...

    def look(self, execution: str) -> Execution | None:
        """Return the execution once it has ended; None while it runs."""
        ...

    def stop(self, execution: str, cause: str) -> None:
        """Stop it; one that has ended stays as it is."""
        ...

    def count_events(self, execution: str) -> int:
        """Return how many events its history has."""
        ...


@dataclass(frozen=True, slots=True)
class ExperimentState:
    """Where a run of an experiment stands: FIS's own status and reason; ``empty``: it found no target."""

    status: str
    reason: str = ""
    empty: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("completed", "stopped", "failed", "cancelled")


class Experiments(Protocol):
    """Fault Injection Service."""

    def template(self, experiment: Experiment, among: frozenset[str]) -> str:
        """Return the id of the experiment's template among the stack's; Unmet: there is none."""
        ...

    def start(self, template: str, experiment: Experiment) -> str:
        """Start a run; return its id."""
        ...

    def look(self, run: str) -> ExperimentState:
        """Return where the run stands."""
        ...

    def stop(self, run: str) -> None:
        """Stop it; one that has ended stays as it is."""
        ...


class Machines(Protocol):
    """EC2."""

    def targets(self) -> Sequence[str]:
        """Return the ids of all running instances that the experiments' target tag names."""
        ...

    def of_job(self, job_id: str) -> Sequence[Machine]:
        """Return the job's instances, without the time of their end."""
        ...


class Jobs(Protocol):
    """The jobs table."""

    def check(self, table: str) -> None:
        """Unmet: the table is not there."""
        ...

    def job(self, table: str, job_id: str) -> Job | None:
        """Return the job's record; None: deleted."""
        ...

    def attempts(self, table: str, job_id: str, count: int) -> Sequence[Attempt]:
        """Return what the agents of attempts 1 to ``count`` wrote down."""
        ...


class Metrics(Protocol):
    """CloudWatch."""

    def samples(self, metric: str, start: float, end: float) -> Sequence[Sample]:
        """Return the metric's values between two times, oldest first."""
        ...


class Logs(Protocol):
    """CloudWatch Logs."""

    def group(self, name: str) -> LogSource:
        """Return the log group; Unmet: it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """All that a game day works with."""

    stacks: Stacks
    workflows: Workflows
    experiments: Experiments
    machines: Machines
    jobs: Jobs
    metrics: Metrics
    logs: Logs
    clock: Clock
