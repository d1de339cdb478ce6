"""Experiments: templates, and how their actions run one after the other against the instances. No LocalStack in here.

An experiment resolves its targets once, at the start, then runs its actions; the first that fails ends it. Durations are
scaled. https://docs.aws.amazon.com/fis/latest/userguide/experiments.html
"""

import copy
import random
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Instance
from spot_sandbox.ec2_lifecycle import ALIVE, WARNING_SECONDS, Lifecycle
from spot_sandbox.fis_targets import resolve
from spot_sandbox.fis_templates import INTERRUPT, REBOOT, STOP, TERMINATE, WAIT, alarms, seconds
from spot_sandbox.timers import Timer

type Json = dict[str, Any]

INTERRUPTIONS_LIMIT = 5
"""https://docs.aws.amazon.com/fis/latest/userguide/fis-quotas.html"""
STEP_SECONDS = 1
"""From one state of an experiment to the next, and between two looks at its alarms."""

EMPTY = "Target resolution returned empty set"
OVER = {"completed", "failed", "stopped", "cancelled", "skipped"}

COPIED = ("actions", "targets", "stopConditions", "roleArn", "logConfiguration", "experimentReportConfiguration")


def new_id(prefix: str) -> str:
    """Return an id as FIS gives them, ``EXT`` for templates and ``EXP`` for experiments in front."""
    return prefix + "".join(random.choices(string.ascii_letters + string.digits, k=14))


@dataclass
class Template:
    """An experiment template, its members as the API names them."""

    id: str
    arn: str
    content: Json
    tags: dict[str, str]
    created: datetime
    updated: datetime

    def describe(self) -> Json:
        """Return the template as GetExperimentTemplate shows it."""
        options = {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"}
        return {
            **{key: value for key, value in self.content.items() if value is not None},
            "experimentOptions": options | (self.content.get("experimentOptions") or {}),
            "targets": self.content.get("targets") or {},
            "targetAccountConfigurationsCount": 0,
        } | self.summary()

    def summary(self) -> Json:
        """Return the template as ListExperimentTemplates shows it."""
        return {
            "id": self.id,
            "arn": self.arn,
            "description": self.content.get("description") or "",
            "creationTime": self.created,
            "lastUpdateTime": self.updated,
            "tags": self.tags,
        }


@dataclass
class ActionRun:
    """One action of a running experiment."""

    name: str
    definition: Json
    status: str = "pending"
    reason: str = "Initial state"
    started: datetime | None = None
    ended: datetime | None = None
    timers: list[Timer] = field(default_factory=list)

    def describe(self) -> Json:
        """Return the action as GetExperiment shows it."""
        shown = {**self.definition, "state": {"status": self.status, "reason": self.reason}, "startTime": self.started, "endTime": self.ended}
        return {key: value for key, value in shown.items() if value is not None}


@dataclass
class Experiment:
    """A started template: its state, its actions' states and the instances that its targets mean."""

    id: str
    arn: str
    account: str
    region: str
    template: Template
    content: Json
    options: Json
    tags: dict[str, str]
    created: datetime
    actions: dict[str, ActionRun]
    status: str = "pending"
    reason: str = "Experiment is pending."
    started: datetime | None = None
    ended: datetime | None = None
    resolved: dict[str, list[Instance]] = field(default_factory=dict)

    def describe(self) -> Json:
        """Return the experiment as GetExperiment shows it."""
        shown = {
            **{key: self.content[key] for key in COPIED if self.content.get(key) is not None},
            "actions": {name: run.describe() for name, run in self.actions.items()},
            "targets": {name: self._shown_target(name, target) for name, target in (self.content.get("targets") or {}).items()},
            "startTime": self.started,
            "endTime": self.ended,
            "targetAccountConfigurationsCount": 0,
        } | self.summary()
        return {key: value for key, value in shown.items() if value is not None}

    def summary(self) -> Json:
        """Return the experiment as ListExperiments shows it."""
        return {
            "id": self.id,
            "arn": self.arn,
            "experimentTemplateId": self.template.id,
            "state": {"status": self.status, "reason": self.reason},
            "creationTime": self.created,
            "tags": self.tags,
            "experimentOptions": self.options,
        }

    def _shown_target(self, name: str, target: Json) -> Json:
        """Return a target; once resolved, with the instances that it turned out to mean."""
        if name not in self.resolved:
            return target
        return {**target, "resourceArns": [instance.arn for instance in self.resolved[name]]}


class Experiments:
    """All templates and experiments of the sandbox. Shares the lock and the clock of the instances."""

    def __init__(self, life: Lifecycle, ringing: Callable[[str, str, str], bool], assumable: Callable[[str], bool]) -> None:
        """`ringing(account, region, alarm ARN)` tells whether an alarm is in ALARM, `assumable(role ARN)` whether it exists."""
        self.life = life
        self.ports = life.ports
        self.templates: dict[str, Template] = {}
        self.experiments: dict[str, Experiment] = {}
        self.chance = random.Random()
        self._ringing = ringing
        self._assumable = assumable

    # Templates

    def create(self, account: str, region: str, content: Json, tags: dict[str, str]) -> Template:
        """Keep a template that has been checked."""
        template_id = new_id("EXT")
        now = self.ports.now()
        arn = f"arn:aws:fis:{region}:{account}:experiment-template/{template_id}"
        template = Template(template_id, arn, content, tags, now, now)
        self.templates[template_id] = template
        return template

    def template(self, account: str, region: str, template_id: str) -> Template:
        """Return a template; raise ApiError without one."""
        template = self.templates.get(template_id)
        if template is None or not template.arn.startswith(f"arn:aws:fis:{region}:{account}:"):
            raise ApiError("ResourceNotFoundException", f"Experiment template {template_id} not found.", status=404)
        return template

    # Experiments

    def start(self, account: str, region: str, template: Template, tags: dict[str, str], mode: str) -> Experiment:
        """Start an experiment from a template; `mode` is ``run-all``, or ``skip-all`` for a preview of the targets."""
        experiment_id = new_id("EXP")
        content = copy.deepcopy(template.content)
        options = template.describe()["experimentOptions"] | {"actionsMode": mode}
        experiment = Experiment(
            experiment_id, f"arn:aws:fis:{region}:{account}:experiment/{experiment_id}", account, region, template, content,
            options, tags, self.ports.now(), {name: ActionRun(name, action) for name, action in content["actions"].items()},
        )  # fmt: skip
        with self.life.lock:
            self.experiments[experiment_id] = experiment
            self._turn(experiment, "initiating", "Experiment is initiating.")
            experiment.started = self.ports.now()
            self._soon(lambda: self._begin(experiment))
        return experiment

    def experiment(self, account: str, region: str, experiment_id: str) -> Experiment:
        """Return an experiment; raise ApiError without one."""
        experiment = self.experiments.get(experiment_id)
        if experiment is None or (experiment.account, experiment.region) != (account, region):
            raise ApiError("ResourceNotFoundException", f"Experiment {experiment_id} not found.", status=404)
        return experiment

    def _begin(self, experiment: Experiment) -> None:
        """Check the role and the alarms, resolve the targets, run the first actions."""
        role = experiment.content["roleArn"]
        if not self._assumable(role):
            self._end(experiment, "failed", f"Unable to assume role: {role}")
            return
        if self._rings(experiment):
            self._end(experiment, "stopped", "Experiment halted by stop condition.")
            return
        with self.life.lock:
            if experiment.status != "initiating":
                return
            if self._resolve(experiment):
                self._turn(experiment, "running", "Experiment is running.")
                self._advance(experiment)
                self._watch(experiment)

    def _resolve(self, experiment: Experiment) -> bool:
        """Resolve all targets once; tell whether the experiment may go on."""
        instances = self.life.of(experiment.account, experiment.region)
        for name, target in (experiment.content.get("targets") or {}).items():
            experiment.resolved[name] = resolve(target, instances, self.chance)
        empty = [name for name, found in experiment.resolved.items() if not found]
        if empty and experiment.options["emptyTargetResolutionMode"] == "fail":
            self._end(experiment, "failed", EMPTY)
            return False
        return True

    def _advance(self, experiment: Experiment) -> None:
        """Start the actions whose turn it is; end the experiment when all are over."""
        for run in list(experiment.actions.values()):
            earlier = [experiment.actions[name].status for name in run.definition.get("startAfter") or []]
            if experiment.status == "running" and run.status == "pending" and all(status in OVER for status in earlier):
                self._start_action(experiment, run)
        if experiment.status == "running" and all(run.status in OVER for run in experiment.actions.values()):
            self._end(experiment, "completed", "Experiment completed.")

    def _start_action(self, experiment: Experiment, run: ActionRun) -> None:
        instances = [i for target in (run.definition.get("targets") or {}).values() for i in experiment.resolved[target]]
        if experiment.options["actionsMode"] == "skip-all" or (run.definition.get("targets") and not instances):
            self._turn_action(run, "skipped", "Action was skipped.")
            self._advance(experiment)
            return
        run.started = self.ports.now()
        self._turn_action(run, "running", "Action is running.")
        try:
            length = self._act(run, instances)
        except ApiError as error:
            self._fail_action(experiment, run, error.message)
            return
        run.timers.append(self._after(length, lambda: self._complete(experiment, run)))

    def _act(self, run: ActionRun, instances: list[Instance]) -> float:
        """Do what the action does; return after how many seconds of true time it is complete."""
        parameters = run.definition.get("parameters") or {}
        match run.definition["actionId"]:
            case WAIT.id:
                return seconds(parameters["duration"])
            case INTERRUPT.id:
                return self._interrupt(run, instances, seconds(parameters["durationBeforeInterruption"]))
            case TERMINATE.id:
                self.life.terminate(instances)
            case STOP.id:
                return self._stop(run, instances, parameters.get("startInstancesAfterDuration"))
            case REBOOT.id:
                self.life.reboot(instances)
        return STEP_SECONDS

    def _interrupt(self, run: ActionRun, instances: list[Instance], length: int) -> float:
        """Recommend a rebalance now, warn two minutes before the end."""
        if len(instances) > INTERRUPTIONS_LIMIT:
            text = f"Target resolution returned {len(instances)} resources, but {INTERRUPT.id} supports at most {INTERRUPTIONS_LIMIT}."
            raise ApiError("ValidationException", text)
        idle = [instance.id for instance in instances if instance.state not in ALIVE]
        if idle:
            raise ApiError("ValidationException", f"Spot Instances {', '.join(idle)} are not in the running state.")
        for instance in instances:
            self.life.recommend_rebalance(instance)
        run.timers.append(self._after(length - WARNING_SECONDS, lambda: self._warn(instances)))
        return length

    def _warn(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            if instance.state in ALIVE and instance.spec.spot is not None:
                self.life.warn(instance, instance.spec.spot.interruption_behavior, experiment=True)

    def _stop(self, run: ActionRun, instances: list[Instance], restart: str | None) -> float:
        self.life.stop(instances)
        if restart is None:
            return STEP_SECONDS
        length = seconds(restart)
        run.timers.append(self._after(length, lambda: self._restart(instances)))
        return length + STEP_SECONDS

    def _restart(self, instances: list[Instance]) -> None:
        self.life.start([instance for instance in instances if instance.state == "stopped"])

    def _complete(self, experiment: Experiment, run: ActionRun) -> None:
        with self.life.lock:
            if run.status == "running":
                self._turn_action(run, "completed", "Action was completed.")
                self._advance(experiment)

    def _fail_action(self, experiment: Experiment, run: ActionRun, why: str) -> None:
        self._turn_action(run, "failed", why)
        self._halt_actions(experiment)
        self._end(experiment, "failed", f"Action {run.name} failed: {why}")

    # The end

    def stop(self, experiment: Experiment) -> None:
        """Stop an experiment; raise ApiError when it has ended. Warnings that were sent stay valid."""
        with self.life.lock:
            if experiment.status in OVER:
                text = f"Experiment {experiment.id} is {experiment.status} and cannot be stopped."
                raise ApiError("ValidationException", text)
            self._halt(experiment, "Experiment stopped by user request.")

    def _halt(self, experiment: Experiment, why: str) -> None:
        self._turn(experiment, "stopping", "Experiment is stopping.")
        self._halt_actions(experiment)
        self._after(STEP_SECONDS, lambda: self._end(experiment, "stopped", why))

    def _halt_actions(self, experiment: Experiment) -> None:
        for run in experiment.actions.values():
            for timer in run.timers:
                timer.cancel()
            if run.status == "running":
                self._turn_action(run, "stopped", "Action was stopped.")
            elif run.status == "pending":
                self._turn_action(run, "cancelled", "Action was cancelled.")

    def _watch(self, experiment: Experiment) -> None:
        """Look at the alarms of a running experiment again and again."""
        if alarms(experiment.content["stopConditions"]):
            self._soon(lambda: self._look(experiment))

    def _look(self, experiment: Experiment) -> None:
        if experiment.status != "running":
            return
        rings = self._rings(experiment)
        with self.life.lock:
            if experiment.status == "running" and rings:
                self._halt(experiment, "Experiment halted by stop condition.")
            else:
                self._watch(experiment)

    def _rings(self, experiment: Experiment) -> bool:
        found = alarms(experiment.content["stopConditions"])
        return any(self._ringing(experiment.account, experiment.region, arn) for arn in found)

    def _end(self, experiment: Experiment, status: str, reason: str) -> None:
        with self.life.lock:
            self._halt_actions(experiment)
            experiment.ended = self.ports.now()
            self._turn(experiment, status, reason)

    def _turn(self, experiment: Experiment, status: str, reason: str) -> None:
        experiment.status, experiment.reason = status, reason

    def _turn_action(self, run: ActionRun, status: str, reason: str) -> None:
        run.status, run.reason = status, reason
        if status in OVER:
            run.ended = self.ports.now()

    def _soon(self, action: Callable[[], None]) -> None:
        """Do something in a step's time that asks other services: not in the thread of the timers, which must not wait."""
        self._after(STEP_SECONDS, lambda: self.ports.background(action))

    def _after(self, true_seconds: float, action: Callable[[], None]) -> Timer:
        return self.ports.after(self.ports.scaled(true_seconds), action)
