"""The demonstration job's progress as the workshop's metrics: ``checkpointed`` and ``unsaved`` in the namespace ``fisworkshop``.

``unsaved`` is the work that is done, ``checkpointed`` the part of it that is safe, both in percent. One sample a second, published
a few at a time: PutMetricData takes many values with their own times, and each call costs.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Callable

from spot_agent.clients import calling
from spot_agent.errors import CallFailed

NAMESPACE = "fisworkshop"
FLUSH_SECONDS = 5.0
KEPT = 600
"""Samples kept while CloudWatch cannot be reached; the oldest go first."""
BATCH = 150
"""Values in one call; the limit is 1,000: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html"""


class CloudWatchMeasures:
    """`spot_agent.ports.Measures` on CloudWatch. What cannot be published is kept for a while, then dropped: work comes first."""

    def __init__(self, make_client: Callable[[], Any]) -> None:
        """The client is made with the first sample: most jobs need none."""
        self._make_client = make_client
        self._client: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._flushed_at = float("-inf")

    def sample(self, now: float, percent: float, saved_percent: float) -> None:
        """Take a sample, and publish from time to time."""
        time = datetime.fromtimestamp(now, timezone.utc)
        for name, value in (("checkpointed", saved_percent), ("unsaved", percent)):
            self._waiting.append({"MetricName": name, "Timestamp": time, "Value": value, "Unit": "Percent", "StorageResolution": 1})
        if now - self._flushed_at >= FLUSH_SECONDS:
            self._flushed_at = now
            self.flush()

    def flush(self) -> None:
        """Publish what waits."""
        if self._client is None and self._waiting:
            self._client = self._make_client()
        while self._waiting:
            batch = self._waiting[:BATCH]
            try:
                with calling("cloudwatch:PutMetricData"):
                    self._client.put_metric_data(Namespace=NAMESPACE, MetricData=batch)
            except CallFailed:
                # A gap in a picture: not worth a line, let alone the work.
                self._waiting = self._waiting[-KEPT:]
                return
            del self._waiting[: len(batch)]
