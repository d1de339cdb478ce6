"""Errors on demand: any operation of any service can be made to fail as AWS's own services sometimes do.

``POST /_sandbox/faults {"service": "ec2", "operation": "DescribeInstances", "code": "RequestLimitExceeded", "count": 3}``
fails the next three calls; ``"rate": 0.5`` instead of a count every other one by chance; ``"per_second": 20, "burst": 100``
what a token bucket of that size does not let through, which is how AWS throttles; ``"session": "i-..."`` only the calls of that
instance. ``DELETE`` ends them all, ``DELETE ...?session=i-...`` that instance's. The check comes after LocalStack has parsed the request and
before the service sees it. What is struck is in `fault_rules`.
"""

import random
import threading
import time
from typing import Any

from localstack.aws import handlers
from localstack.aws.api import CommonServiceException, RequestContext
from localstack.aws.chain import HandlerChain
from localstack.http import Response

from spot_sandbox.calls import call_log
from spot_sandbox.fault_rules import Fault, read

type Json = dict[str, Any]

_lock = threading.Lock()
_faults: list[Fault] = []


def switch_on(body: Json) -> Json:
    """Let an operation fail from now on; raise KeyError or ValueError for what makes no sense."""
    fault = read(body)
    with _lock:
        _faults.append(fault)
    return show()


def clear(session: str | None = None) -> Json:
    """Let everything work again, or only what was made to fail for one session."""
    with _lock:
        _faults[:] = [fault for fault in _faults if session is not None and fault.session != session]
    return show()


def show() -> Json:
    """Return the faults that are on."""
    with _lock:
        return {"faults": [fault.describe() for fault in _faults if fault.count != 0]}


def install() -> None:
    """Put the check into LocalStack's gateway."""
    handlers.serve_custom_service_request_handlers.append(_check)


def _check(_chain: HandlerChain, context: RequestContext, _response: Response) -> None:
    if not _faults or context.service is None or context.operation is None:
        return
    session = call_log().session_of(context)
    if context.is_internal_call and session.service != "states":
        # What LocalStack's own services ask of each other is not the caller's business.
        return
    service, operation = context.service.service_name, context.operation.name
    now, chance = time.monotonic(), random.random()
    with _lock:
        struck = next((fault for fault in _faults if fault.strikes(service, operation, now=now, chance=chance, session=session.name)), None)
    if struck is not None:
        raise CommonServiceException(struck.code, struck.message, status_code=struck.status, sender_fault=True)
