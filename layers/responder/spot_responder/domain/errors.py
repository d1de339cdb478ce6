"""Everything that can go wrong, as one tree.

::

    ResponderError
    ├── InvalidInput          an event or record that is not ours or not well formed: told in one line, never retried
    ├── ConfigurationError    a setting is missing or names something that does not exist: the operator's to mend
    └── CallFailed            AWS did not do what was asked
        ├── Unavailable       throttled, unreachable or broken for now: worth another try inside the time left
        └── Refused           AWS understood and declined: trying the same again would not help
            └── InstancesRefused   because of some of the instances named; the others can still be served
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SHOWN_CHARACTERS = 80


class ResponderError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


class InvalidInput(ResponderError):
    """An input that cannot be a notice, a result or a state change of ours.

    ``field`` is the path in the event (``detail.instance-id``), ``expected`` says what should have stood there.
    """

    def __init__(self, field: str, expected: str, got: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {shown(got)}")
        self.field = field
        self.expected = expected


class ConfigurationError(ResponderError):
    """The deployment is wrong: the sentence names the variable and what to do."""


class CallFailed(ResponderError):
    """A call to AWS failed; the sentence is AWS's own, behind the operation's name."""


class Unavailable(CallFailed):
    """Throttling, a 5xx or no connection: the same call may succeed a little later."""


class Refused(CallFailed):
    """AWS declined for good."""


class InstancesRefused(Refused):
    """AWS declined the whole call because of some instances.

    ``instance_ids`` are those that AWS named; it is empty where AWS does not say which.
    """

    def __init__(self, reason: str, instance_ids: Collection[str] = ()) -> None:
        super().__init__(reason)
        self.instance_ids = frozenset(instance_ids)


def shown(value: object) -> str:
    """Return a value from outside as a short literal that is safe to print."""
    text = "nothing" if value is None else ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
