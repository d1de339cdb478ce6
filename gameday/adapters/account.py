"""All ports on the account and Region that boto3 finds."""

from __future__ import annotations

import boto3

from gameday.adapters.connection import CONFIG, calling
from gameday.adapters.experiments import FisExperiments
from gameday.adapters.jobs_table import DynamoDbJobs
from gameday.adapters.logs import CloudWatchLogs
from gameday.adapters.machines import Ec2Machines
from gameday.adapters.metrics import CloudWatchMetrics
from gameday.adapters.stacks import CloudFormationStacks
from gameday.adapters.workflows import StepFunctionsWorkflows
from gameday.ports import Services
from gameday.waiting import SystemClock


def services_of(region: str | None) -> Services:
    """Return the services of a Region (None: the one that boto3's chain of settings names); Unmet: no Region, no such profile."""
    with calling("any service"):
        session = boto3.Session(region_name=region)
        return Services(
            stacks=CloudFormationStacks(session.client("cloudformation", config=CONFIG)),
            workflows=StepFunctionsWorkflows(session.client("stepfunctions", config=CONFIG)),
            experiments=FisExperiments(session.client("fis", config=CONFIG)),
            machines=Ec2Machines(session.client("ec2", config=CONFIG)),
            jobs=DynamoDbJobs(session.client("dynamodb", config=CONFIG)),
            metrics=CloudWatchMetrics(session.client("cloudwatch", config=CONFIG)),
            logs=CloudWatchLogs(session.client("logs", config=CONFIG)),
            clock=SystemClock(),
        )
