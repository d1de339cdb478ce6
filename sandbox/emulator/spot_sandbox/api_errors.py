"""The one error that the pure modules raise towards the caller of an AWS API.

Kept free of LocalStack so that the rules are tested without it; `operations.operation` turns it into the answer of the
service's own protocol.
"""


class ApiError(Exception):
    """A refusal: the service's error code, its sentence and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Remember all three; `code` is what botocore shows as ``Error.Code``."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
