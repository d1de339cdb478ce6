"""docs/security.md is what the template says."""

from __future__ import annotations

from tests.rights.policies import actions
from tests.rights.roles import resource_policies, roles
from tests.rights.table import LET_IN, PAGE, WHY, _principal, page, whys


def test_the_page_is_up_to_date() -> None:
    """The page is what its generator makes of the template: ``python -m tests.rights.table`` writes it."""
    assert PAGE.read_text() == page()


def test_every_right_has_its_reason() -> None:
    """Each action of a role has one reason, and no reason stands there for an action that is not granted."""
    assert {role: set(whys(role)) for role in roles()} == {role: actions(statements) for role, statements in roles().items()}
    assert WHY.keys() <= roles().keys()


def test_everybody_who_is_let_in_has_a_reason() -> None:
    """The same holds for the policies of queue, topic, key and bucket."""
    assert {(policy, _principal(statement)) for policy, statements in resource_policies().items() for statement in statements} == LET_IN.keys()
