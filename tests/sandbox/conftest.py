"""One sandbox for all tests in this folder that need one, with a port and a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox import control
from sandbox.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.State]:
    """A running sandbox whose time goes twenty times as fast: an instance boots in 2 s and ends 6 s after its warning."""
    directory = tmp_path_factory.mktemp("sandbox")
    state = control.start(directory, port=0, time_scale=0.05, boot_seconds=40)
    yield state
    control.stop(directory)


@pytest.fixture(scope="session")
def aws(sandbox: control.State) -> Callable[[str], Any]:
    """Makes boto3 clients of the sandbox: ``aws("ec2")``."""
    return Remote(sandbox.endpoint).client
