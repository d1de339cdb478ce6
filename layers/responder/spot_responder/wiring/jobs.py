"""The jobs, for the two functions that tell their state machines something."""

from __future__ import annotations

from functools import cache

from spot_responder.adapters.clients import client
from spot_responder.adapters.jobs import NoJobs, StepFunctionsJobs
from spot_responder.wiring.parts import settings


@cache
def jobs() -> StepFunctionsJobs | NoJobs:
    """Return the jobs of this stack."""
    table = settings().jobs_table
    return StepFunctionsJobs(client("dynamodb"), client("stepfunctions"), table) if table else NoJobs()
