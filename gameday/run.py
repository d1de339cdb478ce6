"""One game day, in its order: check, start the job, start the experiment, watch, collect.

Whatever ends it early (a failure, Ctrl-C), the job's execution and the experiment are stopped, and it says so: the state
machine's own clean-up then ends the instances.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gameday.evidence import Evidence, Job
from gameday.failures import GameDayFailure, Overdue, Unmet
from gameday.report import minutes
from gameday.story import Tail, readable
from gameday.waiting import looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gameday.evidence import Execution, Machine, Sample
    from gameday.experiment import Plan
    from gameday.ports import ExperimentState, Services, Stack

FIRST_INSTANCE_SECONDS = 900.0
"""Real scale. Spot capacity can be scarce: the state machine itself tries for some minutes, then On-Demand."""
TARGETS_SECONDS = 120.0
"""Real scale. FIS sees a new instance's tags and state seconds after EC2 shows them."""
JOB_MARGIN_SECONDS = 900.0
"""Real scale, on top of three times the job's work: boots, a lost interval, waiting for capacity."""
AFTERMATH_SECONDS = 180.0
"""Real scale. The last instance shuts down, the last lines and metrics arrive, FIS ends its count of two minutes."""
METRICS_SECONDS = 60.0
"""On the clock here: CloudWatch shows what it was given after some seconds, at any time scale."""
LATENCY_SECONDS = 60.0
"""On the clock here, added to each deadline: calls take as long as they take, at any time scale."""

ALIVE = ("pending", "running")
STOPPED_HINT = 'its stop condition is the stack\'s alarm on dead letters; see "Dead letters" in docs/operating.md.'


@dataclass(slots=True)
class GameDay:
    """One game day; ``say`` takes each line of progress. Call ``run`` once."""

    plan: Plan
    services: Services
    say: Callable[[str], None]
    _began: float = 0.0
    _execution: str | None = None
    _experiment: str | None = None
    _experiment_said: str = ""
    _tail: Tail | None = None
    _machines: dict[str, Machine] = field(default_factory=dict)

    def run(self) -> Evidence:
        """Return what was seen; raise ``GameDayFailure`` where there is nothing to judge, after stopping what was started."""
        self._began = self.services.clock.now()
        stack, template = self._check()
        try:
            job_id = self._start_job(stack)
            self._await_instance(job_id)
            self._start_experiment(template)
            execution = self._watch(job_id)
            self._await_aftermath(job_id)
            return self._collect(stack, job_id, execution)
        except (GameDayFailure, KeyboardInterrupt):
            self._stop()
            raise

    # Preconditions

    def _check(self) -> tuple[Stack, str]:
        services = self.services
        stack = services.stacks.find(self.plan.stack)
        services.workflows.check(stack.state_machine)
        template = services.experiments.template(self.plan.experiment, stack.experiment_templates)
        services.jobs.check(stack.jobs_table)
        services.metrics.samples("unsaved", self._began - 60, self._began)
        self._check_nobody_else()
        self._tail = Tail(services.logs.group(stack.log_group), self._began)
        self._tail.fresh()
        return stack, template

    def _check_nobody_else(self) -> None:
        others = self.services.machines.targets()
        if others:
            raise Unmet(
                f"Instances with the tag Name=Fis/Spot are running ({_some(others)}) and the experiment would hit them too: "
                "wait until their jobs end, or stop these with `aws stepfunctions stop-execution`."
            )

    # The job and the experiment

    def _start_job(self, stack: Stack) -> str:
        job_id = f"gameday-{datetime.fromtimestamp(self._began, UTC):%Y%m%d-%H%M%S}"
        job_input = self.plan.job_input(job_id)
        self._execution = self.services.workflows.start(stack.state_machine, job_id, job_input)
        self._tell(f"job {job_id} started: {self.plan.job_minutes:g} min of work, a checkpoint every {self.plan.checkpoint_minutes:g} min")
        if stack.dashboard:
            self._tell(f"dashboard {stack.dashboard} in {stack.region} shows checkpointed and unsaved; the story is in {stack.log_group}")
        return job_id

    def _await_instance(self, job_id: str) -> None:
        for _ in self._looks(FIRST_INSTANCE_SECONDS):
            self._read_story()
            running = [machine for machine in self._observe(job_id) if machine.state == "running"]
            if running:
                self._tell(f"{running[0].instance_id} runs")
                return
            if ended := self._ended():
                raise Unmet(f"The job ended before an instance ran ({ended.status}): {ended.cause or 'no cause given'}.")
        raise Unmet(
            f"No instance of {job_id} runs after {minutes(FIRST_INSTANCE_SECONDS)} minutes: look at the execution's history in Step Functions "
            "for EC2's reasons; more InstanceTypes or SubnetIds give it more Spot pools."
        )

    def _start_experiment(self, template: str) -> None:
        """Start the experiment. FIS resolves targets at the start only: one that found none is started again, as the workshop says."""
        reason = ""
        for _ in self._looks(TARGETS_SECONDS):
            self._read_story()
            state = self._try_experiment(template)
            if not state.empty:
                return
            self._tell("the experiment found no target yet, once more")
            reason = state.reason
        raise Unmet(f"The experiment finds no target ({reason}): the job's instances need the tag Name=Fis/Spot and the state running.")

    def _try_experiment(self, template: str) -> ExperimentState:
        experiments = self.services.experiments
        self._experiment = experiments.start(template, self.plan.experiment)
        for _ in self._looks(TARGETS_SECONDS):
            state = experiments.look(self._experiment)
            if state.status not in ("pending", "initiating"):
                break
        else:
            raise Overdue(f"The experiment {self._experiment} is still {state.status} after {minutes(TARGETS_SECONDS)} minutes.")
        if not state.empty:
            self._tell_experiment(state)
        return state

    # Watching

    def _watch(self, job_id: str) -> Execution:
        seconds = 3 * self.plan.job_seconds + JOB_MARGIN_SECONDS
        for _ in self._looks(seconds):
            self._read_story()
            self._observe(job_id)
            self._look_at_experiment()
            if ended := self._ended():
                self._tell(f"the execution ended: {ended.status}")
                return ended
        raise Overdue(f"The job is not finished after {minutes(seconds)} minutes.")

    def _await_aftermath(self, job_id: str) -> None:
        """Let the instances and the experiment end, and the last lines arrive. What still runs then is named."""
        for _ in self._looks(AFTERMATH_SECONDS):
            self._read_story()
            alive = [machine.instance_id for machine in self._observe(job_id) if machine.ended_at is None]
            experiment = self._look_at_experiment()
            if not alive and experiment.over:
                return
        if alive:
            self._tell(f"still running: {_some(alive)}")
        if not experiment.over:
            self._stop_experiment()

    def _look_at_experiment(self) -> ExperimentState:
        state = self.services.experiments.look(self._experiment or "")
        self._tell_experiment(state)
        if state.status in ("failed", "cancelled", "stopped") and len(self._machines) == 1:  # with a second one, it has had its effect
            hint = STOPPED_HINT if state.status == "stopped" else "its role matters most."
            raise Unmet(f"The experiment {state.status}: {state.reason}. Look at it in the FIS console: {hint}")
        return state

    def _ended(self) -> Execution | None:
        return self.services.workflows.look(self._execution or "")

    def _observe(self, job_id: str) -> list[Machine]:
        now = self.services.clock.now()
        for machine in self.services.machines.of_job(job_id):
            known = self._machines.get(machine.instance_id)
            ended_at = known.ended_at if known and known.ended_at else None if machine.state in ALIVE else now
            self._machines[machine.instance_id] = dataclasses.replace(machine, ended_at=ended_at)
            if known is None:
                self._tell(f"{machine.instance_id} launched")
            elif known.ended_at is None and ended_at is not None:
                self._tell(f"{machine.instance_id} is {machine.state}")
        return list(self._machines.values())

    # What was seen

    def _collect(self, stack: Stack, job_id: str, execution: Execution) -> Evidence:
        jobs = self.services.jobs
        job = jobs.job(stack.jobs_table, job_id) or Job("missing", 0.0, 0)
        attempts = tuple(jobs.attempts(stack.jobs_table, job_id, job.attempts))
        unsaved = self._await_metrics(execution, job)
        checkpointed = tuple(self.services.metrics.samples("checkpointed", *_span(execution)))
        events = self.services.workflows.count_events(self._execution or "")
        machines = tuple(self._machines.values())
        return Evidence(dataclasses.replace(execution, events=events), job, attempts, machines, checkpointed, unsaved)

    def _await_metrics(self, execution: Execution, job: Job) -> tuple[Sample, ...]:
        """Read the metric until it shows what the job reached; what is there by the deadline is what there is."""
        for _ in looks(self.services.clock, METRICS_SECONDS):
            samples = tuple(self.services.metrics.samples("unsaved", *_span(execution)))
            if max((sample.percent for sample in samples), default=0.0) >= job.percent:
                return samples
        self._tell(f"the metrics do not show {job.percent:.0f} %")
        return samples

    # Ending early

    def _stop(self) -> None:
        """Stop what was started and still runs. A failure here is told and does not hide the reason for stopping."""
        if self._experiment is not None:
            self._try(self._stop_experiment)
        if self._execution is not None:
            self._try(self._stop_job)

    def _stop_experiment(self) -> None:
        if self.services.experiments.look(self._experiment or "").over:
            return
        self.services.experiments.stop(self._experiment or "")
        self._tell(f"experiment {self._experiment} stopped")

    def _stop_job(self) -> None:
        if self._ended():
            return
        self.services.workflows.stop(self._execution or "", "The game day was ended early.")
        self._tell(f"execution {self._execution} stopped; its instances are being ended")

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except GameDayFailure as failure:
            self._tell(f"could not stop it: {failure}")

    # Telling

    def _tell_experiment(self, state: ExperimentState) -> None:
        if state.status != self._experiment_said:
            self._experiment_said = state.status
            self._tell(f"experiment {self._experiment}: {state.status}")

    def _read_story(self) -> None:
        for event in self._tail.fresh() if self._tail else ():
            self._tell(readable(event.text), event.time, "|")

    def _tell(self, text: str, time: float | None = None, mark: str = " ") -> None:
        """Say a line: time of day (UTC), minutes since the start at real scale as in the picture, then ``|`` before lines of the log group."""
        at = self.services.clock.now() if time is None else time
        since = minutes(self.plan.scale.real(at - self._began))
        self.say(f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} {since:>6} {mark} {text}")

    def _looks(self, real_seconds: float) -> Iterator[float]:
        return looks(self.services.clock, self.plan.scale.wall(real_seconds) + LATENCY_SECONDS)


def _span(execution: Execution) -> tuple[float, float]:
    """Where the job's metrics lie; one job at a time has them (``_check_nobody_else``)."""
    return execution.started_at, execution.ended_at + 2


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")  # noqa: PLR2004 (enough to look at)
