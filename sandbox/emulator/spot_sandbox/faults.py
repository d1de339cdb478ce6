"""Errors on demand: any operation of any service can be made to fail as AWS's own services sometimes do.

``POST /_sandbox/faults {"service": "ec2", "operation": "DescribeInstances", "code": "RequestLimitExceeded", "count": 3}``
fails the next three calls; ``"rate": 0.5`` instead of a count every other one by chance. The check comes after LocalStack
has parsed the request and before the service sees it.
"""

import random
import threading
from dataclasses import dataclass
from typing import Any

from localstack.aws import handlers
from localstack.aws.api import CommonServiceException, RequestContext
from localstack.aws.chain import HandlerChain
from localstack.http import Response

type Json = dict[str, Any]

MESSAGES = {
    "RequestLimitExceeded": "Request limit exceeded.",
    "ThrottlingException": "Rate exceeded",
    "Throttling": "Rate exceeded",
    "InternalError": "An internal error has occurred",
    "ServiceUnavailable": "The service is unavailable. Please try again shortly.",
}
EC2_THROTTLED = 503
"""EC2 answers RequestLimitExceeded with status 503, most others throttle with 400."""


@dataclass
class Fault:
    """One operation that fails; `operation` is ``*`` for all of the service, `count` None for no end."""

    service: str
    operation: str
    code: str
    message: str
    status: int
    count: int | None
    rate: float

    def strikes(self, service: str, operation: str) -> bool:
        """Tell whether this call fails, and count it."""
        if service != self.service or self.operation not in ("*", operation) or self.count == 0:
            return False
        if random.random() >= self.rate:
            return False
        if self.count is not None:
            self.count -= 1
        return True


_lock = threading.Lock()
_faults: list[Fault] = []


def switch_on(body: Json) -> Json:
    """Let an operation fail from now on; raise ValueError for what makes no sense."""
    code = body["code"]
    rate = float(body.get("rate", 1))
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie between 0 and 1, not {rate}")
    count = body.get("count")
    if count is not None and (not isinstance(count, int) or count < 0):
        raise ValueError(f"count must be a number of 0 or more, not {count!r}")
    status = int(body.get("status", EC2_THROTTLED if code == "RequestLimitExceeded" else 400))
    message = str(body.get("message") or MESSAGES.get(code, code))
    with _lock:
        _faults.append(Fault(body["service"], body.get("operation", "*"), code, message, status, count, rate))
    return show()


def clear() -> Json:
    """Let everything work again."""
    with _lock:
        _faults.clear()
    return show()


def show() -> Json:
    """Return the faults that are on."""
    with _lock:
        return {"faults": [vars(fault) | {} for fault in _faults if fault.count != 0]}


def install() -> None:
    """Put the check into LocalStack's gateway."""
    handlers.serve_custom_service_request_handlers.append(_check)


def _check(_chain: HandlerChain, context: RequestContext, _response: Response) -> None:
    # What LocalStack's own services ask of each other is not the caller's business.
    if not _faults or context.is_internal_call or context.service is None or context.operation is None:
        return
    with _lock:
        struck = next((f for f in _faults if f.strikes(context.service.service_name, context.operation.name)), None)
    if struck is not None:
        raise CommonServiceException(struck.code, struck.message, status_code=struck.status, sender_fault=True)
