"""Run Command: commands, their invocations on instances, and how their statuses come about. No LocalStack in here.

A command is sent to its instances as ``MaxConcurrency`` permits; more failures than ``MaxErrors`` permit end what has
not been sent yet. Statuses: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
"""

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from spot_sandbox import events
from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Instance
from spot_sandbox.ec2_lifecycle import ALIVE, Lifecycle
from spot_sandbox.events import Place
from spot_sandbox.ssm_documents import Parameters, Step, total_seconds
from spot_sandbox.timers import Timer

type Json = dict[str, Any]

INSTANCES_LIMIT = 50
SHOWN_OUTPUT = 2500
"""How much of a step's output ListCommandInvocations shows."""
DELIVERY_SECONDS = 3600
KNOWN_SECONDS = 0.5
"""From SendCommand until SSM itself knows of the invocations, which is not at once."""

TERMINAL = {"Success", "Failed", "TimedOut", "Cancelled"}
COUNTED_ERRORS = {"Failed", "ExecutionTimedOut"}
"""What counts against MaxErrors; a command that was not delivered does not."""


@dataclass
class Plugin:
    """One step of an invocation."""

    name: str
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    started: datetime | None = None
    ended: datetime | None = None
    stdout: str = ""
    stderr: str = ""

    def describe(self) -> Json:
        """Return the step as ListCommandInvocations shows it."""
        output = self.stdout + (f"\n----------ERROR-------\n{self.stderr}" if self.stderr else "")
        shown = {
            "Name": self.name,
            "Status": self.status,
            "StatusDetails": self.details,
            "ResponseCode": self.code,
            "ResponseStartDateTime": self.started,
            "ResponseFinishDateTime": self.ended,
            "Output": _cut(output, SHOWN_OUTPUT),
        }
        return {key: value for key, value in shown.items() if value is not None}


@dataclass
class Invocation:
    """A command on one instance. `handed_over` says that the instance's agent has taken it."""

    instance: Instance
    requested: datetime
    plugins: list[Plugin]
    status: str = "Pending"
    details: str = "Pending"
    handed_over: bool = False

    @property
    def over(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL


@dataclass
class Command:
    """One SendCommand and what has become of it."""

    account: str
    region: str
    document_name: str
    document_version: str
    parameters: Parameters
    given: Json
    steps: list[Step]
    requested: datetime
    expires: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocations: dict[str, Invocation] = field(default_factory=dict)
    status: str = "Pending"
    details: str = "Pending"
    known: bool = False
    timer: Timer | None = None

    @property
    def concurrency(self) -> int:
        """How many instances may run it at once."""
        return max(1, _share(self.given.get("MaxConcurrency") or "50", len(self.invocations), math.ceil))

    @property
    def errors_allowed(self) -> int:
        """How many invocations may fail before no further one is sent."""
        return _share(self.given.get("MaxErrors") or "0", len(self.invocations), math.floor)

    @property
    def errors(self) -> int:
        """How many invocations count against MaxErrors so far."""
        return sum(1 for invocation in self.invocations.values() if invocation.details in COUNTED_ERRORS)

    def describe(self) -> Json:
        """Return the command as ListCommands and SendCommand show it."""
        invocations = self.invocations.values()
        return {
            "CommandId": self.id,
            "DocumentName": self.document_name,
            "DocumentVersion": self.document_version,
            "Comment": self.given.get("Comment") or "",
            "ExpiresAfter": self.expires,
            "Parameters": self.given.get("Parameters") or {},
            "InstanceIds": self.given.get("InstanceIds") or [],
            "Targets": self.given.get("Targets") or [],
            "RequestedDateTime": self.requested,
            "Status": self.status,
            "StatusDetails": self.details,
            "MaxConcurrency": self.given.get("MaxConcurrency") or "50",
            "MaxErrors": self.given.get("MaxErrors") or "0",
            "TargetCount": len(self.invocations),
            "CompletedCount": sum(1 for invocation in invocations if invocation.over),
            "ErrorCount": self.errors,
            "DeliveryTimedOutCount": sum(1 for invocation in invocations if invocation.details == "DeliveryTimedOut"),
            "TimeoutSeconds": self.given.get("TimeoutSeconds") or DELIVERY_SECONDS,
            "NotificationConfig": {"NotificationArn": "", "NotificationEvents": [], "NotificationType": ""},
            "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
        }

    def describe_invocation(self, invocation: Invocation, *, details: bool) -> Json:
        """Return one invocation as ListCommandInvocations shows it."""
        return {
            "CommandId": self.id,
            "InstanceId": invocation.instance.id,
            "InstanceName": invocation.instance.private_name,
            "Comment": self.given.get("Comment") or "",
            "DocumentName": self.document_name,
            "DocumentVersion": self.document_version,
            "RequestedDateTime": invocation.requested,
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "CommandPlugins": [plugin.describe() for plugin in invocation.plugins] if details else [],
        }

    def result(self, invocation: Invocation, plugin_name: str | None) -> Json:
        """Return one invocation as GetCommandInvocation shows it; raise ApiError for a step that it does not have."""
        plugin = self._plugin(invocation, plugin_name)
        elapsed = (plugin.ended - plugin.started).total_seconds() if plugin.started and plugin.ended else None
        return {
            "CommandId": self.id,
            "InstanceId": invocation.instance.id,
            "Comment": self.given.get("Comment") or "",
            "DocumentName": self.document_name,
            "DocumentVersion": self.document_version,
            "PluginName": plugin.name,
            "ResponseCode": plugin.code,
            "ExecutionStartDateTime": iso(plugin.started) if plugin.started else "",
            "ExecutionElapsedTime": f"PT{elapsed:.3f}S" if elapsed is not None else "",
            "ExecutionEndDateTime": iso(plugin.ended) if plugin.ended else "",
            # With one step, its status is the invocation's, and a command that was never delivered has no other.
            "Status": plugin.status if plugin_name else invocation.status,
            "StatusDetails": plugin.details if plugin_name else invocation.details,
            "StandardOutputContent": plugin.stdout,
            "StandardOutputUrl": "",
            "StandardErrorContent": plugin.stderr,
            "StandardErrorUrl": "",
        }

    def _plugin(self, invocation: Invocation, name: str | None) -> Plugin:
        if name is None and len(invocation.plugins) == 1:
            return invocation.plugins[0]
        for plugin in invocation.plugins:
            if plugin.name == name:
                return plugin
        raise ApiError("InvalidPluginName", f"The plugin name {name or ''} is not valid.")


def _share(text: str, total: int, rounded: Callable[[float], int]) -> int:
    """Return the number that ``10`` or ``25%`` means for `total` targets."""
    return rounded(int(text[:-1]) * total / 100) if text.endswith("%") else int(text)


def _cut(text: str, limit: int) -> str:
    mark = "\n--output truncated--"
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def iso(time: datetime) -> str:
    """Return a UTC time as SSM's events and results write it, in milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def check_send(request: Json) -> None:
    """Refuse a SendCommand whose targets or limits are wrong, before anything is looked up."""
    ids = request.get("InstanceIds") or []
    if len(ids) > INSTANCES_LIMIT:
        text = (
            f"1 validation error detected: Value '[{', '.join(ids)}]' at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {INSTANCES_LIMIT}"
        )
        raise ApiError("ValidationException", text)
    if len(set(ids)) != len(ids):
        raise ApiError("DuplicateInstanceId", "You can't specify an instance ID in more than one association.")
    if bool(ids) == bool(request.get("Targets")):
        raise ApiError("InvalidTarget" if ids else "InvalidInstanceId", "Specify either InstanceIds or Targets.")
    seconds = request.get("TimeoutSeconds")
    if seconds is not None and not 30 <= seconds <= 2592000:  # noqa: PLR2004  the API's own bounds
        text = (
            f"1 validation error detected: Value '{seconds}' at 'timeoutSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 30"
        )
        raise ApiError("ValidationException", text)


class Commands:
    """All commands of the sandbox, and the agents of its instances."""

    def __init__(self, life: Lifecycle) -> None:
        """Hear from now on what happens to the instances of `life`; share its lock and its clock."""
        self.life = life
        self.ports = life.ports
        self.commands: dict[str, Command] = {}
        life.listeners.append(self._heard)
        life.watchers.append(self._changed)

    # Sending

    def managed(self, account: str, region: str) -> list[Instance]:
        """Return the instances that SSM knows."""
        return [instance for instance in self.life.of(account, region) if instance.managed]

    def targets(self, account: str, region: str, request: Json) -> list[Instance]:
        """Return the instances of a SendCommand; raise ApiError when one of those named cannot take it."""
        known = {instance.id: instance for instance in self.managed(account, region)}
        ids = request.get("InstanceIds")
        if ids:
            ready = [i for i in ids if i in known and known[i].state in ALIVE]
            if len(ready) < len(ids):
                raise _not_valid(account, [i for i in ids if i in known and i not in ready])
            return [known[i] for i in ids]
        chosen = [i for i in known.values() if i.state == "running"]
        for target in request["Targets"]:
            chosen = [instance for instance in chosen if _hits(target, instance)]
        return chosen

    def send(self, where: tuple[str, str], document: tuple[str, str], parameters: Parameters, run: list[Step], request: Json) -> Command:
        """Send a command to its instances; return at once, as SSM does.

        `document` is its name and version, `run` the document's steps.
        """
        account, region = where
        with self.life.lock:
            instances = self.targets(account, region, request)
            now = self.ports.now()
            seconds = self.ports.scaled(total_seconds(run, request.get("TimeoutSeconds") or DELIVERY_SECONDS))
            command = Command(account, region, *document, parameters, dict(request), run, now, now + timedelta(seconds=seconds))
            for instance in instances:
                command.invocations[instance.id] = Invocation(instance, now, [Plugin(step.name) for step in run])
            self.commands[command.id] = command
            command.timer = self.ports.after(seconds, lambda: self._expire(command))
            self.ports.after(self.ports.scaled(KNOWN_SECONDS), lambda: self._begin(command))
            return command

    def _begin(self, command: Command) -> None:
        with self.life.lock:
            command.known = True
            for invocation in command.invocations.values():
                self._tell(command, invocation)
            if not command.invocations:
                self._turn_command(command, "Success", "Success" if command.given.get("InstanceIds") else "NoInstancesInTag")
                return
            self._advance(command)

    def _advance(self, command: Command) -> None:
        """Hand the command to as many further instances as its limits permit."""
        pending = [i for i in command.invocations.values() if i.status == "Pending" and not i.handed_over]
        busy = sum(1 for i in command.invocations.values() if not i.over) - len(pending)
        if command.errors > command.errors_allowed:
            for invocation in pending:
                self._turn(command, invocation, "Cancelled", "Terminated")
            pending = []
        for invocation in pending:
            if busy < command.concurrency:
                self._hand_over(command, invocation)
                # What cannot be delivered keeps no place occupied.
                busy += not invocation.over
        self._settle(command)

    def _hand_over(self, command: Command, invocation: Invocation) -> None:
        instance = invocation.instance
        invocation.handed_over = True
        if instance.state not in ALIVE:
            self._turn(command, invocation, "Failed", "Undeliverable")
        elif not instance.agent_online or not instance.booted:
            self._turn(command, invocation, "Delayed", "Delayed")
        else:
            self._run(command, invocation)

    def _run(self, command: Command, invocation: Invocation) -> None:
        environment = {
            "AWS_SSM_INSTANCE_ID": invocation.instance.id,
            "AWS_SSM_REGION_NAME": command.region,
            "AWS_SSM_PLATFORM_NAME": "Amazon Linux",
            "AWS_SSM_PLATFORM_VERSION": "2023",
            "SSM_COMMAND_ID": command.id,
        }
        steps = [
            {
                "name": step.name, "script": step.script, "timeout": self.ports.scaled(step.seconds),
                "directory": step.directory, "environment": environment | step.environment, "exit_on": step.exit_on,
            }
            for step in command.steps if step.script is not None
        ]  # fmt: skip
        for step, plugin in zip(command.steps, invocation.plugins, strict=True):
            if step.script is None:
                plugin.status, plugin.details, plugin.code = "Success", "Success", 0
                plugin.stdout = "Step execution skipped due to incompatible platform."
        self._turn(command, invocation, "InProgress", "InProgress")
        self.life.order(invocation.instance, "run", id=command.id, steps=steps)

    # What instances say

    def _heard(self, instance: Instance, fact: Json) -> None:
        with self.life.lock:
            command = self.commands.get(fact.get("id", ""))
            invocation = command.invocations.get(instance.id) if command else None
            # An agent that is cut off runs on, but nobody hears of it.
            if command is None or invocation is None or invocation.over or not instance.agent_online:
                return
            if fact["say"] == "step":
                _note(invocation, fact)
            elif fact["say"] == "finished":
                self._finish(command, invocation)

    def _finish(self, command: Command, invocation: Invocation) -> None:
        worst = next((p for p in invocation.plugins if p.status not in {"Success", "Pending"}), None)
        status, details = (worst.status, worst.details) if worst else ("Success", "Success")
        self._turn(command, invocation, status, details)
        self._advance(command)

    def _changed(self, instance: Instance) -> None:
        """Deliver what waited for an agent that is back or has booted; what waits for an instance that ends cannot be delivered.

        A command that already runs on it stays in progress until it expires, since the agent can no longer say.
        """
        with self.life.lock:
            for command in self.commands.values():
                invocation = command.invocations.get(instance.id)
                if invocation is None or invocation.status != "Delayed":
                    continue
                if instance.state in {"shutting-down", "terminated"}:
                    self._turn(command, invocation, "Failed", "Undeliverable")
                    self._advance(command)
                elif instance.agent_online and instance.booted and instance.state == "running":
                    self._run(command, invocation)

    def _expire(self, command: Command) -> None:
        """End what is not over when the total timeout has passed."""
        with self.life.lock:
            for invocation in command.invocations.values():
                if not invocation.over:
                    self._turn(command, invocation, "TimedOut", "DeliveryTimedOut")
            self._advance(command)

    # Cancelling

    def cancel(self, command: Command, ids: list[str] | None) -> None:
        """Cancel a command on some or all of its instances; what has ended stays as it is."""
        with self.life.lock:
            for invocation in command.invocations.values():
                if not invocation.over and (not ids or invocation.instance.id in ids):
                    self._cancel_invocation(command, invocation)
            self._advance(command)

    def _cancel_invocation(self, command: Command, invocation: Invocation) -> None:
        if invocation.status == "InProgress" and invocation.instance.agent_online:
            self._turn(command, invocation, "Cancelling", "Cancelling")
            self.life.order(invocation.instance, "cancel", id=command.id)
        else:
            self._turn(command, invocation, "Cancelled", "Cancelled")

    # Statuses

    def _turn(self, command: Command, invocation: Invocation, status: str, details: str) -> None:
        invocation.status, invocation.details = status, details
        self._tell(command, invocation)
        if status == "InProgress" and command.status == "Pending":
            self._turn_command(command, "InProgress", "InProgress")

    def _tell(self, command: Command, invocation: Invocation) -> None:
        instance = invocation.instance
        detail = {
            "command-id": command.id,
            "document-name": command.document_name,
            "instance-id": instance.id,
            "requested-date-time": iso(invocation.requested),
            "status": invocation.status,
        }
        place = Place(instance.account, instance.region, instance.zone, instance.id)
        self.ports.emit(events.command_invocation_status(place, self.ports.now().replace(microsecond=0), detail))

    def _settle(self, command: Command) -> None:
        """Give the command its last status once all invocations are over."""
        invocations = command.invocations.values()
        if command.status in TERMINAL or any(not invocation.over for invocation in invocations):
            return
        if command.timer:
            command.timer.cancel()
        self._turn_command(command, *_outcome(command))

    def _turn_command(self, command: Command, status: str, details: str) -> None:
        command.status, command.details = status, details
        detail = {
            "command-id": command.id,
            "document-name": command.document_name,
            "expire-after": iso(command.expires),
            "parameters": command.given.get("Parameters") or {},
            "requested-date-time": iso(command.requested),
            "status": status,
        }
        self.ports.emit(events.command_status(command.account, command.region, self.ports.now().replace(microsecond=0), detail))

    # Looking things up

    def of(self, account: str, region: str) -> list[Command]:
        """Return the commands of an account and region, the newest first."""
        return [c for c in reversed(self.commands.values()) if (c.account, c.region) == (account, region)]

    def pick(self, account: str, region: str, command_id: str) -> Command:
        """Return the command of that id; raise ApiError without one."""
        command = self.commands.get(command_id)
        if command is None or (command.account, command.region) != (account, region):
            raise ApiError("InvalidCommandId", "The specified command ID isn't valid.")
        return command

    def invocation(self, account: str, region: str, command_id: str, instance_id: str) -> tuple[Command, Invocation]:
        """Return a command and its invocation on an instance; raise ApiError InvocationDoesNotExist without one."""
        command = self.commands.get(command_id)
        mine = command is not None and command.known and (command.account, command.region) == (account, region)
        if command is None or not mine or instance_id not in command.invocations:
            raise ApiError("InvocationDoesNotExist", "")
        return command, command.invocations[instance_id]


def _not_valid(account: str, named: list[str]) -> ApiError:
    """Return SendCommand's refusal: it names the instances it knows, and none that it does not."""
    which = f"Instances [[{', '.join(named)}]]" if named else "Instances"
    return ApiError("InvalidInstanceId", f"{which} not in a valid state for account {account}")


def _hits(target: Json, instance: Instance) -> bool:
    key, wanted = target["Key"], target.get("Values") or []
    if key == "InstanceIds":
        return instance.id in wanted or "*" in wanted
    if key.startswith("tag:"):
        return instance.tags.get(key.removeprefix("tag:")) in wanted
    if key == "tag-key":
        return any(tag in instance.tags for tag in wanted)
    raise ApiError("InvalidTarget", f"The target key {key} isn't valid.")


def _note(invocation: Invocation, fact: Json) -> None:
    """Take a step's outcome from the instance."""
    for plugin in invocation.plugins:
        if plugin.name == fact["name"]:
            plugin.status = fact["status"]
            plugin.details = "ExecutionTimedOut" if fact["status"] == "TimedOut" else fact["status"]
            plugin.code = fact["code"]
            plugin.started = datetime.fromtimestamp(fact["started"], UTC)
            plugin.ended = datetime.fromtimestamp(fact["ended"], UTC)
            plugin.stdout, plugin.stderr = fact["stdout"], fact["stderr"]


def _outcome(command: Command) -> tuple[str, str]:
    """Return the status of a command whose invocations are all over."""
    details = {invocation.details for invocation in command.invocations.values()}
    if details <= {"Success"}:
        return "Success", "Success"
    if command.errors > command.errors_allowed:
        return ("TimedOut", "ExecutionTimedOut") if "Failed" not in details else ("Failed", "Failed")
    if "Cancelled" in details:
        return "Cancelled", "Cancelled"
    if details <= {"Success", "DeliveryTimedOut"} and "DeliveryTimedOut" in details:
        return "TimedOut", "DeliveryTimedOut"
    return "Failed", "Incomplete"
