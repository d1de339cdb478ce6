"""Every AWS API call that the sandbox answers, with the principal that made it.

LocalStack checks no rights, so who a caller is must be told from its access key: each AssumeRole that passes by is
remembered, and Lambda assumes a function's role in a session named after the function. Calls that LocalStack makes to
itself are left out, but for those of Step Functions, which AWS too makes in the name of the state machine's role.
"""

import base64
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from localstack.aws import handlers
from localstack.aws.api import RequestContext
from localstack.aws.chain import HandlerChain
from localstack.http import Response
from localstack.utils.aws.request_context import extract_access_key_id_from_auth_header

_KEPT_CALLS = 20_000
_KEPT_SESSIONS = 10_000
_LONGEST_TEXT = 4_000
_ERROR_STATUS = 400


@dataclass(frozen=True)
class Session:
    """Whom an access key stands for: a role, the AWS service that assumed it, if one did, and for Lambda the function.

    `name` is the session's: for an instance's role its id.
    """

    principal: str
    service: str | None = None
    function: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Call:
    """One call; `time` in epoch seconds, `error` an error code or None."""

    time: float
    service: str
    operation: str
    principal: str
    function: str | None
    access_key: str | None
    error: str | None
    parameters: dict[str, Any]


class CallLog:
    """The last calls, bounded, for any thread."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_KEPT_CALLS)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def since(self, moment: float) -> list[dict[str, Any]]:
        """The calls at or after `moment` (epoch seconds), oldest first, as dictionaries."""
        with self._lock:
            return [asdict(call) for call in self._calls if call.time >= moment]

    def clear(self) -> None:
        """Forget all calls; sessions stay known."""
        with self._lock:
            self._calls.clear()

    def observe(self, _chain: HandlerChain[RequestContext], context: RequestContext, response: Response) -> None:
        """Take note of an answered call; a response handler of LocalStack's gateway."""
        if context.service is None or context.operation is None:
            return
        if context.operation.name == "AssumeRole" and response.status_code < _ERROR_STATUS:
            self._remember_session(context)
        session = self.session_of(context)
        if not context.is_internal_call or session.service == "states":
            call = _call(context, response, session)
            with self._lock:
                self._calls.append(call)

    def session_of(self, context: RequestContext) -> Session:
        """Whom the access key of a call stands for."""
        key = extract_access_key_id_from_auth_header(context.request.headers)
        return self._sessions.get(key or "") or Session(f"arn:aws:iam::{context.account_id}:root")

    def _remember_session(self, context: RequestContext) -> None:
        request = dict(context.service_request or {})
        credentials = dict(context.service_response or {}).get("Credentials")
        if not credentials:
            return
        service = (context.internal_request_params or {}).get("service_principal")
        function = request["RoleSessionName"] if service == "lambda" else None
        session = Session(request["RoleArn"], service, function, request["RoleSessionName"])
        with self._lock:
            self._sessions[credentials["AccessKeyId"]] = session
            if len(self._sessions) > _KEPT_SESSIONS:
                del self._sessions[next(iter(self._sessions))]


@cache
def call_log() -> CallLog:
    """The log of this process."""
    return CallLog()


def install() -> None:
    """Have every answer of the gateway pass by."""
    handlers.run_custom_response_handlers.append(call_log().observe)


def _call(context: RequestContext, response: Response, session: Session) -> Call:
    return Call(
        time=time.time(),
        service=context.service.service_name if context.service else "",
        operation=context.operation.name if context.operation else "",
        principal=session.principal,
        function=session.function,
        access_key=extract_access_key_id_from_auth_header(context.request.headers),
        error=_error(context, response),
        parameters=_plain(dict(context.service_request or {})),
    )


def _error(context: RequestContext, response: Response) -> str | None:
    if context.service_exception is not None:
        return str(context.service_exception.code)
    return None if response.status_code < _ERROR_STATUS else f"HTTP {response.status_code}"


def _plain(value: object) -> Any:
    """A copy that is JSON and not large: bytes become base64, long text is cut, a stream is only named."""
    match value:
        case Mapping():
            return {str(key): _plain(member) for key, member in value.items()}
        case list() | tuple() | set():
            return [_plain(member) for member in value]
        case None | bool() | int() | float():
            return value
        case str():
            return value[:_LONGEST_TEXT]
        case bytes():
            return base64.b64encode(value[:_LONGEST_TEXT]).decode()
        case _:
            return str(value)[:_LONGEST_TEXT]
