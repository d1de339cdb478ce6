"""Step Functions: the job's execution."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.evidence import Execution
from gameday.failures import Refused, Unmet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True)
class StepFunctionsWorkflows:
    """``Workflows`` of Standard state machines."""

    client: SFNClient

    def check(self, state_machine: str) -> None:
        """Unmet: the state machine is not there or not active."""
        try:
            with calling("states:DescribeStateMachine"):
                status = self.client.describe_state_machine(stateMachineArn=state_machine)["status"]
        except Refused as refused:
            raise Unmet(f"The state machine {state_machine} of the stack is not there ({refused.code}): deploy the stack again.") from refused
        if status != "ACTIVE":
            raise Unmet(f"The state machine {state_machine} is {status}: wait until it is ACTIVE, or deploy the stack again.")

    def start(self, state_machine: str, name: str, job_input: Mapping[str, str]) -> str:
        """Start an execution, as the workshop's command does; return its ARN."""
        with calling("states:StartExecution"):
            return self.client.start_execution(stateMachineArn=state_machine, name=name, input=json.dumps(job_input))["executionArn"]

    def look(self, execution: str) -> Execution | None:
        """Return the execution once it has ended; None while it runs."""
        with calling("states:DescribeExecution"):
            found = self.client.describe_execution(executionArn=execution)
        if found["status"] in ("RUNNING", "PENDING_REDRIVE"):
            return None
        cause = ": ".join(text for text in (found.get("error"), found.get("cause")) if text)
        started, stopped = found["startDate"].timestamp(), found["stopDate"].timestamp()
        return Execution(started, stopped, found["status"], cause, found.get("redriveCount", 0))

    def stop(self, execution: str, cause: str) -> None:
        """Stop it; one that has ended stays as it is (StopExecution says nothing about that)."""
        with calling("states:StopExecution"):
            self.client.stop_execution(executionArn=execution, error="GameDayEnded", cause=cause)

    def count_events(self, execution: str) -> int:
        """Return how many events its history has, of the 25,000 that it may have."""
        with calling("states:GetExecutionHistory"):
            pages = self.client.get_paginator("get_execution_history").paginate(executionArn=execution, includeExecutionData=False)
            return sum(len(page["events"]) for page in pages)
