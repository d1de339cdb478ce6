"""CloudWatch Logs: filter patterns that filter, metric filters that measure, saved queries that are kept.

LocalStack takes every pattern to match everything, and a metric filter to belong to every log group.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from localstack.aws.api import RequestContext, handler
from localstack.aws.api.logs import (
    AssociateKmsKeyRequest,
    DeleteQueryDefinitionRequest,
    DeleteQueryDefinitionResponse,
    DescribeQueryDefinitionsRequest,
    DescribeQueryDefinitionsResponse,
    DisassociateKmsKeyRequest,
    FilterLogEventsRequest,
    FilterLogEventsResponse,
    InvalidParameterException,
    PutLogEventsRequest,
    PutLogEventsResponse,
    PutMetricFilterRequest,
    PutQueryDefinitionRequest,
    PutQueryDefinitionResponse,
    ResourceNotFoundException,
)
from localstack.aws.connect import connect_to
from localstack.services.logs import provider as localstack_logs
from localstack.services.logs.models import get_moto_logs_backend
from localstack.services.logs.provider import LogsProvider
from localstack.services.moto import call_moto
from moto.logs import models as moto_logs

from spot_sandbox.filter_pattern import PatternError, compiled, number_at, text_at

LOG = logging.getLogger(__name__)
_MILLISECONDS_A_MINUTE = 60_000
_DATA_A_CALL = 1_000
Event = dict[str, Any]
Transformation = dict[str, Any]


class SpotLogsProvider(LogsProvider):
    """Logs; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self._definitions: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._minutes = _MinutesWithData()

    @handler("PutLogEvents", expand=False)
    def put_log_events(self, context: RequestContext, request: PutLogEventsRequest) -> PutLogEventsResponse:
        """Store the events and measure those that a metric filter of their group matches."""
        answer: PutLogEventsResponse = call_moto(context)
        backend = get_moto_logs_backend(context.account_id, context.region)
        for metric_filter in list(backend.filters.metric_filters):
            if metric_filter["logGroupName"] == request["logGroupName"]:
                self._measure(context, metric_filter, list(request["logEvents"]))
        return answer

    @handler("FilterLogEvents", expand=False)
    def filter_log_events(self, context: RequestContext, request: FilterLogEventsRequest) -> FilterLogEventsResponse:
        """Find events; the pattern is checked first."""
        _check_pattern(request.get("filterPattern"))
        answer: FilterLogEventsResponse = call_moto(context)
        return answer

    @handler("PutMetricFilter", expand=False)
    def put_metric_filter(self, context: RequestContext, request: PutMetricFilterRequest) -> None:
        """Store a metric filter, in the place of one of the same name; the pattern is checked first."""
        _check_pattern(request["filterPattern"])
        filters = get_moto_logs_backend(context.account_id, context.region).filters
        filters.metric_filters = [stored for stored in filters.metric_filters if not _is_the_same(stored, request)]
        call_moto(context)

    @handler("AssociateKmsKey", expand=False)
    def associate_kms_key(self, context: RequestContext, request: AssociateKmsKeyRequest) -> None:
        """Note the key; nothing is encrypted here."""
        self._group(context, request.get("logGroupName") or "").kms_key_id = request["kmsKeyId"]

    @handler("DisassociateKmsKey", expand=False)
    def disassociate_kms_key(self, context: RequestContext, request: DisassociateKmsKeyRequest) -> None:
        """Forget the key."""
        self._group(context, request.get("logGroupName") or "").kms_key_id = None

    @handler("PutQueryDefinition", expand=False)
    def put_query_definition(self, context: RequestContext, request: PutQueryDefinitionRequest) -> PutQueryDefinitionResponse:
        """Save a query of Logs Insights, under a new id or the one given."""
        identifier = request.get("queryDefinitionId") or str(uuid.uuid4())
        stored = {"queryDefinitionId": identifier, "name": request["name"], "queryString": request["queryString"]}
        stored["logGroupNames"] = list(request.get("logGroupNames") or [])
        self._saved(context)[identifier] = stored
        return PutQueryDefinitionResponse(queryDefinitionId=identifier)

    @handler("DescribeQueryDefinitions", expand=False)
    def describe_query_definitions(self, context: RequestContext, request: DescribeQueryDefinitionsRequest) -> DescribeQueryDefinitionsResponse:
        """List saved queries, by the beginning of their names."""
        prefix = request.get("queryDefinitionNamePrefix") or ""
        found = [saved for saved in self._saved(context).values() if saved["name"].startswith(prefix)]
        return DescribeQueryDefinitionsResponse(queryDefinitions=found)

    @handler("DeleteQueryDefinition", expand=False)
    def delete_query_definition(self, context: RequestContext, request: DeleteQueryDefinitionRequest) -> DeleteQueryDefinitionResponse:
        """Forget a saved query."""
        if self._saved(context).pop(request["queryDefinitionId"], None) is None:
            msg = "The specified query definition does not exist."
            raise ResourceNotFoundException(msg)
        return DeleteQueryDefinitionResponse(success=True)

    @staticmethod
    def _group(context: RequestContext, name: str) -> moto_logs.LogGroup:
        group = get_moto_logs_backend(context.account_id, context.region).groups.get(name)
        if group is None:
            raise ResourceNotFoundException("The specified log group does not exist.")
        return group

    def _saved(self, context: RequestContext) -> dict[str, dict[str, Any]]:
        return self._definitions.setdefault((context.account_id, context.region), {})

    def _measure(self, context: RequestContext, metric_filter: dict[str, Any], events: list[Event]) -> None:
        pattern = compiled(metric_filter["filterPattern"])
        matching = [event for event in events if pattern.matches(event["message"])]
        for transformation in metric_filter["metricTransformations"]:
            data = list(_data(transformation, matching))
            data += self._minutes.defaults((metric_filter["logGroupName"], metric_filter["filterName"]), transformation, events, data)
            _publish(context, transformation["metricNamespace"], data)


class _MinutesWithData:
    """Which minutes of a metric have a value: the default is for those in which events came but none matched."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def defaults(
        self, metric_filter: tuple[str, str], transformation: Transformation, events: list[Event], data: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        minute = max((event["timestamp"] // _MILLISECONDS_A_MINUTE for event in events), default=0)
        with self._lock:
            needed = not data and "defaultValue" in transformation and self._last.get(metric_filter, -1) < minute
            if data or needed:
                self._last[metric_filter] = minute
        if not needed:
            return []
        return [_datum(transformation, float(transformation["defaultValue"]), events[-1]["timestamp"])]


def _data(transformation: Transformation, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """A data point for each event; none for one that lacks the value or a dimension."""
    for event in events:
        value = _value(transformation["metricValue"], event["message"])
        dimensions = {name: text_at(event["message"], selector) for name, selector in (transformation.get("dimensions") or {}).items()}
        if value is None or None in dimensions.values():
            continue
        datum = _datum(transformation, value, event["timestamp"])
        if dimensions:
            datum["Dimensions"] = [{"Name": name, "Value": text} for name, text in dimensions.items()]
        yield datum


def _value(metric_value: str, message: str) -> float | None:
    return number_at(message, metric_value) if metric_value.startswith("$") else float(metric_value)


def _datum(transformation: Transformation, value: float, timestamp: int) -> dict[str, Any]:
    return {
        "MetricName": transformation["metricName"],
        "Value": value,
        "Unit": transformation.get("unit", "None"),
        "Timestamp": timestamp / 1000,
    }


def _publish(context: RequestContext, namespace: str, data: list[dict[str, Any]]) -> None:
    if not data:
        return
    client = connect_to(aws_access_key_id=context.account_id, region_name=context.region).cloudwatch
    for start in range(0, len(data), _DATA_A_CALL):
        client.put_metric_data(Namespace=namespace, MetricData=data[start : start + _DATA_A_CALL])


def _is_the_same(stored: dict[str, Any], request: PutMetricFilterRequest) -> bool:
    return (stored["logGroupName"], stored["filterName"]) == (request["logGroupName"], request["filterName"])


def _check_pattern(pattern: str | None) -> None:
    try:
        compiled(pattern or "")
    except PatternError as error:
        raise InvalidParameterException(str(error)) from error


class _MessageFilter:
    """In the place of moto's matcher, which knows plain terms only."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = compiled(pattern or "")

    def matches(self, message: str) -> bool:
        return self._pattern.matches(message)


def install() -> None:
    """Give moto's log groups and LocalStack's subscription filters this matcher, and events in order of time."""
    moto_logs.EventMessageFilter = _MessageFilter
    localstack_logs.get_pattern_matcher = lambda pattern: lambda _pattern, event: compiled(pattern).matches(event["message"])
    moto_logs.LogGroup.filter_log_events = _in_order(moto_logs.LogGroup.filter_log_events)


def _in_order(filter_log_events: Callable[..., Any]) -> Callable[..., Any]:
    """CloudWatch Logs always interleaves the streams; moto only if told by a parameter that is no longer used."""

    def interleaved(self: moto_logs.LogGroup, *args: Any, **kwargs: Any) -> Any:
        names = ("log_group_name", "log_stream_names", "start_time", "end_time", "limit", "next_token", "filter_pattern")
        given = {**dict(zip(names, args, strict=False)), **kwargs, "interleaved": True}
        return filter_log_events(self, **given)

    return interleaved
