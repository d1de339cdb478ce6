"""How a provider's method becomes the answer to an AWS operation."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from localstack.aws.api import CommonServiceException, RequestContext, handler

from spot_sandbox.api_errors import ApiError

type Json = dict[str, Any]
type Method = Callable[[Any, RequestContext, Json], Json | None]


def operation(name: str) -> Callable[[Method], Method]:
    """Mark a method as the handler of operation `name`; what it refuses as `ApiError` is answered as the service does."""

    def mark(method: Method) -> Method:
        @handler(name, expand=False)
        @wraps(method)
        def answer(provider: Any, context: RequestContext, request: Json) -> Json | None:
            try:
                return method(provider, context, request)
            except ApiError as error:
                raise CommonServiceException(
                    error.code,
                    error.message,
                    status_code=error.status,
                    sender_fault=error.status < 500,  # noqa: PLR2004
                ) from error

        return answer

    return mark
