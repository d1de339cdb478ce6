"""A job's attempt, by the tags of its instance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_responder.domain.jobs import ATTEMPT_TAG, JOB_TAG, Attempt, attempt_of
from spot_responder.domain.plans import Outcome, Plan, RebalanceResponse, decide
from tests.examples import LOG_ONLY, NOW, POLICY, REPLACE, attempt, instance, notice, rebalance, worker

if TYPE_CHECKING:
    from spot_responder.domain.notices import Notice
    from spot_responder.domain.plans import Policy


def test_a_worker_is_of_an_attempt() -> None:
    """The instance of an attempt says so by its tags, and is the only one of it."""
    assert attempt_of(worker(attempt(3, on=7))) == attempt(3, on=7) != attempt(3, on=8)


def test_an_instance_without_a_job() -> None:
    """An instance that bears neither tag is of no attempt."""
    assert attempt_of(instance()) is None


@pytest.mark.parametrize(
    "tags",
    [
        {JOB_TAG: "job-1"},
        {ATTEMPT_TAG: "1"},
        {JOB_TAG: "", ATTEMPT_TAG: "1"},
        {JOB_TAG: "job-1", ATTEMPT_TAG: ""},
        {JOB_TAG: "job-1", ATTEMPT_TAG: "-1"},
        {JOB_TAG: "job-1", ATTEMPT_TAG: "1.5"},
        {JOB_TAG: "job-1", ATTEMPT_TAG: "²"},
        {JOB_TAG: "job-1", ATTEMPT_TAG: "1\n"},
        {JOB_TAG: "job-1", ATTEMPT_TAG: "1" * 10},
        {JOB_TAG: "job 1", ATTEMPT_TAG: "1"},
        {JOB_TAG: "job-1#2", ATTEMPT_TAG: "1"},
        {JOB_TAG: "x" * 81, ATTEMPT_TAG: "1"},
    ],
    ids=repr,
)
def test_malformed_tags_name_no_attempt(tags: dict[str, str]) -> None:
    """Tags that a person set, or half of them, are of no attempt: the instance is treated as any other."""
    assert attempt_of(replace(instance(), tags=tags)) is None


@given(st.text(max_size=90), st.text(max_size=12))
def test_whatever_the_tags_are(job_id: str, number: str) -> None:
    """Whatever stands in the tags, they name a well-formed attempt or none."""
    found = attempt_of(replace(instance(), tags={JOB_TAG: job_id, ATTEMPT_TAG: number}))
    assert found is None or found == Attempt(job_id, int(number), instance().instance_id)


@pytest.mark.parametrize(
    ("subject", "policy", "replaces"),
    [
        (notice(), POLICY, True),
        (notice(), LOG_ONLY, True),
        (rebalance(), REPLACE, True),
        (rebalance(), POLICY, False),
        (rebalance(), LOG_ONLY, False),
    ],
)
def test_who_is_replaced(subject: Notice, policy: Policy, *, replaces: bool) -> None:
    """A job is moved on at an interruption, and at a recommendation only with RebalanceResponse replace."""
    assert decide(subject, worker(attempt()), policy, NOW).replaces == (attempt() if replaces else None)


@pytest.mark.parametrize("policy", [POLICY, REPLACE])
def test_only_a_job_is_replaced(policy: Policy) -> None:
    """An instance of no job is asked for a checkpoint, and nothing is launched in its place."""
    for subject in (notice(), rebalance()):
        assert decide(subject, instance(), policy, NOW).replaces is None


def test_replace_asks_for_a_checkpoint_too() -> None:
    """With RebalanceResponse replace a recommendation takes its checkpoint like an interruption."""
    assert decide(rebalance(), instance(), REPLACE, NOW) == Plan(rebalance(), "the instance opted in")


@pytest.mark.parametrize(
    ("subject", "state", "opted_in", "outcome"),
    [
        (notice(age=121), "running", True, Outcome.LATE),
        (notice(), "shutting-down", True, Outcome.VANISHED),
        (notice(), "running", False, Outcome.NOT_OPTED_IN),
    ],
)
def test_what_is_closed_replaces_nobody(subject: Notice, state: str, *, opted_in: bool, outcome: Outcome) -> None:
    """A notice that is late, of an instance that ended, or of one that did not opt in moves no job: its end is told otherwise."""
    plan = decide(subject, worker(attempt(), state=state, opted_in=opted_in), POLICY, NOW)
    assert (plan.outcome, plan.replaces) == (outcome, None)


def test_every_response_was_tried() -> None:
    """These tests know all answers that the operator can give."""
    assert {policy.rebalance for policy in (POLICY, LOG_ONLY, REPLACE)} == set(RebalanceResponse)
