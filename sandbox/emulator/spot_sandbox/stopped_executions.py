"""Executions that were stopped by hand stay ABORTED.

LocalStack lets the state that is at work when StopExecution comes end with an error of its own (a wait for a task token with
States.Timeout), and the execution is FAILED. On AWS its status is ABORTED, and events and rules tell the one from the other:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

from collections.abc import Callable
from typing import Any

from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.program_state import ProgramStopped


def install() -> None:
    """Let no error change the end of an execution that was stopped."""
    Environment.set_error = _unless_stopped(Environment.set_error)


def _unless_stopped(set_error: Callable[..., None]) -> Callable[..., None]:
    def set_error_of_running(self: Environment, error: Any) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    return set_error_of_running
