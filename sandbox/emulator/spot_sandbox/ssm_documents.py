"""SSM documents of type Command: what is refused, and how parameters and steps become scripts. Pure.

Schema 2.2: https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html and
https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-syntax-data-elements-parameters.html
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from spot_sandbox.api_errors import ApiError

type Json = dict[str, Any]
type Parameters = dict[str, list[str]]

DOCUMENT_BYTES = 64 * 1024
STEP_SECONDS = 3600
"""How long a step may run when its document does not say, or asks for less or more than the agent takes."""
SHORTEST_STEP_SECONDS = 5
LONGEST_STEP_SECONDS = 172800

TYPES = {"String", "StringList", "Boolean", "Integer", "MapList", "StringMap"}

RUN_SHELL_SCRIPT: Json = {
    "schemaVersion": "2.2",
    "description": "Run a shell script or specify the commands to run.",
    "parameters": {
        "commands": {"type": "StringList", "minItems": 1},
        "workingDirectory": {"type": "String", "default": ""},
        "executionTimeout": {"type": "String", "default": "3600", "allowedPattern": "^[1-9][0-9]{0,5}$"},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "aws:runShellScript",
            "inputs": {"runCommand": "{{ commands }}", "workingDirectory": "{{ workingDirectory }}", "timeoutSeconds": "{{ executionTimeout }}"},
        }
    ],
}
"""The document of that kind that AWS itself provides, as ``AWS-RunShellScript``."""

NAME = re.compile(r"[A-Za-z0-9]+")
"""The names of parameters that the SSM agent takes; it ignores all others."""
REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")


@dataclass(frozen=True)
class Step:
    """One step ready to run: `script` for ``sh``, `seconds` of true time it may take, None as `script` to skip it.

    `exit_on` holds the statuses after which no further step runs.
    """

    name: str
    script: str | None
    seconds: float
    directory: str
    environment: dict[str, str]
    exit_on: tuple[str, ...] = ()


def parse(content: str, document_format: str = "JSON") -> Json:
    """Return a document's content; raise ApiError for what CreateDocument refuses."""
    if len(content.encode()) > DOCUMENT_BYTES:
        raise ApiError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
    try:
        document = yaml.safe_load(content) if document_format == "YAML" else json.loads(content)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise _invalid(f"{document_format} not well-formed. {error}") from error
    if not isinstance(document, dict):
        raise _invalid("the document must be an object")
    check(document)
    return document


def check(document: Json) -> None:
    """Refuse a Command document whose schema, parameters or steps are wrong."""
    version = str(document.get("schemaVersion"))
    if version not in {"1.2", "2.0", "2.2"}:
        raise ApiError("InvalidDocumentSchemaVersion", f"schemaVersion {version} is not supported for documents of type Command")
    unknown = set(document) - {"schemaVersion", "description", "parameters", "mainSteps", "runtimeConfig", "variables"}
    if unknown:
        raise _invalid(f"unknown properties {', '.join(sorted(unknown))}")
    for name, definition in (document.get("parameters") or {}).items():
        _check_definition(name, definition)
    if version != "1.2":
        _check_steps(document.get("mainSteps"), set(document.get("parameters") or {}))


def _invalid(why: str) -> ApiError:
    return ApiError("InvalidDocumentContent", f"The content for the document is not valid: {why}")


def _check_definition(name: str, definition: Any) -> None:
    if not NAME.fullmatch(name):
        raise _invalid(f"the name of parameter {name} may have letters and digits only")
    if not isinstance(definition, dict) or definition.get("type") not in TYPES:
        raise _invalid(f"parameter {name} needs a type, one of {', '.join(sorted(TYPES))}")
    pattern = definition.get("allowedPattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise _invalid(f"allowedPattern of parameter {name}: {error}") from error
    if definition.get("interpolationType", "ENV_VAR") != "ENV_VAR":
        raise _invalid(f"interpolationType of parameter {name} must be ENV_VAR")
    if "default" in definition:
        _check_value(name, definition, _listed(definition["default"]), "InvalidDocumentContent")


def _check_steps(steps: Any, parameters: set[str]) -> None:
    if not isinstance(steps, list) or not steps:
        raise _invalid("mainSteps must hold at least one step")
    names = [step.get("name") if isinstance(step, dict) else None for step in steps]
    if len(set(names)) != len(names):
        raise _invalid("step names must be unique")
    for step, name in zip(steps, names, strict=True):
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9:_\-]+", name):
            raise _invalid("each step needs a name of letters, digits, - and _")
        if not isinstance(step.get("action"), str) or not isinstance(step.get("inputs"), dict):
            raise _invalid(f"step {name} needs an action and inputs")
        unknown = {reference for text in _texts(step) for reference in REFERENCE.findall(text)} - parameters
        if unknown:
            raise _invalid(f"step {name} refers to undefined parameters {', '.join(sorted(unknown))}")


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


def _listed(value: Any) -> list[str]:
    """Return a document's default as SendCommand would give it."""
    if isinstance(value, list):
        return [item if isinstance(item, str) else json.dumps(item) for item in value]
    return [value if isinstance(value, str) else json.dumps(value)]


def values(document: Json, given: Parameters | None) -> Parameters:
    """Return each parameter's values for one command, defaults included; raise ApiError for what SendCommand refuses."""
    definitions = document.get("parameters") or {}
    unknown = sorted(set(given or {}) - set(definitions))
    if unknown:
        raise ApiError("InvalidParameters", f"Parameters provided in the request are not defined in the document: {', '.join(unknown)}")
    chosen: Parameters = {}
    for name, definition in definitions.items():
        if name in (given or {}):
            chosen[name] = list((given or {})[name])
            _check_value(name, definition, chosen[name], "InvalidParameters")
        elif "default" in definition:
            chosen[name] = _listed(definition["default"])
        else:
            raise ApiError("InvalidParameters", f'Parameter "{name}" must be specified.')
    return chosen


def _check_value(name: str, definition: Json, given: list[str], code: str) -> None:
    problem = _problem(definition, given)
    if problem:
        raise ApiError(code, f'Parameter "{name}" {problem}')


def _problem(definition: Json, given: list[str]) -> str | None:
    """Say what is wrong with a parameter's values, None when nothing is."""
    kind = definition["type"]
    if kind not in {"StringList", "MapList"} and len(given) != 1:
        return f"must have exactly one value, not {len(given)}."
    if not definition.get("minItems", 0) <= len(given) <= definition.get("maxItems", len(given)):
        return f"must have between {definition.get('minItems', 0)} and {definition.get('maxItems', 'any number of')} items."
    return next((problem for text in given if (problem := _text_problem(definition, text))), None) or _kind_problem(kind, given)


def _text_problem(definition: Json, text: str) -> str | None:
    allowed = definition.get("allowedValues")
    if allowed is not None and text not in _listed(allowed):
        return f"value is not in the allowed values: {', '.join(_listed(allowed))}."
    pattern = definition.get("allowedPattern")
    # SSM accepts a value in which the pattern is found: only anchors make it speak for the whole.
    if pattern is not None and not re.search(pattern, text):
        return f"value does not match allowedPattern {pattern}."
    if not definition.get("minChars", 0) <= len(text) <= definition.get("maxChars", len(text)):
        return f"must have between {definition.get('minChars', 0)} and {definition.get('maxChars', 'any number of')} characters."
    return None


def _kind_problem(kind: str, given: list[str]) -> str | None:
    match kind:
        case "Boolean" if given[0] not in {"true", "false"}:
            return "must be true or false."
        case "Integer" if not re.fullmatch(r"[+-]?\d+", given[0]):
            return "must be an integer."
        case "StringMap" | "MapList":
            return next((f"must hold JSON: {text}" for text in given if not _is_json(text)), None)
        case _:
            return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def steps(document: Json, parameters: Parameters) -> list[Step]:
    """Return the steps of a command as they run on a Linux instance."""
    environment = {
        f"SSM_{name}": _as_text(definition, parameters[name])
        for name, definition in (document.get("parameters") or {}).items()
        if definition.get("interpolationType") == "ENV_VAR"
    }
    return [_step(document, step, parameters, environment) for step in document["mainSteps"]]


def _step(document: Json, step: Json, parameters: Parameters, environment: dict[str, str]) -> Step:
    definitions = document.get("parameters") or {}
    inputs = interpolate(step["inputs"], definitions, parameters)
    runs = step["action"] == "aws:runShellScript" and _precondition_holds(step, definitions, parameters)
    command = inputs.get("runCommand", [])
    lines = [command] if isinstance(command, str) else [line if isinstance(line, str) else json.dumps(line) for line in command]
    return Step(
        name=step["name"],
        # The agent joins the list to one script.
        script="\n".join(lines) + "\n" if runs else None,
        seconds=_seconds(inputs.get("timeoutSeconds")),
        directory=inputs.get("workingDirectory") or "",
        environment=environment,
        exit_on=_exit_on(inputs),
    )


def _seconds(given: Any) -> float:
    """Return how long a step may run; what is no number or out of bounds is the default, as the agent has it."""
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        return STEP_SECONDS
    return seconds if SHORTEST_STEP_SECONDS <= seconds <= LONGEST_STEP_SECONDS else STEP_SECONDS


def _exit_on(inputs: Json) -> tuple[str, ...]:
    """Return the statuses after which the document ends: ``onFailure`` and ``onSuccess`` of a step may say ``exit``."""
    statuses: tuple[str, ...] = ()
    if inputs.get("onFailure") == "exit":
        statuses += ("Failed", "TimedOut")
    if inputs.get("onSuccess") == "exit":
        statuses += ("Success",)
    return statuses


def _precondition_holds(step: Json, definitions: Json, parameters: Parameters) -> bool:
    """Tell whether the step's precondition holds on Linux."""
    precondition = step.get("precondition") or {}
    for left, right in precondition.values():
        sides = ["Linux" if side == "platformType" else interpolate(side, definitions, parameters) for side in (left, right)]
        if sides[0] != sides[1]:
            return False
    return True


def interpolate(value: Any, definitions: Json, parameters: Parameters) -> Any:
    """Replace ``{{ name }}`` everywhere in `value`.

    As the agent does it: a text that is nothing but a reference becomes the parameter's value with its type; inside a
    longer text lists and maps become JSON, strings their plain text, with nothing escaped or quoted.
    """
    match value:
        case str():
            return _interpolate_text(value, definitions, parameters)
        case dict():
            return {key: interpolate(item, definitions, parameters) for key, item in value.items()}
        case list():
            return [interpolate(item, definitions, parameters) for item in value]
        case _:
            return value


def _interpolate_text(text: str, definitions: Json, parameters: Parameters) -> Any:
    whole = REFERENCE.fullmatch(text.strip())
    if whole and whole[1] in parameters:
        name = whole[1]
        return parameters[name] if definitions[name]["type"] == "StringList" else _as_text(definitions[name], parameters[name])
    return REFERENCE.sub(lambda found: _reference(found, definitions, parameters), text)


def _reference(found: re.Match[str], definitions: Json, parameters: Parameters) -> str:
    name = found[1]
    return _as_text(definitions[name], parameters[name]) if name in parameters else found[0]


def _as_text(definition: Json, given: list[str]) -> str:
    return json.dumps(given) if definition["type"] in {"StringList", "MapList"} else given[0]


def total_seconds(run: list[Step], delivery_seconds: int) -> float:
    """Return after how much true time a command expires: the delivery timeout and all that its steps may take.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html#monitor-about-status-timeouts
    """
    return delivery_seconds + sum(step.seconds for step in run)
