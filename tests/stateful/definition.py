"""Runs the state machines' definitions as they are written, ``statemachine/*.asl.yaml``, their JSONata by jsonata-python.

An `Execution` runs until it has to wait, for a time or for its task token, and goes on when the world lets it (Amazon States
Language; Step Functions Developer Guide, "Transforming data with JSONata" and "Handling errors").
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from jsonata import Jsonata

from tests.statemachine.definitions import END_JOB, SPOT_JOB, definition

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

NEVER = float("inf")
CALL_SECONDS = 0.05
"""Between the decision to call and the call: two executions come between each other there."""
FIRST = {SPOT_JOB: "ReadInput", END_JOB: "ReadEvent"}
EXPRESSION = re.compile(r"\s*\{%(.*)%\}\s*", re.DOTALL)
RESOURCE = re.compile(r"arn:aws:states:::(aws-sdk:)?(\w+):(\w+)(\.\w+(?::2)?)?")
SDK_NAMES = {"dynamodb": "DynamoDb", "ec2": "Ec2", "sfn": "Sfn"}
"""How the errors of an AWS SDK integration begin."""
ERRORS_OF_ONE_NAME = {"ec2": "Ec2.Ec2Exception", "sfn": "Sfn.SfnException"}
"""EC2's model has no errors, that of Step Functions has none for throttling: what has no name of its own has this one."""

type Call = Callable[[Execution, str, str, Mapping[str, Any]], Any]
"""Makes a call for an execution: service, operation in snake case, arguments."""


@dataclass(slots=True)
class Failed(Exception):  # a state's failure, as the definition names it
    """A state failed."""

    error: str
    cause: str


@dataclass(frozen=True, slots=True)
class Pause:
    """What an execution waits for: a time, or a token's return, a heartbeat in between."""

    seconds: float
    token: str = ""
    heartbeat: float = NEVER


@dataclass(slots=True)
class Time:
    """The present, for the JSONata of all executions."""

    now: float = 0.0


TIME = Time()


@dataclass
class Execution:
    """One execution of the job's state machine."""

    name: str
    given: Mapping[str, Any]
    states: Mapping[str, Mapping[str, Any]]
    call: Call
    start: str = "ReadInput"
    variables: dict[str, Any] = field(default_factory=dict)
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""
    entered: list[str] = field(default_factory=list)
    pause: Pause | None = None
    since: float = 0.0
    beaten_at: float = 0.0
    tokens: int = 0
    redrives: int = 0
    heard: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)
    """When and how each attempt ended, as its token told, or its silence."""
    on_end: Callable[[Execution], None] = lambda _: None

    def __post_init__(self) -> None:
        self.began, self.input = TIME.now, self.given
        self._begin()

    def _begin(self) -> None:
        self._run = self._states()
        self._go_on(lambda: next(self._run))

    @property
    def arn(self) -> str:
        """The execution's ARN."""
        return f"arn:aws:states:us-east-1:123456789012:execution:job:{self.name}"

    @property
    def next_at(self) -> float:
        """When something happens by itself."""
        if self.pause is None:
            return NEVER
        return min(self.since + self.pause.seconds, self.beaten_at + self.pause.heartbeat)

    def wake(self) -> None:
        """Let the time be over that it waits for."""
        if self.pause is not None and self.pause.token:
            is_silent = self.beaten_at + self.pause.heartbeat <= TIME.now
            self.heard.append((TIME.now, {"result": "silent"}))
            failure = Failed("States.HeartbeatTimeout" if is_silent else "States.Timeout", "nothing was heard")
            self._go_on(lambda: self._run.throw(failure))
        else:
            self._go_on(lambda: self._run.send(None))

    def take(self, token: str, output: Any) -> bool:
        """Take a task's output, if that is what it waits for."""
        if self.pause is None or self.pause.token != token:
            return False
        self.heard.append((TIME.now, output))
        self._go_on(lambda: self._run.send(output))
        return True

    def stop(self) -> None:
        """Be stopped by hand, wherever it is."""
        self._run.close()
        self.pause = None
        self._end("ABORTED")

    def redrive(self) -> None:
        """Go on after a stop, with the state that it was in (Step Functions Developer Guide, "Restarting state machine executions with redrive")."""
        self.status, self.start, self.redrives = "RUNNING", self.entered.pop(), self.redrives + 1
        self._begin()

    def beat(self, token: str) -> bool:
        """Hear a heartbeat."""
        if self.pause is None or self.pause.token != token:
            return False
        self.beaten_at = TIME.now
        return True

    def _go_on(self, step: Callable[[], Pause]) -> None:
        self.pause = None
        try:
            self.pause = step()
            self.since = self.beaten_at = TIME.now
        except StopIteration:
            self._end("SUCCEEDED")
        except Failed as failure:
            self.error, self.cause = failure.error, failure.cause
            self._end("FAILED")

    def _end(self, status: str) -> None:
        self.status = status
        self.on_end(self)

    # The states

    def _states(self) -> Generator[Pause, Any]:
        name, given = self.start, self.input
        while name:
            state = self.states[name]
            self.entered.append(name)
            self.input = given
            match state["Type"]:
                case "Succeed":
                    self._value(state.get("Output"), input=given)
                    return
                case "Fail":
                    raise Failed(str(self._value(state["Error"])), str(self._value(state["Cause"])))
                case "Choice":
                    branch = next((one for one in state["Choices"] if self._value(one["Condition"], input=given)), {"Next": state["Default"]})
                case "Wait":
                    yield Pause(float(self._value(state["Seconds"])))
                    branch = state
                case "Pass":
                    branch = state
                case "Task":
                    branch, given = yield from self._task(state)
            states = {"errorOutput": {"Error": given.error, "Cause": given.cause}} if isinstance(given, Failed) else {"input": given, "result": given}
            name = self._leave(branch, states)

    def _leave(self, branch: Mapping[str, Any], states: Mapping[str, Any]) -> str:
        """Assign what a way out assigns, all by the variables as they were; return where it leads."""
        self.variables |= {name: self._value(value, **states) for name, value in branch.get("Assign", {}).items()}
        return str(branch.get("Next", ""))

    def _task(self, state: Mapping[str, Any]) -> Generator[Pause, Any, tuple[Mapping[str, Any], Any]]:
        tries: dict[int, int] = {}
        while True:
            try:
                return state, (yield from self._try(state))
            except Failed as failure:
                wait = _retry(state, failure, tries)
                if wait is None:
                    return _catcher(state, failure), failure
            yield Pause(wait)

    def _try(self, state: Mapping[str, Any]) -> Generator[Pause, Any, Any]:
        found = RESOURCE.fullmatch(state["Resource"])
        assert found, state["Resource"]
        is_sdk, service, operation, pattern = found.groups()
        self.tokens += 1
        token = f"{self.name}/{self.tokens}"
        arguments = self._value(state["Arguments"], context={"Task": {"Token": token}})
        seconds = {name: float(self._value(state[name])) for name in ("TimeoutSeconds", "HeartbeatSeconds") if name in state}
        yield Pause(CALL_SECONDS)
        try:
            result = self.call(self, service, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), arguments)
        except ClientError as error:
            prefix, code = SDK_NAMES[service] if is_sdk else "DynamoDB", error.response["Error"]["Code"]
            raise Failed(ERRORS_OF_ONE_NAME.get(service, f"{prefix}.{code}"), f"{code}: {error}") from error
        except BotoCoreError as error:
            prefix = SDK_NAMES[service] if is_sdk else "DynamoDB"
            raise Failed(f"{prefix}.SdkClientException", str(error)) from error
        if pattern == ".waitForTaskToken":
            return (yield Pause(seconds["TimeoutSeconds"], token, seconds["HeartbeatSeconds"]))
        return result

    def _value(self, template: Any, **states: Any) -> Any:
        """Return a template's value: what stands between ``{%`` and ``%}`` is JSONata."""
        match template:
            case str():
                found = EXPRESSION.fullmatch(template)
                return self._evaluated(found[1], states) if found else template
            case dict():
                return {key: self._value(value, **states) for key, value in template.items()}
            case list():
                return [self._value(value, **states) for value in template]
        return template

    def _evaluated(self, expression: str, states: Mapping[str, Any]) -> Any:
        execution = {"Id": self.arn, "Name": self.name}
        context = {"Execution": execution, "StateMachine": {"Id": "the state machine"}} | states.get("context", {})
        try:
            return _plain(_parsed(expression).evaluate(None, {**self.variables, "states": {**states, "context": context}}))
        except Exception as error:
            raise AssertionError(f"{expression}: {error!r}; {self.variables}; {states}") from error


def _retry(state: Mapping[str, Any], failure: Failed, tries: dict[int, int]) -> float | None:
    """Return how long to wait for another try; None where there is none."""
    for number, retrier in enumerate(state.get("Retry", [])):
        if _matches(retrier, failure):
            count = tries[number] = tries.get(number, 0) + 1
            return float(retrier["IntervalSeconds"] * retrier["BackoffRate"] ** (count - 1)) if count <= retrier["MaxAttempts"] else None
    return None


def _catcher(state: Mapping[str, Any], failure: Failed) -> Mapping[str, Any]:
    for catcher in state.get("Catch", []):
        if _matches(catcher, failure):
            found: Mapping[str, Any] = catcher
            return found
    raise failure


def _matches(handler: Mapping[str, Any], failure: Failed) -> bool:
    return failure.error in handler["ErrorEquals"] or "States.ALL" in handler["ErrorEquals"]


def states_of(name: str, values: Mapping[str, object]) -> Mapping[str, Mapping[str, Any]]:
    """Return the states of a definition, ``spot_job`` or ``end_job``, with these values of the template in it."""
    machine = definition(name, values)
    assert machine["StartAt"] == FIRST[name]
    states: Mapping[str, Mapping[str, Any]] = machine["States"]
    return states


@cache
def _parsed(expression: str) -> Jsonata:
    """Return an expression, with Step Functions' own function and the world's time in it."""
    parsed = Jsonata.jsonata(expression)
    parsed.register_lambda("parse", lambda text: json.loads(text))  # noqa: PLW0108  # JSONata looks at the number of arguments
    parsed.register_lambda("millis", lambda: int(TIME.now * 1000))
    parsed.register_lambda("now", lambda: datetime.fromtimestamp(TIME.now, UTC).isoformat())
    return parsed


def _plain(value: Any) -> Any:
    """Return JSONata's sequences as lists, and whole numbers as such."""
    match value:
        case dict():
            return {key: _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case float() if value.is_integer():
            return int(value)
    return value
