"""Step Functions: JSONata without Java, the error names of AWS, tokens that count once, and waits in the sandbox's time.

LocalStack evaluates JSONata in a Java machine that it would have to download; PyPI's jsonata-python takes its place. A
string that reaches an expression as a variable is written as a JSON literal (LocalStack puts it between quotation
marks as it is, so that one with a quotation mark in it breaks the expression, or becomes part of it).

Wait states and the intervals between retries are multiplied by the time scale. Time-outs and heartbeats are not: what
they wait for runs in its own time.

What LocalStack does again and again, and takes most of an execution's CPU, is done once, or not at all: a definition is parsed
by ANTLR once and not with each execution (half a second for forty states), a client is made once for a role (EC2's takes
0.2 s), only the variables that an expression names are put before it, and a text is known to be one without a second evaluation.
"""

import functools
import json
import re
import time
from collections.abc import Callable
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from jsonata import Jsonata
from localstack.aws.api.stepfunctions import EvaluationFailedEventDetails, HistoryEventType
from localstack.services.stepfunctions.asl.component.common.error_name.custom_error_name import CustomErrorName
from localstack.services.stepfunctions.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name import StatesErrorName
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.component.common.retry import retrier_decl
from localstack.services.stepfunctions.asl.component.common.string import string_expression
from localstack.services.stepfunctions.asl.component.common.string.string_expression import (
    StringJSONata,
    extract_jsonata_variable_references,
    get_intrinsic_functions_declarations,
)
from localstack.services.stepfunctions.asl.component.eval_component import EvalComponent
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.credentials import StateCredentials
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_dynamodb,
    state_task_service_sfn,
)
from localstack.services.stepfunctions.asl.component.state.state_wait.wait_function.wait_function import WaitFunction
from localstack.services.stepfunctions.asl.eval import states, variable_store
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.event.event_detail import EventDetails
from localstack.services.stepfunctions.asl.jsonata import jsonata as localstack_jsonata
from localstack.services.stepfunctions.asl.jsonata import validations
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser, ParserRuleContext
from localstack.services.stepfunctions.asl.parse.preprocessor import Preprocessor
from localstack.services.stepfunctions.asl.static_analyser.static_analyser import StaticAnalyser
from localstack.services.stepfunctions.asl.utils.boto_client import boto_client_for

from spot_sandbox import task_tokens
from spot_sandbox.settings import settings

ERROR_NAMES = {
    "cloudwatch": "CloudWatch",
    "ec2": "Ec2",
    "eventbridge": "EventBridge",
    "fis": "Fis",
    "lambda": "Lambda",
    "s3": "S3",
    "sns": "Sns",
    "sqs": "Sqs",
    "ssm": "Ssm",
}
"""How the errors of an AWS SDK integration begin: ``Ec2.Ec2Exception``, ``Ssm.ParameterNotFoundException``."""
UNNAMED_ERRORS = {
    "dynamodb": (state_task_service_dynamodb.StateTaskServiceDynamoDB, "DynamoDB.AmazonDynamoDBException"),
    "stepfunctions": (state_task_service_sfn.StateTaskServiceSfn, "StepFunctions.AWSStepFunctionsException"),
}
"""What an optimized integration calls an error that is not in its service's model; LocalStack names it by the service's code."""


def install() -> None:
    """Replace these parts of LocalStack."""
    localstack_jsonata._eval_jsonata = evaluate  # noqa: SLF001 - LocalStack offers no hook here
    for module in (states, variable_store):
        module.encode_jsonata_variable_declarations = encode_variables
    for module in (string_expression, validations):
        module.eval_jsonata_expression = evaluate
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES.update(ERROR_NAMES)  # noqa: SLF001 - as above
    WaitFunction._wait_interval = _wait  # noqa: SLF001 - as above
    retrier_decl.time = _ScaledTime
    AmazonStateLanguageParser.parse = staticmethod(_parse)
    StaticAnalyser.analyse = _analyse
    StringJSONata._eval_body = _eval_body  # noqa: SLF001 - as above
    result_path.parse = functools.cache(result_path.parse)
    for integration in (state_task_service_aws_sdk, state_task_service_dynamodb, state_task_service_sfn):
        integration.boto_client_for = _client
    task_tokens.install()
    for service, (integration, general) in UNNAMED_ERRORS.items():
        integration._from_error = _named(integration._from_error, service, general)  # noqa: SLF001 - as above


def _named(from_error: Callable[..., FailureEvent], service: str, general: str) -> Callable[..., FailureEvent]:
    """Give errors that the service's model does not name the general name; the service's own code stays in the cause."""
    modelled = {shape.name for shape in botocore.session.get_session().get_service_model(service).error_shapes}

    def from_error_with_aws_name(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        event = from_error(self, env, ex)
        if isinstance(ex, ClientError) and ex.response["Error"]["Code"] not in modelled:
            event.error_name = CustomErrorName(general)
            event.event_details["taskFailedEventDetails"]["error"] = general
        return event

    return from_error_with_aws_name


_parse_anew = AmazonStateLanguageParser.parse


@functools.lru_cache(maxsize=64)
def _tree(definition: str) -> ParserRuleContext:
    return _parse_anew(definition)[1]


def _parse(definition: str) -> tuple[EvalComponent, ParserRuleContext]:
    """Each execution has components of its own, which may keep something; the tree that they are made from does not change."""
    tree = _tree(definition)
    return Preprocessor().visit(tree), tree


def evaluate(expression: str) -> Any:
    """The value of a JSONata expression; raises LocalStack's `JSONataException`."""
    try:
        return plain(Jsonata.jsonata(expression).evaluate(None))
    except Exception as error:
        # The library has errors of several kinds; each means the same to the state machine.
        raise localstack_jsonata.JSONataException("UNKNOWN", str(error)) from error


def plain(value: Any) -> Any:
    """The library's own lists as lists, and whole numbers as integers: Step Functions writes 2, not 2.0."""
    match value:
        case dict():
            return {key: plain(member) for key, member in value.items()}
        case list() | tuple():
            return [plain(member) for member in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _analyse(self: StaticAnalyser, definition: str) -> None:
    self.visit(_tree(definition))


def _eval_body(self: StringJSONata, env: Environment) -> None:
    named = set(re.findall(r"\$\w+", self.expression))
    store = env.variable_store
    variables = {f"${name}": value for name, value in (store._outer_scope | store._inner_scope).items()}  # noqa: SLF001 - as above
    references = extract_jsonata_variable_references(self.expression)
    declarations = [
        get_intrinsic_functions_declarations(variable_references=references),
        env.states.to_variable_declarations(variable_references=references),
        encode_variables({name: value for name, value in variables.items() if name in named}),
    ]
    whole = localstack_jsonata.compose_jsonata_expression(final_jsonata_expression=self.expression, variable_declarations_list=declarations)
    try:
        result = evaluate(whole)
    except localstack_jsonata.JSONataException as error:
        raise _evaluation_failed(env, f"The JSONata expression '{self.expression}' failed: {error.details}") from error
    if result is None:
        validations.validate_jsonata_expression_output(env, self.expression, whole, result)
    env.stack.append(result)


def _evaluation_failed(env: Environment, cause: str) -> FailureEventException:
    """The error that a catcher may catch when an expression fails, told in the history as well; LocalStack calls it States.Runtime."""
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EventDetails(evaluationFailedEventDetails=EvaluationFailedEventDetails(cause=cause, error=name.error_name))
    env.event_manager.add_event(context=env.event_history_context, event_type=HistoryEventType.EvaluationFailed, event_details=details)
    return FailureEventException(FailureEvent(env=env, error_name=name, event_type=HistoryEventType.EvaluationFailed, event_details=details))


def _client(service: str, region: str, state_credentials: StateCredentials) -> Any:
    return _client_of_role(service, region, state_credentials.role_arn)


@functools.cache
def _client_of_role(service: str, region: str, role: str) -> Any:
    return boto_client_for(service, region, StateCredentials(role_arn=role))


def encode_variables(bindings: dict[str, Any]) -> str:
    """Variables as JSONata writes them: ``$a:="text";$b:={"c":1};``."""
    return "".join(f"{name}:={_literal(value)};" for name, value in bindings.items())


def _literal(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


def _wait(self: WaitFunction, env: Environment, wait_seconds: float) -> None:  # noqa: ARG001 - takes the place of a method
    deadline = time.monotonic() + settings().scaled(wait_seconds)
    while env.is_running() and (remaining := deadline - time.monotonic()) > 0:
        env.program_state_event.wait(remaining)


class _ScaledTime:
    """In the place of the module `time` where a retrier sleeps."""

    @staticmethod
    def sleep(seconds: float) -> None:
        """Sleep in the sandbox's time."""
        time.sleep(settings().scaled(seconds))
