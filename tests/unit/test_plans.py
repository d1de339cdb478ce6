"""What is to be done about a notice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_responder.domain.notices import Action, Notice
from spot_responder.domain.plans import Outcome, Plan, decide, needs_describing, supersede
from tests.examples import LOG_ONLY, NOW, POLICY, instance, notice, rebalance

ACTING = (Action.TERMINATE, Action.STOP)


@pytest.mark.parametrize("action", [*ACTING, Action.NONE])
def test_an_opted_in_instance_is_asked(action: Action) -> None:
    """A running instance with the opt-in tag is to checkpoint, whatever the notice says will happen."""
    plan = decide(notice(action=action), instance(), POLICY, NOW)
    assert (plan.is_checkpoint, plan.reason) == (True, "the instance opted in")


@pytest.mark.parametrize("opted_in", [True, False])
def test_hibernation_is_logged_only(opted_in: bool) -> None:  # noqa: FBT001  # a fact of the instance
    """An instance that hibernates keeps its memory and has no time left: nothing is done, and it is not called late."""
    plan = decide(notice(action=Action.HIBERNATE), instance(opted_in=opted_in), POLICY, NOW)
    assert plan.outcome is Outcome.LOGGED_ONLY
    assert "hibernation starts with the notice" in plan.reason


@pytest.mark.parametrize(("action", "age"), [(Action.TERMINATE, 120), (Action.STOP, 120.5), (Action.NONE, 600), (Action.TERMINATE, 90_000)])
def test_after_the_deadline_it_is_late(action: Action, age: float) -> None:
    """A warning of two minutes ago and a recommendation of ten are late, to the second."""
    assert decide(notice(action=action, age=age), instance(), POLICY, NOW).outcome is Outcome.LATE


@pytest.mark.parametrize(
    ("action", "age"), [(Action.TERMINATE, 119.9), (Action.STOP, 0), (Action.NONE, 599.9), (Action.NONE, 121), (Action.TERMINATE, -30)]
)
def test_before_the_deadline_it_is_not_late(action: Action, age: float) -> None:
    """Up to the last moment, and with a clock a little behind AWS's, the checkpoint is asked."""
    assert decide(notice(action=action, age=age), instance(), POLICY, NOW).is_checkpoint


def test_an_unknown_instance_has_vanished() -> None:
    """An id that EC2 does not know is an outcome, not an error."""
    plan = decide(notice(), None, POLICY, NOW)
    assert (plan.outcome, plan.reason) == (Outcome.VANISHED, "EC2 does not know this instance any more")


@pytest.mark.parametrize("state", ["shutting-down", "stopped", "stopping", "terminated"])
def test_an_instance_that_ends_has_vanished(state: str) -> None:
    """An instance that is stopping, stopped, shutting down or terminated runs nothing for us; the reason names its state."""
    plan = decide(notice(), instance(state=state), POLICY, NOW)
    assert (plan.outcome, plan.reason) == (Outcome.VANISHED, f"the instance is already {state}")


@pytest.mark.parametrize("state", ["pending", "running"])
def test_an_instance_that_lives_is_asked(state: str) -> None:
    """Even an instance that is only starting is asked: SSM knows better whether it can."""
    assert decide(notice(), instance(state=state), POLICY, NOW).is_checkpoint


def test_without_the_tag_it_is_not_opted_in() -> None:
    """An instance without the opt-in tag is logged only; the reason names the tag to set."""
    plan = decide(notice(), instance(opted_in=False), POLICY, NOW)
    assert plan.outcome is Outcome.NOT_OPTED_IN
    assert "spot-responder:checkpoint=enabled" in plan.reason


@pytest.mark.parametrize("value", ["Enabled", "enabled ", "", "true"])
def test_the_tag_counts_to_the_letter(value: str) -> None:
    """Another value of the opt-in tag, or another spelling, is not an opt-in."""
    here = instance()
    there = type(here)(here.instance_id, here.state, here.instance_type, here.zone, {"spot-responder:checkpoint": value})
    assert decide(notice(), there, POLICY, NOW).outcome is Outcome.NOT_OPTED_IN


def test_rebalance_does_not_act_unless_told() -> None:
    """With RebalanceResponse log, a recommendation is logged only, and the reason says whose choice that is."""
    plan = decide(rebalance(), instance(), LOG_ONLY, NOW)
    assert (plan.outcome, plan.reason) == (Outcome.LOGGED_ONLY, "RebalanceResponse is log")


def test_rebalance_response_is_about_rebalance_alone() -> None:
    """RebalanceResponse log does not keep an interruption from its checkpoint."""
    assert decide(notice(), instance(), LOG_ONLY, NOW).is_checkpoint


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (notice(), True),
        (rebalance(), True),
        (notice(action=Action.HIBERNATE), False),
        (notice(age=120), False),
        (rebalance(age=600), False),
    ],
)
def test_only_what_may_act_is_described(subject: Notice, *, expected: bool) -> None:
    """A notice whose plan does not depend on the instance costs no describe."""
    assert needs_describing(subject, NOW) is expected


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("age", [3, 119, 121, 601])
def test_describing_changes_nothing_where_it_is_not_needed(action: Action, age: float) -> None:
    """Where no describe is needed, the plan is the same whatever the instance is."""
    subject = notice(action=action, age=age)
    plans = {decide(subject, found, POLICY, NOW) for found in (None, instance(), instance(opted_in=False))}
    assert (len(plans) == 1) is not needs_describing(subject, NOW)


def test_the_interruption_supersedes_the_rebalance() -> None:
    """Of an interruption and a recommendation for one instance, whatever their order, only the interruption is acted upon."""
    both = [decide(subject, instance(), POLICY, NOW) for subject in (rebalance(), notice())]
    for plans in (both, both[::-1]):
        first, second = supersede(plans)
        assert (first.notice, first.is_checkpoint) == (notice(), True)
        assert (second.outcome, second.reason) == (Outcome.SUPERSEDED, "answered by the interruption that came with it")


def test_the_earlier_deadline_supersedes_the_later() -> None:
    """Of two warnings for one instance, the one that ends first is acted upon."""
    old, new = notice(age=10), notice(age=1)
    plans = supersede([decide(subject, instance(), POLICY, NOW) for subject in (new, old)])
    assert {plan.notice: plan.outcome for plan in plans} == {old: None, new: Outcome.SUPERSEDED}


def test_what_is_closed_supersedes_nothing() -> None:
    """A notice that is closed anyway keeps its own outcome, and takes no checkpoint from another."""
    plans = supersede([decide(notice(age=130), instance(), POLICY, NOW), decide(rebalance(), instance(), POLICY, NOW)])
    assert {plan.notice: plan.outcome for plan in plans} == {notice(age=130): Outcome.LATE, rebalance(): None}


def test_instances_do_not_supersede_each_other() -> None:
    """Each instance has its own checkpoint."""
    assert all(plan.is_checkpoint for plan in supersede(decide(notice(number), instance(number), POLICY, NOW) for number in range(5)))


NOTICES = st.builds(notice, st.integers(1, 4), action=st.sampled_from(Action), age=st.sampled_from([0, 3, 119, 130, 650]))
PLANS = st.lists(
    NOTICES.flatmap(
        lambda subject: st.builds(
            lambda found: decide(subject, found, POLICY, NOW),
            st.sampled_from([None, instance(), instance(opted_in=False), instance(state="stopped")]),
        )
    ),
    max_size=12,
)


@given(PLANS)
def test_at_most_one_checkpoint_for_an_instance(plans: list[Plan]) -> None:
    """Whatever comes together, each instance is asked once at most, for the interruption if there is one, and no notice is lost."""
    decided = supersede(plans)
    assert sorted(repr(plan.notice) for plan in decided) == sorted(repr(plan.notice) for plan in plans)
    for name in {plan.notice.instance_id for plan in plans}:
        before = [plan for plan in plans if plan.notice.instance_id == name and plan.is_checkpoint]
        after = [plan for plan in decided if plan.notice.instance_id == name and plan.is_checkpoint]
        assert len(after) == min(1, len(before))
        assert all(plan.notice.kind == min(one.notice.kind for one in before) for plan in after)
