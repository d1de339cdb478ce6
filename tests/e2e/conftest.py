"""One sandbox for all end-to-end tests: started once, deployed into once, with a fleet to take instances from.

Time runs ten times as fast: an instance ends 12 s after its warning. (The responder's own deadlines are in the events
and stay two minutes.) All instances that the tests will ask for are launched while the stack is being deployed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sandbox import control
from sandbox.deploy import Sam, functions, outputs
from sandbox.fleet import Fleet
from sandbox.remote import Remote
from tests.e2e.deployment import ENDLESS, FAILING, NOT_MANAGED, NOT_OPTED_IN, PLAIN, Act, Deployed, unknown_id, wanted_of_pool
from tests.rights.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.story import Story

TIME_SCALE = 0.1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let test_rights.py judge what all the others have done."""
    items.sort(key=lambda item: item.path.name == "test_rights.py")


@pytest.fixture(scope="session")
def witness() -> Witness:
    """Who called what in the sandboxes of this run; a fixture that starts one lets it be watched."""
    return Witness()


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory, witness: Witness) -> Iterator[Deployed]:
    """A sandbox with the stack deployed by the real `sam build` and `sam deploy`, its fleet booted."""
    directory = tmp_path_factory.mktemp("sandbox")
    state = control.start(directory, port=0, time_scale=TIME_SCALE, boot_seconds=40)
    try:
        remote = Remote(state.endpoint)
        fleet = Fleet(remote, directory / "saved-work")
        with ThreadPoolExecutor(1) as pool:
            launching = pool.submit(fleet.launch, wanted_of_pool())
            sam = _deploy(state.endpoint, directory)
            launched = launching.result()
        fleet.await_ready(launched)
        stack = remote.client("cloudformation")
        with witness.watching(remote):
            yield Deployed(remote, sam, outputs(stack), functions(stack), fleet, launched)
    finally:
        control.stop(directory)


def _deploy(endpoint: str, directory: Path) -> Sam:
    sam = Sam(endpoint, directory)
    sam.build()
    sam.deploy()
    return sam


@pytest.fixture(scope="session")
def act(deployed: Deployed) -> Act:
    """One instance of each sort, warned at the same moment and watched until its end."""
    sorts = {
        "plain": PLAIN,
        "twice": PLAIN,
        "stopped": PLAIN,
        "failing": FAILING,
        "endless": ENDLESS,
        "not opted in": NOT_OPTED_IN,
        "not managed": NOT_MANAGED,
    }
    instance_ids = {sort: deployed.one(wanted) for sort, wanted in sorts.items()}
    story = deployed.story()
    twice, stopped = instance_ids["twice"], instance_ids["stopped"]
    deployed.remote.interrupt([twice], copies=2)
    deployed.remote.interrupt([stopped], "stop")
    instance_ids["unknown"] = unknown_id()
    deployed.remote.interrupt(set(instance_ids.values()) - {twice, stopped})
    ending = set(instance_ids.values()) - {instance_ids["unknown"]}
    story.wait(lambda told: ending <= _about(told, "instance_gone"), 60, "the end of every instance")
    story.wait(lambda told: set(instance_ids.values()) <= _about(told, "notice_closed"), 20, "an outcome for every notice")
    return Act(instance_ids, story)


def _about(story: Story, event: str) -> set[str]:
    """Return the instances of which such a line tells."""
    return {line.fields["instance_id"] for line in story.find(event=event)}
