"""One sandbox for all tests of the definitions, whose waits take a thousandth of their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import control
from tests.statemachine.stage import Stage, set_stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage on a sandbox of its own."""
    directory = tmp_path_factory.mktemp("statemachine")
    state = control.start(directory, port=0, time_scale=0.001, boot_seconds=40)
    yield set_stage(state.endpoint)
    control.stop(directory)


@pytest.fixture
def stage(theatre: Stage) -> Iterator[Stage]:
    """That stage, on which everything works when a test begins."""
    yield theatre
    theatre.plenty()
