"""What a definition's tasks call, compared with botocore's models: operation, arguments, errors, and what IAM calls it.

How Step Functions writes these: "Learning to use AWS service SDK integrations", "Call DynamoDB APIs with Step Functions", "Start a new AWS
Step Functions state machine from a running execution" and "Handling errors in Step Functions workflows" (Step Functions Developer Guide).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.shapes import misfits, operation_model
from tests.statemachine.definitions import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import OperationModel

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
        return operation_model(MODELS.get(self.service, self.service), self.operation)

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
        yield from misfits(shape, given, self.state, named=_pascal, is_open=is_expression)


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


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


def _suffixed(name: str) -> str:
    return name if name.endswith("Exception") else f"{name}Exception"
