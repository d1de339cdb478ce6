"""Task tokens that can be sent once, and waiting for them that ends when the execution is stopped.

LocalStack takes a token's result, and its heartbeats, as long as the execution runs, and the last result sent before its own
thread looks counts. On AWS the first result counts; after it, after a time-out, and when the execution is over, whoever sends the
token hears TaskTimedOut (Step Functions API Reference, "SendTaskSuccess": "the task has already been closed"). And LocalStack sees that an
execution was stopped only with the next heartbeat.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from localstack.aws.api.stepfunctions import InvalidToken, TaskTimedOut
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import state_task_service_callback
from localstack.services.stepfunctions.asl.eval.callback.callback import (
    CallbackEndpoint,
    CallbackOutcome,
    CallbackOutcomeTimedOut,
    CallbackPoolManager,
    HeartbeatEndpoint,
    HeartbeatTimedOut,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.provider import StepFunctionsProvider

_PAUSE_SECONDS = 0.1
_CLOSED = "Task Timed Out: 'Provided task does not exist anymore'"

_ISSUED: set[str] = set()
_SPENT: set[str] = set()
_LOCK = threading.Lock()


def install() -> None:
    """Replace these parts of LocalStack."""
    CallbackPoolManager.add = _remembering(CallbackPoolManager.add)
    CallbackPoolManager.notify = _notify
    CallbackPoolManager.heartbeat = _heartbeat
    state_task_service_callback.StateTaskServiceCallback._eval_wait_for_task_token = _wait  # noqa: SLF001 - LocalStack offers no hook here
    for name in ("send_task_success", "send_task_failure", "send_task_heartbeat"):
        setattr(StepFunctionsProvider, name, _knowing(getattr(StepFunctionsProvider, name)))


def _remembering(add: Callable[..., CallbackEndpoint]) -> Callable[..., CallbackEndpoint]:
    def added(self: CallbackPoolManager, callback_id: str) -> CallbackEndpoint:
        _ISSUED.add(callback_id)
        return add(self, callback_id)

    return added


def _notify(self: CallbackPoolManager, callback_id: str, outcome: CallbackOutcome) -> bool:
    endpoint = self.get(callback_id)
    if endpoint is None:
        return False
    with _LOCK:
        _refuse_spent(callback_id)
        _SPENT.add(callback_id)
    endpoint.notify(outcome=outcome)
    return True


def _heartbeat(self: CallbackPoolManager, callback_id: str) -> bool:
    endpoint = self.get(callback_id)
    if endpoint is None:
        return False
    _refuse_spent(callback_id)
    endpoint.notify_heartbeat()
    return True


def _wait(
    _self: Any, env: Environment, timeout_seconds: float, callback_endpoint: CallbackEndpoint, heartbeat_endpoint: HeartbeatEndpoint | None
) -> Any:
    """Wait for a task's result; the task is closed however that ends: with a result, a time-out, or the end of the execution."""
    try:
        return _outcome(env, time.monotonic() + timeout_seconds, callback_endpoint, heartbeat_endpoint)
    finally:
        _SPENT.add(callback_endpoint.callback_id)


def _outcome(env: Environment, deadline: float, endpoint: CallbackEndpoint, heartbeats: HeartbeatEndpoint | None) -> Any:
    heard = time.monotonic()
    while env.is_running() and time.monotonic() < deadline:
        outcome = endpoint.wait(_PAUSE_SECONDS)
        if outcome is not None:
            return outcome
        if heartbeats is not None and heartbeats._next_heartbeat_event.is_set():  # noqa: SLF001 - LocalStack offers no hook here
            heartbeats._next_heartbeat_event.clear()  # noqa: SLF001 - as above
            heard = time.monotonic()
        if heartbeats is not None and time.monotonic() > heard + heartbeats._heartbeat_seconds:  # noqa: SLF001 - as above
            return HeartbeatTimedOut()
    return CallbackOutcomeTimedOut(callback_id=endpoint.callback_id)


def _knowing(send: Callable[..., Any]) -> Callable[..., Any]:
    """Know the tokens of executions that are over: LocalStack calls them invalid."""

    def sent(self: StepFunctionsProvider, context: Any, task_token: str, **kwargs: Any) -> Any:
        try:
            return send(self, context, task_token=task_token, **kwargs)
        except InvalidToken:
            if task_token in _ISSUED:
                raise TaskTimedOut(_CLOSED) from None
            raise

    return sent


def _refuse_spent(callback_id: str) -> None:
    if callback_id in _SPENT:
        raise TaskTimedOut(_CLOSED)
