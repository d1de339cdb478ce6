"""Lambda environments without containers, as a runtime executor of LocalStack.

LocalStack decides when an environment is started, used again and ended; this module is one environment. It differs
from AWS in that memory is not limited, the file system is the machine's, and files of a layer outside ``python/``,
``bin/`` and ``lib/`` are not found under ``/opt``.
"""

import json
import logging
import os
import queue
import shutil
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override

from localstack import config
from localstack.services.lambda_.invocation.assignment import AssignmentService
from localstack.services.lambda_.invocation.execution_environment import ExecutionEnvironment
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from localstack.services.lambda_.invocation.version_manager import LambdaVersionManager

from spot_sandbox.lambda_logs import LogEvent, LogTarget, log_writer
from spot_sandbox.lambda_process import RuntimeProcess, python_path, runtime_packages
from spot_sandbox.lambda_runtime_api import Invocation, Kind, Message
from spot_sandbox.log_lines import LogFormat, Report, application_line, report_lines, start_lines
from spot_sandbox.settings import settings

LOG = logging.getLogger(__name__)
_RUN_VARIABLE = "SPOT_SANDBOX_RUN"
_RESPONSE_BYTES = 6 * 1024 * 1024
_TAIL_CHARACTERS = 4_096


class ProcessRuntimeExecutor(RuntimeExecutor):
    """One environment: a process that is started, invoked many times, and started anew after a time-out."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 - LocalStack's name
        super().__init__(id=id, function_version=function_version)
        self._log = _EnvironmentLog(id, function_version)
        self._directory = settings().directory / "lambda" / "environments" / id
        self._environment: dict[str, str] = {}
        self._process: RuntimeProcess | None = None
        self._init_ms: float | None = None
        self._stopped = threading.Event()

    @override
    def start(self, env_vars: dict[str, Any]) -> None:
        """Start the process and wait until the function's module is imported.

        Raises `StatusErrorException` with Lambda's error document when the import fails.
        """
        self._directory.mkdir(parents=True)
        self._environment = _process_environment(env_vars, self.function_version, self._log.target, self._directory)
        self._initialise()

    @override
    def stop(self) -> None:
        self._stopped.set()
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @override
    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run the function once; its failures, time-outs and exits are results as Lambda words them."""
        invocation = self._invocation(payload)
        began = time.monotonic()
        self._log.begin(invocation.request_id, self.function_version.id.qualifier)
        message = self._run(invocation)
        self._process_alive().drain()
        result, status = self._result(invocation, message)
        self._log.end(self._report(invocation, (time.monotonic() - began) * 1000, status))
        return InvocationResult(
            request_id=invocation.request_id,
            payload=result,
            is_error=status != "success",
            logs=self._log.tail(),
        )

    @override
    def get_address(self) -> str:
        return "127.0.0.1"

    @override
    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    @override
    def get_runtime_endpoint(self) -> str:
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}"

    @override
    def get_logs(self) -> str:
        return self._log.tail()

    @classmethod
    @override
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack the code and the layers."""
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()
        for layer in function_version.config.layers:
            layer.code.prepare_for_execution()

    @classmethod
    @override
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Nothing is kept for a version but its code, which LocalStack removes."""

    def _initialise(self) -> None:
        began = time.monotonic()
        self._process = RuntimeProcess(
            self.function_version.config.handler,
            _code_root(self.function_version),
            self._environment,
            self._log.write,
        )
        message = self._process.message(timeout=None)
        self._process.drain()
        self._init_ms = (time.monotonic() - began) * 1000
        if message.kind is not Kind.READY:
            raise StatusErrorException("Environment startup failed", payload=_init_failure(message))

    def _process_alive(self) -> RuntimeProcess:
        if self._process is None:
            self._initialise()
        if self._process is None:  # for the type checker: _initialise either sets it or raises
            raise StatusErrorException("Environment startup failed", payload=b"{}")
        return self._process

    def _run(self, invocation: Invocation) -> Message | None:
        """The message that ends the invocation, or None when the function's time is up."""
        process = self._process_alive()
        process.submit(invocation)
        while True:
            remaining = invocation.deadline_ms / 1000 - time.time()
            try:
                message = process.message(timeout=max(0.0, remaining))
            except queue.Empty:
                return None
            if message.kind is not Kind.READY:  # READY: the poll that was still on its way
                return message

    def _result(self, invocation: Invocation, message: Message | None) -> tuple[bytes, str]:
        """The payload and the status of an ended invocation; a process that is of no more use is ended."""
        if message is None:
            self._end_process()
            return self._timeout(invocation), "timeout"
        match message.kind:
            case Kind.RESPONSE if len(message.payload) > _RESPONSE_BYTES:
                return _too_large(len(message.payload)), "error"
            case Kind.RESPONSE:
                return message.payload, "success"
            case Kind.ERROR:
                return message.payload, "error"
            case _:
                self._end_process()
                return _exit_failure(message, invocation.request_id), "error"

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process = None

    def _timeout(self, invocation: Invocation) -> bytes:
        text = f"Task timed out after {self.function_version.config.timeout:.2f} seconds"
        if not self._log.format.json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._log.system(f"{now} {invocation.request_id} {text}")
        document = {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {invocation.request_id} Error: {text}",
        }
        return json.dumps(document).encode()

    def _invocation(self, payload: dict[str, str]) -> Invocation:
        return Invocation(
            request_id=payload["invoke-id"],
            function_arn=payload["invoked-function-arn"],
            trace_id=payload["trace-id"],
            payload=payload["payload"].encode(),
            deadline_ms=int((time.time() + self.function_version.config.timeout) * 1000),
        )

    def _report(self, invocation: Invocation, duration_ms: float, status: str) -> Report:
        init_ms, self._init_ms = self._init_ms, None
        return Report(
            request_id=invocation.request_id,
            duration_ms=duration_ms,
            memory_size_mb=self.function_version.config.memory_size,
            max_memory_used_mb=self._process.memory_mb() if self._process else 0,
            status=status,
            init_duration_ms=init_ms,
        )


class _EnvironmentLog:
    """What one environment writes: filtered and worded by the function's ``LoggingConfig``, sent on line by line."""

    def __init__(self, identifier: str, function_version: FunctionVersion) -> None:
        self.format = LogFormat.from_logging_config(function_version.config.logging_config)
        self.target = _log_target(identifier, function_version)
        self._request_id: str | None = None
        self._lines: list[str] = []

    def begin(self, request_id: str, version: str) -> None:
        self._request_id = request_id
        self._lines = []
        for line in start_lines(self.format, now=datetime.now(UTC), request_id=request_id, version=version):
            self.system(line)

    def write(self, timestamp: int, line: str) -> None:
        """Take one line of the process, read at `timestamp` (epoch milliseconds)."""
        moment = datetime.fromtimestamp(timestamp / 1000, UTC)
        event = application_line(line, self.format, now=moment, request_id=self._request_id)
        if event is not None:
            self._send(timestamp, event)

    def system(self, line: str) -> None:
        self._send(time.time_ns() // 1_000_000, line)

    def end(self, report: Report) -> None:
        for line in report_lines(self.format, report, now=datetime.now(UTC)):
            self.system(line)

    def tail(self) -> str:
        """The end of the last invocation's lines, for ``LogType=Tail``."""
        return "\n".join(self._lines)[-_TAIL_CHARACTERS:]

    def _send(self, timestamp: int, message: str) -> None:
        self._lines.append(message)
        log_writer().write(LogEvent(self.target, timestamp, message))


def _log_target(identifier: str, function_version: FunctionVersion) -> LogTarget:
    """Group and stream as Lambda names them; in a group of one's own the stream bears the function's name."""
    function = function_version.id
    default = f"/aws/lambda/{function.function_name}"
    group = function_version.config.logging_config.get("LogGroup") or default
    name = "" if group == default else function.function_name
    stream = f"{datetime.now(UTC):%Y/%m/%d}/{name}[{function.qualifier}]{identifier}"
    return LogTarget(function.account, function.region, group, stream)


def _process_environment(given: dict[str, Any], function_version: FunctionVersion, target: LogTarget, directory: Path) -> dict[str, str]:
    """The variables of "Using Lambda environment variables" (Developer Guide), the function's own last."""
    layers = [Path(layer.code.get_unzipped_code_location()) for layer in function_version.config.layers]
    runtime = runtime_packages(settings().directory / "lambda" / "runtime")
    places = {
        "LAMBDA_TASK_ROOT": str(_code_root(function_version)),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "LD_LIBRARY_PATH": os.pathsep.join(str(layer / "lib") for layer in layers),
        "PATH": os.pathsep.join([*(str(layer / "bin") for layer in layers), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": python_path(runtime, layers),
        "TMPDIR": str(directory),
        _RUN_VARIABLE: os.environ.get(_RUN_VARIABLE, ""),
    }
    of_lambda = {name: str(text) for name, text in given.items() if not name.startswith("LOCALSTACK_")}
    return of_lambda | places | _logging_variables(function_version, target) | _own_variables(function_version, places)


def _logging_variables(function_version: FunctionVersion, target: LogTarget) -> dict[str, str]:
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function_version.config.runtime}",
        "AWS_LAMBDA_LOG_GROUP_NAME": target.group,
        "AWS_LAMBDA_LOG_STREAM_NAME": target.stream,
        "AWS_LAMBDA_LOG_FORMAT": "Text",
        "LANG": "en_US.UTF-8",
        "PYTHONUTF8": "1",
    }
    log_format = LogFormat.from_logging_config(function_version.config.logging_config)
    if log_format.json:
        variables |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": log_format.application_level}
    return variables


def _own_variables(function_version: FunctionVersion, places: dict[str, str]) -> dict[str, str]:
    """The function's own; a search path of its own comes after the layers, as nothing may hide them."""
    own = dict(function_version.config.environment or {})
    if "PYTHONPATH" in own:
        own["PYTHONPATH"] = os.pathsep.join([places["PYTHONPATH"], own["PYTHONPATH"]])
    return own


def _code_root(function_version: FunctionVersion) -> Path:
    return Path(function_version.config.code.get_unzipped_code_location())


def _init_failure(message: Message) -> bytes:
    if message.kind is Kind.INIT_ERROR:
        return message.payload
    return json.dumps({"errorType": "Runtime.ExitError", "errorMessage": _exit_text(message)}).encode()


def _exit_failure(message: Message, request_id: str) -> bytes:
    document = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {_exit_text(message)}"}
    return json.dumps(document).encode()


def _exit_text(message: Message) -> str:
    if message.status < 0:
        return f"Runtime exited with error: signal: {-message.status}"
    if message.status == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {message.status}"


def _too_large(size: int) -> bytes:
    document = {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({_RESPONSE_BYTES} bytes).",
    }
    return json.dumps(document).encode()


class _Environments(dict[str, ExecutionEnvironment]):
    """A dictionary that may change while another thread goes through its values."""

    @override
    def values(self) -> list[ExecutionEnvironment]:  # type: ignore[override]
        return list(self.copy().values())


def install() -> None:
    """Mend what LocalStack does around the executor.

    It writes the logs of an invocation itself, all at one time and to ``/aws/lambda/<name>`` only; here they have been
    written already. And it looks for a free environment in a dictionary that other invocations change meanwhile.
    """
    LambdaVersionManager.store_logs = lambda *_args, **_kwargs: None
    original = AssignmentService.__init__

    def initialise(self: AssignmentService) -> None:
        original(self)
        self.environments = defaultdict(_Environments)

    AssignmentService.__init__ = initialise
