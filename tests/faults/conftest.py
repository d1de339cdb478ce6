"""The stage on which the fault tests play."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.cloud import Stage, starting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Return a stage: the functions, with their real clients, above an AWS that each test brings."""
    with pytest.MonkeyPatch.context() as patch:
        yield from starting(patch)
