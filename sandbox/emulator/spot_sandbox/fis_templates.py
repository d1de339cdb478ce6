"""What FIS can do, and which experiment templates it refuses. Pure.

Actions: https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
Templates: https://docs.aws.amazon.com/fis/latest/APIReference/API_CreateExperimentTemplate.html
"""

import re
from dataclasses import dataclass, field
from typing import Any

from spot_sandbox.api_errors import ApiError

type Json = dict[str, Any]

INSTANCE = "aws:ec2:instance"
SPOT_INSTANCE = "aws:ec2:spot-instance"

RESOURCE_TYPES = {INSTANCE: "An EC2 instance.", SPOT_INSTANCE: "An EC2 Spot Instance."}

DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
SELECTION = re.compile(r"ALL|COUNT\([1-9]\d*\)|PERCENT\(([1-9]\d?|100)\)")
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
TARGETS_BY_ARN = 5
ACTIONS_LIMIT = 20


@dataclass(frozen=True)
class Action:
    """An action that FIS knows: its parameters (name to whether it is required) and the target it needs."""

    id: str
    description: str
    parameters: dict[str, bool] = field(default_factory=dict)
    target: tuple[str, str] | None = None

    def describe(self, region: str) -> Json:
        """Return the action as GetAction shows it."""
        shown: Json = {"id": self.id, "arn": f"arn:aws:fis:{region}::action/{self.id}", "description": self.description, "tags": {}}
        shown["parameters"] = {name: {"description": name, "required": required} for name, required in self.parameters.items()}
        if self.target:
            shown["targets"] = {self.target[0]: {"resourceType": self.target[1]}}
        return shown


WAIT = Action("aws:fis:wait", "Pauses for a given time.", {"duration": True})
INTERRUPT = Action(
    "aws:ec2:send-spot-instance-interruptions", "Interrupts the specified EC2 Spot Instances.",
    {"durationBeforeInterruption": True}, ("SpotInstances", SPOT_INSTANCE),
)  # fmt: skip
TERMINATE = Action("aws:ec2:terminate-instances", "Terminates the specified EC2 instances.", {}, ("Instances", INSTANCE))
STOP = Action(
    "aws:ec2:stop-instances", "Stops the specified EC2 instances.",
    {"startInstancesAfterDuration": False, "completeIfInstancesTerminated": False}, ("Instances", INSTANCE),
)  # fmt: skip
REBOOT = Action("aws:ec2:reboot-instances", "Reboots the specified EC2 instances.", {}, ("Instances", INSTANCE))

ACTIONS = {action.id: action for action in (WAIT, INTERRUPT, TERMINATE, STOP, REBOOT)}


def seconds(duration: str) -> int:
    """Return how many seconds an ISO 8601 duration such as ``PT2M`` lasts; raise ApiError for what is none."""
    found = DURATION.fullmatch(duration)
    if not found or not any(found.groups()):
        raise _invalid(f"'{duration}' is not a valid duration in ISO 8601 format")
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def _invalid(text: str) -> ApiError:
    return ApiError("ValidationException", text)


def check(template: Json) -> None:
    """Refuse a template (the members of CreateExperimentTemplate) that could not run."""
    actions, targets = template.get("actions") or {}, template.get("targets") or {}
    if not 1 <= len(actions) <= ACTIONS_LIMIT:
        raise _invalid(f"An experiment template must have between 1 and {ACTIONS_LIMIT} actions.")
    if not ROLE.fullmatch(template.get("roleArn") or ""):
        raise _invalid(f"The role ARN '{template.get('roleArn')}' is not valid.")
    for name, target in targets.items():
        _check_target(name, target)
    for name, action in actions.items():
        _check_action(name, action, targets, actions)
    _check_order(actions)
    _check_stop_conditions(template.get("stopConditions"))
    mode = (template.get("experimentOptions") or {}).get("emptyTargetResolutionMode", "fail")
    if mode not in {"fail", "skip"}:
        raise _invalid(f"emptyTargetResolutionMode must be fail or skip, not '{mode}'")


def _check_target(name: str, target: Json) -> None:
    if target.get("resourceType") not in RESOURCE_TYPES:
        raise _invalid(f"Target '{name}': the resource type '{target.get('resourceType')}' does not exist.")
    arns, tags = target.get("resourceArns") or [], target.get("resourceTags") or {}
    if bool(arns) == bool(tags):
        raise _invalid(f"Target '{name}': specify either resourceArns or resourceTags.")
    if len(arns) > TARGETS_BY_ARN:
        raise _invalid(f"Target '{name}': at most {TARGETS_BY_ARN} resourceArns are allowed.")
    if arns and target.get("filters"):
        raise _invalid(f"Target '{name}': filters cannot be specified with resourceArns.")
    if not SELECTION.fullmatch(target.get("selectionMode") or ""):
        raise _invalid(f"Target '{name}': the selection mode '{target.get('selectionMode')}' is not valid.")
    for item in target.get("filters") or []:
        if not item.get("path") or not item.get("values"):
            raise _invalid(f"Target '{name}': a filter needs a path and values.")


def _check_action(name: str, action: Json, targets: Json, actions: Json) -> None:
    known = ACTIONS.get(action.get("actionId") or "")
    if known is None:
        raise _invalid(f"Action '{name}': the action '{action.get('actionId')}' does not exist.")
    given = action.get("parameters") or {}
    missing = [parameter for parameter, required in known.parameters.items() if required and parameter not in given]
    if missing:
        raise _invalid(f"Action '{name}': the required parameter '{missing[0]}' is missing.")
    unknown = sorted(set(given) - set(known.parameters))
    if unknown:
        raise _invalid(f"Action '{name}': '{unknown[0]}' is not a parameter of {known.id}.")
    _check_durations(name, known, given)
    _check_action_targets(name, known, action.get("targets") or {}, targets)
    for earlier in action.get("startAfter") or []:
        if earlier not in actions or earlier == name:
            raise _invalid(f"Action '{name}': startAfter refers to the unknown action '{earlier}'.")


def _check_durations(name: str, known: Action, given: Json) -> None:
    for parameter, text in given.items():
        if "uration" not in parameter:
            continue
        length = seconds(text)
        if known is INTERRUPT and not 120 <= length <= 900:  # noqa: PLR2004  the action's own bounds
            raise _invalid(f"Action '{name}': {parameter} must be between PT2M and PT15M, not {text}.")
        if known is WAIT and not 60 <= length <= 12 * 3600:  # noqa: PLR2004  the action's own bounds
            raise _invalid(f"Action '{name}': {parameter} must be between PT1M and PT12H, not {text}.")


def _check_action_targets(name: str, known: Action, given: Json, targets: Json) -> None:
    wanted = {known.target[0]} if known.target else set()
    if set(given) != wanted:
        raise _invalid(f"Action '{name}': {known.id} needs the targets {sorted(wanted)}, not {sorted(given)}.")
    for key, target in given.items():
        if target not in targets:
            raise _invalid(f"Action '{name}': the target '{target}' is not defined.")
        if known.target and targets[target]["resourceType"] != known.target[1]:
            raise _invalid(f"Action '{name}': target {key} must be of type {known.target[1]}.")


def _check_order(actions: Json) -> None:
    """Refuse actions that wait for each other in a circle."""
    done: set[str] = set()
    while len(done) < len(actions):
        ready = {name for name, action in actions.items() if name not in done and set(action.get("startAfter") or []) <= done}
        if not ready:
            raise _invalid("The actions' startAfter must not form a circle.")
        done |= ready


def _check_stop_conditions(conditions: list[Json] | None) -> None:
    if not conditions:
        raise _invalid("At least one stop condition is required; its source may be none.")
    for condition in conditions:
        source, value = condition.get("source"), condition.get("value")
        if source not in {"none", "aws:cloudwatch:alarm"}:
            raise _invalid(f"The stop condition source '{source}' is not valid.")
        if (source == "aws:cloudwatch:alarm") != bool(value):
            raise _invalid("A stop condition needs the ARN of an alarm as its value exactly if its source is aws:cloudwatch:alarm.")


def alarms(conditions: list[Json]) -> list[str]:
    """Return the ARNs of the alarms that stop an experiment."""
    return [condition["value"] for condition in conditions if condition["source"] == "aws:cloudwatch:alarm"]
