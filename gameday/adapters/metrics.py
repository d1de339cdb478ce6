"""CloudWatch: the workshop's two metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gameday.adapters.connection import calling
from gameday.evidence import Sample

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

NAMESPACE = "fisworkshop"
PERIOD_SECONDS = 1
"""High-resolution metrics keep their seconds for three hours."""


@dataclass(frozen=True, slots=True)
class CloudWatchMetrics:
    """``Metrics`` by GetMetricData, one value a second."""

    client: CloudWatchClient

    def samples(self, metric: str, start: float, end: float) -> list[Sample]:
        """Return the metric's values between two times, oldest first."""
        query: MetricDataQueryTypeDef = {
            "Id": "m1",
            "MetricStat": {"Metric": {"Namespace": NAMESPACE, "MetricName": metric}, "Period": PERIOD_SECONDS, "Stat": "Maximum"},
        }
        begin, finish = datetime.fromtimestamp(math.floor(start), UTC), datetime.fromtimestamp(math.ceil(end), UTC)
        with calling("cloudwatch:GetMetricData"):
            pages = self.client.get_paginator("get_metric_data").paginate(MetricDataQueries=[query], StartTime=begin, EndTime=finish)
            results = [result for page in pages for result in page["MetricDataResults"]]
        pairs = [pair for result in results for pair in zip(result.get("Timestamps", []), result.get("Values", []), strict=True)]
        return sorted((Sample(time.timestamp(), value) for time, value in pairs), key=lambda sample: sample.time)
