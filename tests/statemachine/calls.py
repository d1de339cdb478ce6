"""What a definition's tasks call, compared with botocore's models: operation, arguments, errors, and what IAM calls it.

How Step Functions writes these: "Learning to use AWS service SDK integrations", "Call DynamoDB APIs with Step Functions", "Start a new AWS
Step Functions state machine from a running execution" and "Handling errors in Step Functions workflows" (Step Functions Developer Guide).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.model import ListShape, MapShape, StringShape, StructureShape

from tests.statemachine.definitions import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import OperationModel, Shape

RESOURCE = re.compile(r"arn:aws:states:::(aws-sdk:)?([a-z0-9]+):([a-zA-Z]+?)(?:\.(sync:2|sync|waitForTaskToken))?")
MODELS = {"sfn": "stepfunctions", "states": "stepfunctions"}
"""botocore's names where they differ."""
OPTIMIZED_OPERATIONS = {"dynamodb": {"GetItem", "PutItem", "UpdateItem", "DeleteItem"}, "states": {"StartExecution"}}
SDK_PREFIXES = {"dynamodb": "DynamoDb", "ec2": "Ec2", "sfn": "Sfn"}
"""The SDK's name of a service in Pascal case ("Exception prefix differences")."""
OPTIMIZED_PREFIXES = {"dynamodb": "DynamoDB", "states": "StepFunctions"}
OPTIMIZED_GENERAL = {"dynamodb": "AmazonDynamoDBException", "states": "AWSStepFunctionsException"}
"""What an optimized integration calls each error that the service's model does not name: throttling, refusals, faults inside AWS."""
CLIENT = "SdkClientException"
"""The call did not reach the service, or its answer did not come back."""
RESERVED = {
    f"States.{name}"
    for name in (
        "ALL", "BranchFailed", "DataLimitExceeded", "ExceedToleratedFailureThreshold", "HeartbeatTimeout", "Http.Socket", "IntrinsicFailure",
        "ItemReaderFailed", "NoChoiceMatched", "ParameterPathFailure", "Permissions", "QueryEvaluationError", "ResultPathMatchFailure",
        "ResultWriterFailed", "Runtime", "TaskFailed", "Timeout",
    )
}  # fmt: skip
"""Step Functions' own error names."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a task calls; ``service`` is as the definition writes it, ``pattern`` empty, ``sync:2`` or ``waitForTaskToken``."""

    state: str
    service: str
    operation: str
    pattern: str
    is_optimized: bool
    arguments: Mapping[str, Any]

    @property
    def model(self) -> OperationModel:
        """What botocore knows of it; raises botocore's ``OperationNotFoundError``."""
        found: OperationModel = _service(MODELS.get(self.service, self.service)).operation_model(self.operation)
        return found

    @property
    def action(self) -> str:
        """The action that IAM asks for."""
        return f"{'states' if self.service in MODELS else self.service}:{self.operation}"

    def errors(self) -> set[str]:
        """Return the names that its errors can have: those of the operation, and the general ones."""
        prefix = (OPTIMIZED_PREFIXES if self.is_optimized else SDK_PREFIXES)[self.service]
        general = OPTIMIZED_GENERAL[self.service] if self.is_optimized else f"{prefix}Exception"
        modelled = {shape.name for shape in self.model.error_shapes}
        return {f"{prefix}.{name}" for name in {general, CLIENT, *modelled, *map(_suffixed, modelled)} if not self._is_misspelt(name)}

    def _is_misspelt(self, name: str) -> bool:
        """Tell whether a name lacks the suffix that every error of an SDK integration has, whatever the service calls it."""
        return not self.is_optimized and name != _suffixed(name)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with its arguments, with the place in them."""
        shape = self.model.input_shape
        assert shape is not None
        given = dict(self.arguments)
        if self.is_optimized and self.service == "states":
            given.pop("Input", None)  # taken as JSON, and made a text by Step Functions
        yield from _problems(shape, given, self.state)


def calls(machine: Mapping[str, Any]) -> Iterator[Call]:
    """Yield what the tasks call; raise ValueError where a resource is none of an AWS service."""
    for name, state in states(machine).items():
        if state["Type"] == "Task":
            found = RESOURCE.fullmatch(state["Resource"])
            if not found:
                raise ValueError(f"{name}: {state['Resource']} is no integration of an AWS service")
            sdk, service, operation, pattern = found.groups()
            yield Call(name, service, _pascal(operation), pattern or "", not sdk, state.get("Arguments", {}))


def handlers(state: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the error names of a state's retriers and catchers, each one's together."""
    for kind in ("Retry", "Catch"):
        for handler in state.get(kind, []):
            yield handler["ErrorEquals"]


def is_expression(value: object) -> bool:
    """Tell whether a value is computed by JSONata."""
    return isinstance(value, str) and value.startswith("{%")


@functools.cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


def _suffixed(name: str) -> str:
    return name if name.endswith("Exception") else f"{name}Exception"


def _problems(shape: Shape, value: Any, place: str) -> Iterator[str]:
    """Yield where a value is not of a shape; what JSONata computes is taken to be."""
    if is_expression(value):
        return
    match shape, value:
        case StructureShape(), dict():
            yield from _in_structure(shape, value, place)
        case ListShape(), list():
            for number, one in enumerate(value):
                yield from _problems(shape.member, one, f"{place}[{number}]")
        case MapShape(), dict():
            for key, one in value.items():
                yield from _problems(shape.value, one, f"{place}.{key}")
        case StringShape(), str() if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of {', '.join(shape.enum)}"
        case _:
            if not _is_plain(shape, value):
                yield f"{place}: {value!r} is no {shape.type_name}"


def _in_structure(shape: StructureShape, value: Mapping[str, Any], place: str) -> Iterator[str]:
    members = {_pascal(name): member for name, member in shape.members.items()}
    for name in value.keys() - members.keys():
        yield f"{place}: {shape.name} has no member {name}"
    for name in set(map(_pascal, shape.required_members)) - value.keys():
        yield f"{place}: {shape.name} lacks {name}"
    if shape.is_tagged_union and len(value) != 1:
        yield f"{place}: {shape.name} has one member, not {len(value)}"
    for name in value.keys() & members.keys():
        yield from _problems(members[name], value[name], f"{place}.{name}")


def _is_plain(shape: Shape, value: object) -> bool:
    """Tell whether a plain value is of a shape's type and within its bounds."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "long": (int,), "boolean": (bool,), "double": (int, float), "float": (int, float),
    }  # fmt: skip
    if not isinstance(value, kinds.get(shape.type_name, ())) or (isinstance(value, bool) and shape.type_name != "boolean"):
        return False
    size = len(value) if isinstance(value, str) else value
    bounds = shape.metadata if not isinstance(value, bool) else {}
    return bool(bounds.get("min", size) <= size <= bounds.get("max", size))
