"""After all other tests of this folder: every way through the definitions was taken by one of them, and no history surprised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.statemachine.definitions import NAMES, definition, states, ways
from tests.statemachine.histories import events_of_visit, most_tries

if TYPE_CHECKING:
    from tests.statemachine.stage import Stage
    from tests.statemachine.taken import Way


@pytest.mark.parametrize("name", NAMES)
def test_every_way_was_taken(stage: Stage, request: pytest.FixtureRequest, name: str) -> None:
    """Every choice with its Default, every catch and every retry of the definition was taken."""
    if request.config.option.keyword or _modules() - {item.path for item in request.session.items} or "::" in "".join(request.config.args):
        pytest.skip("only some of this folder's tests ran")
    assert _all_ways(stage, name) - stage.ways[name] == set()


def test_no_visit_is_longer_than_counted(stage: Stage) -> None:
    """No visit of a state added more events to a history than the count of the definition's graph takes it to add."""
    found = {name: states(definition(name, stage.values)) for name in NAMES}
    for name, state, tries, events in stage.visits:
        assert tries <= most_tries(found[name][state])
        assert events <= events_of_visit(found[name][state], tries), (state, tries, events)


def _modules() -> set[Path]:
    return set(Path(__file__).parent.glob("test_*.py"))


def _all_ways(stage: Stage, name: str) -> set[Way]:
    machine = definition(name, stage.values)
    retries = {(state, f"Retry {number}", state) for state, how in states(machine).items() for number, _ in enumerate(how.get("Retry", []))}
    return set(ways(machine)) | retries
