"""AWS's public prices in one Region, at one date: US dollars, list price, and what of it is free in every month, for ever.

From the pricing pages named beside each, for US East (N. Virginia). Prices change and differ between Regions: another date or Region
is another table here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "us-east-1"
LOOKED_UP = "2026-11-22"
MILLION = 1_000_000
GB = 1024**3


@dataclass(frozen=True, slots=True)
class Price:
    """``usd`` for each ``per`` units, of which ``free`` a month cost nothing (per account and Region: others may use them up)."""

    service: str
    usd: float
    per: float
    source: str
    free: float = 0

    def list_usd(self, units: float) -> float:
        """Return the price without what is free."""
        return self.usd * units / self.per

    def least_usd(self, units: float) -> float:
        """Return the price where nobody else uses what is free."""
        return self.list_usd(max(units - self.free, 0))


LAMBDA = "https://aws.amazon.com/lambda/pricing/"
DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
EVENTBRIDGE = "https://aws.amazon.com/eventbridge/pricing/"
SYSTEMS_MANAGER = "https://aws.amazon.com/systems-manager/pricing/"
KMS = "https://aws.amazon.com/kms/pricing/"
SNS = "https://aws.amazon.com/sns/pricing/"
SQS = "https://aws.amazon.com/sqs/pricing/"
STEP_FUNCTIONS = "https://aws.amazon.com/step-functions/pricing/"
EC2 = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html"

PRICES: Mapping[str, Price] = {
    # x86; a cold start's initialization is billed since August 2025.
    "invocations": Price("Lambda", 0.20, MILLION, LAMBDA, free=MILLION),
    "GB-seconds": Price("Lambda", 0.0000166667, 1, LAMBDA, free=400_000),
    "write request units": Price("DynamoDB", 0.625, MILLION, DYNAMODB),
    "read request units": Price("DynamoDB", 0.125, MILLION, DYNAMODB),
    # What a Lambda trigger reads of a stream costs nothing, nor what TTL deletes.
    "stream reads by Lambda": Price("DynamoDB", 0, MILLION, DYNAMODB),
    "table GB": Price("DynamoDB", 0.25, 1, DYNAMODB, free=25),
    "point-in-time recovery GB": Price("DynamoDB", 0.20, 1, DYNAMODB),
    # Events of AWS services on the default bus, and the rules' targets in the same account.
    "AWS events": Price("EventBridge", 0, MILLION, EVENTBRIDGE),
    "archived GB": Price("EventBridge", 0.10, 1, EVENTBRIDGE),
    "archive GB-months": Price("EventBridge", 0.023, 1, EVENTBRIDGE),
    "log GB": Price("CloudWatch", 0.50, 1, CLOUDWATCH, free=5),
    "log GB-months": Price("CloudWatch", 0.03, 1, CLOUDWATCH, free=5),
    "metrics": Price("CloudWatch", 0.30, 1, CLOUDWATCH, free=10),
    "alarm metrics": Price("CloudWatch", 0.10, 1, CLOUDWATCH, free=10),
    "dashboards": Price("CloudWatch", 3.00, 1, CLOUDWATCH, free=3),
    # On instances of EC2.
    "commands": Price("Systems Manager", 0, MILLION, SYSTEMS_MANAGER),
    "describes": Price("EC2", 0, MILLION, EC2),
    "key requests": Price("KMS", 0.03, 10_000, KMS, free=20_000),
    "keys": Price("KMS", 1.00, 1, KMS),
    "queue requests": Price("SQS", 0.40, MILLION, SQS, free=MILLION),
    "published": Price("SNS", 0.50, MILLION, SNS, free=MILLION),
    "e-mails": Price("SNS", 2.00, 100_000, SNS, free=1_000),
    "state transitions": Price("Step Functions", 0.025, 1_000, STEP_FUNCTIONS, free=4_000),
}
