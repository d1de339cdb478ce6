"""AWS's answers without a network: botocore takes what its event ``before-send`` returns for the response.

All but the socket is botocore's own work: building, signing and parsing are part of what is measured. What the stub itself
needs is not: ``cpu_seconds`` is to be subtracted. Two threads may ask at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from threading import Lock
from time import thread_time
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.awsrequest import AWSPreparedRequest

COMMAND_ID = "11111111-2222-4333-8444-555555555555"
FAILURE = {"CommandId": COMMAND_ID, "ResponseCode": 1, "StatusDetails": "Failed", "StandardErrorContent": "disk full"}
HEADERS: Any = {"x-amzn-RequestId": "stub"}


type Asked = Mapping[str, Any]
"""A request's body, of the services that speak JSON."""


class Body(BytesIO):
    """A response's body as urllib3 offers it."""

    def stream(self) -> Iterator[bytes]:
        """Yield it."""
        yield self.read()


@dataclass(slots=True)
class StubbedAws:
    """Answers by operation, counted. ``items`` are the table's, by sort key; ``instances`` is DescribeInstances' XML."""

    items: Mapping[str, Mapping[str, Any]]
    instances: bytes = b""
    calls: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    _counting: Lock = field(default_factory=Lock)

    def __call__(self, request: AWSPreparedRequest, event_name: str, **_more: object) -> AWSResponse:
        """Answer one request; ``event_name`` is ``before-send.<service>.<operation>``."""
        start = thread_time()
        _, service, operation = event_name.split(".")
        body = self.instances if service == "ec2" else json.dumps(self._answers()[operation](_asked(request))).encode()
        response = AWSResponse(request.url, 200, HEADERS, Body(body))
        with self._counting:
            self.calls[f"{service}:{operation}"] += 1
            self.cpu_seconds += thread_time() - start
        return response

    def _answers(self) -> Mapping[str, Callable[[Asked], Mapping[str, Any]]]:
        return {
            "PutItem": lambda _: {},
            "UpdateItem": lambda _: {},
            "Query": lambda _: {"Items": list(self.items.values())},
            "BatchGetItem": self._batch_get,
            "BatchExecuteStatement": lambda asked: {"Responses": [{"TableName": "notices"} for _ in asked["Statements"]]},
            "SendCommand": lambda asked: {"Command": {**asked, "CommandId": COMMAND_ID, "Status": "Pending"}},
            "GetCommandInvocation": lambda _: FAILURE,
        }

    def _batch_get(self, asked: Asked) -> Mapping[str, Any]:
        [(table, wanted)] = asked["RequestItems"].items()
        names = set(wanted["ExpressionAttributeNames"].values())
        items = (self.items[key["notice_id"]["S"]] for key in wanted["Keys"])
        return {"Responses": {table: [{name: item[name] for name in item if name in names} for item in items]}, "UnprocessedKeys": {}}


def _asked(request: AWSPreparedRequest) -> Asked:
    body: Any = request.body
    asked: Asked = json.loads(body)
    return asked
