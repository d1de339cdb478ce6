"""Which calls fail on purpose. Pure but for chance and the clock, which come in as arguments.

Token buckets: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/throttling.html
"""

from dataclasses import dataclass, field
from typing import Any

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
class Bucket:
    """A token bucket: `burst` calls at once, `per_second` in the long run; `updated` in seconds of any clock."""

    per_second: float
    burst: float
    tokens: float = field(default=-1.0)
    updated: float = 0.0

    def takes(self, now: float) -> bool:
        """Take a token for a call at `now`; tell whether there was one."""
        full = self.tokens < 0
        self.tokens = self.burst if full else min(self.burst, self.tokens + (now - self.updated) * self.per_second)
        self.updated = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Fault:
    """An operation that fails; `operation` is ``*`` for all of the service, `count` None for no end.

    `rate` is the share of the calls that fail; with a `bucket` only those fail that it does not let through. With a
    `session` (an instance's id) only calls in a role's session of that name fail.
    """

    service: str
    operation: str
    code: str
    message: str
    status: int
    count: int | None = None
    rate: float = 1.0
    bucket: Bucket | None = None
    session: str | None = None

    def strikes(self, service: str, operation: str, *, now: float, chance: float, session: str | None = None) -> bool:
        """Tell whether a call at `now` fails, and count it; `chance` is a random number from 0 up to 1."""
        if service != self.service or self.operation not in ("*", operation) or self.count == 0:
            return False
        if self.session not in (None, session):
            return False
        if chance >= self.rate or (self.bucket is not None and self.bucket.takes(now)):
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def describe(self) -> Json:
        """Return the fault as the route shows it."""
        shown = {key: value for key, value in vars(self).items() if key != "bucket"}
        return shown | ({"per_second": self.bucket.per_second, "burst": self.bucket.burst} if self.bucket else {})


def read(body: Json) -> Fault:
    """Read a fault from a request's body; raise KeyError for what is missing and ValueError for what makes no sense."""
    code = str(body["code"])
    count = body.get("count")
    if count is not None and (not isinstance(count, int) or count < 0):
        raise ValueError(f"count must be a number of 0 or more, not {count!r}")
    rate = float(body.get("rate", 1))
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie between 0 and 1, not {rate}")
    return Fault(
        service=str(body["service"]),
        operation=str(body.get("operation", "*")),
        code=code,
        message=str(body.get("message") or MESSAGES.get(code, code)),
        status=int(body.get("status", EC2_THROTTLED if code == "RequestLimitExceeded" else 400)),
        count=count,
        rate=rate,
        bucket=_bucket(body),
        session=body.get("session"),
    )


def _bucket(body: Json) -> Bucket | None:
    if "per_second" not in body:
        return None
    per_second = float(body["per_second"])
    burst = float(body.get("burst", per_second))
    if per_second <= 0 or burst < 1:
        raise ValueError("per_second must be above 0, and burst 1 or more")
    return Bucket(per_second, burst)
