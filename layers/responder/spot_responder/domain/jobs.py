"""A job: work that goes on from instance to instance. Its state machine launches an attempt after the other.

The instance of an attempt bears the job's id and the attempt's number as tags, given to it at launch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spot_responder.domain.instances import Instance

JOB_TAG = "spot-responder:job"
ATTEMPT_TAG = "spot-responder:attempt"
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
ATTEMPT = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a job, on one instance: another instance with the same tags is not of it."""

    job_id: str
    number: int
    instance_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """What became of our word to a job's state machine.

    ``refusal`` is why it did not take it, which is none where it did. That is no trouble if somebody told it before, or if the
    attempt is not the one that runs. ``is_worth_another_try`` where it could not be reached for now.
    """

    refusal: str | None = None
    is_trouble: bool = False
    is_worth_another_try: bool = False


def attempt_of(instance: Instance) -> Attempt | None:
    """Return the attempt that runs on an instance; None where its tags name none."""
    job_id, number = instance.tags.get(JOB_TAG, ""), instance.tags.get(ATTEMPT_TAG, "")
    if not JOB_ID.fullmatch(job_id) or not ATTEMPT.fullmatch(number):
        return None
    return Attempt(job_id, int(number), instance.instance_id)
