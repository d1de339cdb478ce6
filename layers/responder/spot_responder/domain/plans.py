"""What to do about a notice: pure, total, every branch with a reason that a person understands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from spot_responder.domain.instances import GONE_STATES
from spot_responder.domain.jobs import attempt_of
from spot_responder.domain.notices import Action, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from spot_responder.domain.instances import Instance, OptInTag
    from spot_responder.domain.jobs import Attempt
    from spot_responder.domain.notices import Notice


class Outcome(StrEnum):
    """How a notice ended. Each notice ends in exactly one of these."""

    SAVED = "saved"
    FAILED = "failed"
    MISSED = "missed"
    VANISHED = "vanished"
    NOT_OPTED_IN = "not opted in"
    LATE = "late"
    LOGGED_ONLY = "logged only"
    SUPERSEDED = "superseded"


class RebalanceResponse(StrEnum):
    """What a rebalance recommendation leads to: the stack's parameter of that name."""

    LOG = "log"
    CHECKPOINT = "checkpoint"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's choices, from the stack's parameters."""

    opt_in: OptInTag
    rebalance: RebalanceResponse


@dataclass(frozen=True, slots=True)
class Plan:
    """Ask for a checkpoint (``outcome`` is None), or close the notice with an outcome.

    ``replaces`` is the attempt at a job whose successor is to be launched at once.
    """

    notice: Notice
    reason: str
    outcome: Outcome | None = None
    replaces: Attempt | None = None

    @property
    def is_checkpoint(self) -> bool:
        """Whether the instance is to be told to checkpoint."""
        return self.outcome is None


def decide(notice: Notice, instance: Instance | None, policy: Policy, now: datetime) -> Plan:  # noqa: PLR0911  # one return for each way out is the point
    """Return the plan for one notice; ``instance`` is None where EC2 does not know the id."""
    if notice.action is Action.HIBERNATE:
        return Plan(notice, "hibernation starts with the notice and keeps the memory", Outcome.LOGGED_ONLY)
    if notice.is_late(now):
        return Plan(notice, "the notice arrived after its deadline", Outcome.LATE)
    if instance is None:
        return Plan(notice, "EC2 does not know this instance any more", Outcome.VANISHED)
    if instance.state in GONE_STATES:
        return Plan(notice, f"the instance is already {instance.state}", Outcome.VANISHED)
    if not policy.opt_in.is_on(instance):
        return Plan(notice, f"the instance does not bear the tag {policy.opt_in.key}={policy.opt_in.value}", Outcome.NOT_OPTED_IN)
    if notice.kind is NoticeKind.REBALANCE and policy.rebalance is RebalanceResponse.LOG:
        return Plan(notice, "RebalanceResponse is log", Outcome.LOGGED_ONLY)
    is_replaced = notice.kind is NoticeKind.INTERRUPTION or policy.rebalance is RebalanceResponse.REPLACE
    return Plan(notice, "the instance opted in", replaces=attempt_of(instance) if is_replaced else None)


def needs_describing(notice: Notice, now: datetime) -> bool:
    """Whether the plan depends on the instance at all: not where it is too late for anything."""
    return not (notice.is_late(now) or notice.action is Action.HIBERNATE)


def supersede(plans: Iterable[Plan]) -> list[Plan]:
    """Leave one checkpoint for each instance: the interruption's before the rebalance's, then the most urgent."""
    chosen: dict[str, Plan] = {}
    decided = []
    for plan in sorted(plans, key=lambda plan: strength(plan.notice)):
        first = chosen.setdefault(plan.notice.instance_id, plan) if plan.is_checkpoint else plan
        decided.append(plan if first is plan else Plan(plan.notice, f"answered by the {first.notice.kind} that came with it", Outcome.SUPERSEDED))
    return decided


def strength(notice: Notice) -> tuple[bool, datetime]:
    """Return what sorts the notices of one instance: an interruption first, then the most urgent."""
    return notice.kind is not NoticeKind.INTERRUPTION, notice.deadline
