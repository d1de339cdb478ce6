"""Lambda of a running sandbox: environments, logs, failures, layers, streams."""

from __future__ import annotations

import io
import json
import urllib.request
import uuid
import zipfile
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 30.0
type Clients = Callable[[str], Any]

CODE = dedent(
    """
    import json, os, sys, time
    if os.environ.get("MISSING") == "yes":
        raise RuntimeError("the variable TABLE is missing")
    COUNT = [0]
    def handler(event, context):
        COUNT[0] += 1
        print(event.get("say", "hello"))
        match event.get("do"):
            case "fail": raise ValueError("asked to")
            case "exit": os._exit(7)
            case "sleep": time.sleep(30)
            case "environment": return dict(os.environ)
            case "import": return __import__(event["module"]).__file__
            case "layer":
                import in_layer
                return in_layer.VALUE
        return {"count": COUNT[0], "request": context.aws_request_id, "left": context.get_remaining_time_in_millis()}
    """
)


def zipped(**files: str) -> bytes:
    """An archive of modules."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return target.getvalue()


class Function:
    """A function in the sandbox that logs to a group of its own."""

    def __init__(self, aws: Clients, **settings: Any) -> None:
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        self.group = settings.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{self.name}")
        self._lambda, self._logs = aws("lambda"), aws("logs")
        given = {"Handler": "app.handler", "Runtime": "python3.13", "Code": {"ZipFile": zipped(app=CODE)}, "Timeout": 10, **settings}
        role = "arn:aws:iam::000000000000:role/lambda-test"
        self.arn = self._lambda.create_function(FunctionName=self.name, Role=role, **given)["FunctionArn"]
        self._lambda.get_waiter("function_active_v2").wait(FunctionName=self.name)

    def invoke(self, **event: Any) -> Any:
        """The answer of one invocation."""
        answer = self._lambda.invoke(FunctionName=self.name, Payload=json.dumps(event))
        return json.load(answer["Payload"])

    def lines(self, expected: int) -> list[dict[str, Any]]:
        """The first log events, as soon as there are as many as expected."""

        def look() -> list[dict[str, Any]]:
            found = self._events()
            return found if len(found) >= expected else []

        return wait_for(look, DEADLINE, f"{expected} log events")

    def _events(self) -> list[dict[str, Any]]:
        try:
            return list(self._logs.filter_log_events(logGroupName=self.group)["events"])
        except self._logs.exceptions.ResourceNotFoundException:
            return []


@pytest.fixture(scope="module")
def plain(aws: Clients) -> Function:
    """A function with everything by default."""
    return Function(aws)


@pytest.fixture(scope="module")
def quiet(aws: Clients) -> Function:
    """A function that logs JSON to a shared group, without the system's lines."""
    config = {"LogFormat": "JSON", "LogGroup": f"/shared/{uuid.uuid4().hex}", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"}
    return Function(aws, LoggingConfig=config)


def test_an_environment_is_used_again(plain: Function) -> None:
    """The second invocation finds what the first has left in memory, and has the time of its own time-out."""
    first, second = plain.invoke(), plain.invoke()
    assert second["count"] == first["count"] + 1
    assert 9_000 < second["left"] <= 10_000


def test_a_failure_is_told_as_lambda_tells_it(plain: Function) -> None:
    """An exception becomes type, message, request and stack trace."""
    answer = plain.invoke(do="fail")
    assert answer["errorType"] == "ValueError"
    assert answer["errorMessage"] == "asked to"
    assert answer["stackTrace"]


def test_an_exit_is_an_error_and_the_next_invocation_finds_a_new_process(plain: Function) -> None:
    """A process that ends fails its invocation only."""
    assert plain.invoke(do="exit")["errorType"] == "Runtime.ExitError"
    assert plain.invoke()["count"] == 1


def test_a_time_out_ends_the_process(aws: Clients) -> None:
    """After its time the invocation fails, and the next finds a new process."""
    function = Function(aws, Timeout=1)
    assert "Task timed out after 1.00 seconds" in function.invoke(do="sleep")["errorMessage"]
    assert function.invoke()["count"] == 1


def test_an_error_at_import_is_the_answer_and_in_the_log(aws: Clients) -> None:
    """A module that cannot be imported says why, to the caller and in the log."""
    function = Function(aws, Environment={"Variables": {"MISSING": "yes"}}, LoggingConfig={"LogFormat": "JSON"})
    assert function.invoke()["errorMessage"] == "the variable TABLE is missing"
    assert any("the variable TABLE is missing" in event["message"] for event in function.lines(1))


def test_a_function_finds_the_variables_of_lambda(quiet: Function) -> None:
    """Names, paths, log settings, Region, credentials of its role and the sandbox's endpoint are in the environment."""
    found = quiet.invoke(do="environment")
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == quiet.name
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert found["AWS_LAMBDA_LOG_GROUP_NAME"] == quiet.group
    assert found["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    assert found["AWS_LAMBDA_LOG_LEVEL"] == "INFO"
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert found["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert found["AWS_SESSION_TOKEN"]
    assert not [name for name in found if name.startswith("LOCALSTACK")]


def test_a_function_sees_the_runtimes_packages_and_no_others(plain: Function) -> None:
    """boto3 is there as on AWS; what LocalStack has installed is not."""
    assert "boto3" in plain.invoke(do="import", module="boto3")
    assert plain.invoke(do="import", module="localstack")["errorType"] == "ModuleNotFoundError"
    assert plain.invoke(do="import", module="pydantic")["errorType"] == "ModuleNotFoundError"


def test_a_layer_is_on_the_path(aws: Clients) -> None:
    """A module in a layer's folder `python` can be imported."""
    layer = aws("lambda").publish_layer_version(
        LayerName=f"l-{uuid.uuid4().hex[:8]}", Content={"ZipFile": zipped(python__in_layer="VALUE = 'from the layer'")}
    )
    assert Function(aws, Layers=[layer["LayerVersionArn"]]).invoke(do="layer") == "from the layer"


def test_text_logs_have_start_line_end_and_report(aws: Clients) -> None:
    """In plain text the system's lines surround the function's own, in a stream named as Lambda names it."""
    function = Function(aws)
    request = function.invoke(say="one line")["request"]
    events = function.lines(4)
    assert [event["message"].split(" ")[0] for event in events] == ["START", "one", "END", "REPORT"]
    assert request in events[0]["message"]
    assert events[0]["logStreamName"].split("/")[-1].startswith("[$LATEST]")


def test_json_logs_at_warn_have_the_functions_lines_only(quiet: Function) -> None:
    """A plain line is wrapped, there is no START, and in a shared group the stream bears the function's name."""
    quiet.invoke(say="one line of the quiet one")
    found = [event for event in quiet.lines(1) if "one line of the quiet one" in event["message"]]
    assert json.loads(found[0]["message"])["level"] == "INFO"
    assert found[0]["logStreamName"].split("/")[-1].startswith(f"{quiet.name}[$LATEST]")
    assert not [event for event in quiet.lines(1) if "platform.start" in event["message"]]


def test_an_asynchronous_failure_is_tried_three_times_and_sent_on(aws: Clients) -> None:
    """After two retries the event is at the on-failure destination, with the condition and the error."""
    function = Function(aws)
    sqs = aws("sqs")
    queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("lambda").put_function_event_invoke_config(
        FunctionName=function.name, MaximumRetryAttempts=2, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    aws("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=json.dumps({"do": "fail"}))
    record = json.loads(receive(sqs, queue)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_calls_are_told_with_role_and_function(aws: Clients, sandbox: Any) -> None:
    """A call that a function makes is known by the function's name and its role."""
    code = "import boto3\ndef handler(event, context):\n    return boto3.client('dynamodb').list_tables()['TableNames'] and None"
    function = Function(aws, Code={"ZipFile": zipped(app=code)})
    function.invoke()
    found = [call for call in calls_of(sandbox.endpoint) if call["function"] == function.name]
    assert [(call["service"], call["operation"], call["principal"], call["error"]) for call in found] == [
        ("dynamodb", "ListTables", "arn:aws:iam::000000000000:role/lambda-test", None)
    ]


def receive(sqs: Any, queue: str) -> dict[str, Any]:
    """The next message of a queue."""
    found: list[dict[str, Any]] = wait_for(
        lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"), DEADLINE, "A message in the queue"
    )
    return found[0]


def calls_of(endpoint: str) -> list[dict[str, Any]]:
    """What the sandbox has recorded."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{endpoint}/_sandbox/calls") as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found
