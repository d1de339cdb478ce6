"""Puts `spot_sandbox.stream_delivery` in the place of LocalStack's own handling of a stream's batches."""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from localstack.services.lambda_.event_source_mapping.esm_event_processor import EsmEventProcessor
from localstack.services.lambda_.event_source_mapping.esm_worker import EsmWorker
from localstack.services.lambda_.event_source_mapping.esm_worker_factory import EsmWorkerFactory
from localstack.services.lambda_.event_source_mapping.event_processor import (
    BatchFailureError,
    PartialBatchFailureError,
)
from localstack.services.lambda_.event_source_mapping.pollers.dynamodb_poller import DynamoDBPoller
from localstack.services.lambda_.event_source_mapping.pollers.poller import get_batch_item_failures
from localstack.utils.batching import Batcher

from spot_sandbox.stream_delivery import Delivery, Discarded, Failure, Policy, Record, Success

LOG = logging.getLogger(__name__)


def install() -> None:
    """Replace the delivery of DynamoDB's streams."""
    EsmWorkerFactory.get_esm_worker = _with_bisection(EsmWorkerFactory.get_esm_worker)
    EsmEventProcessor.generate_event_failure_context = _failure_context
    DynamoDBPoller.forward_events_to_target = _forward_events_to_target
    DynamoDBPoller.get_approximate_arrival_time = lambda _self, record: _arrival(record)
    Batcher.add = _window_from_first(Batcher.add)


def _with_bisection(get_esm_worker: Callable[[EsmWorkerFactory], EsmWorker]) -> Callable[[EsmWorkerFactory], EsmWorker]:
    """LocalStack does not hand this setting of the mapping on to its poller."""

    def get(self: EsmWorkerFactory) -> EsmWorker:
        worker = get_esm_worker(self)
        worker.poller.bisect = bool(self.esm_config.get("BisectBatchOnFunctionError"))
        return worker

    return get


def _window_from_first(add: Callable[..., bool]) -> Callable[..., bool]:
    """The batching window opens with the first record that is gathered; LocalStack's opens when the last one closed.

    So after an idle time the first record went out alone and at once.
    """

    def add_records(self: Batcher[Any], records: Any, **options: Any) -> bool:
        if records and not self.get_current_size():
            self._last_batch_time = time.monotonic()
        return add(self, records, **options)

    return add_records


def _failure_context(self: EsmEventProcessor, abort_condition: str, **details: Any) -> dict[str, Any]:
    """The contexts of an invocation record; without a call of the function there is no response to tell of."""
    error = details.get("error") or {}
    context: dict[str, Any] = {
        "requestContext": {
            "requestId": error.get("requestId") or str(uuid.uuid4()),
            "functionArn": self.sender.target_arn,
            "condition": abort_condition,
            "approximateInvokeCount": details["attempts_count"],
        }
    }
    if error:
        context["responseContext"] = {
            "statusCode": error.get("httpStatusCode"),
            "executedVersion": error.get("executedVersion"),
            "functionError": error.get("functionError"),
        }
    return context


def _forward_events_to_target(self: DynamoDBPoller, shard_id: str, records: list[Record]) -> None:
    events = self.pre_filter(self.transform_into_events(records, shard_id))
    matching = self.post_filter(self.filter_events(events))
    if not matching:
        return
    delivery = Delivery(
        policy=_policy(self),
        invoke=lambda batch: _invoke(self, batch),
        discard=lambda discarded: _discard(self, shard_id, discarded),
        arrival=_arrival,
        stop=self._is_shutdown,
    )
    delivery.deliver(self.add_source_metadata(matching))


def _policy(poller: DynamoDBPoller) -> Policy:
    parameters = poller.stream_parameters
    return Policy(
        maximum_retry_attempts=parameters.get("MaximumRetryAttempts", -1),
        maximum_record_age_seconds=parameters.get("MaximumRecordAgeInSeconds", -1),
        bisect=poller.bisect,
    )


def _invoke(poller: DynamoDBPoller, batch: list[Record]) -> Success | Failure:
    try:
        poller.processor.process_events_batch(batch)
    except PartialBatchFailureError as failure:
        return Failure(_first_failed(poller, batch, failure), partial=True, error=failure.error)
    except BatchFailureError as failure:
        return Failure(0, partial=False, error=failure.error)
    except Exception:
        # Lambda could not be called at all (throttled, being updated): the batch is tried again like any other.
        LOG.exception("A batch of %d records of %s could not be delivered", len(batch), poller.source_arn)
        return Failure(0, partial=False, error={})
    return Success()


def _first_failed(poller: DynamoDBPoller, batch: list[Record], failure: PartialBatchFailureError) -> int:
    """The index of the lowest sequence number reported; 0, the whole batch, for a report that makes no sense."""
    numbers = [poller.get_sequence_number(record) for record in batch]
    failed = get_batch_item_failures(failure.partial_failure_payload, set(numbers))
    return min((numbers.index(number) for number in failed), default=0) if failed else 0


def _discard(poller: DynamoDBPoller, shard_id: str, discarded: Discarded) -> None:
    context = poller.processor.generate_event_failure_context(
        abort_condition=discarded.condition,
        error=discarded.error,
        attempts_count=discarded.attempts,
        partner_resource_arn=poller.partner_resource_arn,
    )
    poller.send_events_to_dlq(shard_id, discarded.records, context=context)


def _arrival(record: Record) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])
