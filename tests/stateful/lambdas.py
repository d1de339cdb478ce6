"""The functions in this world: their real handlers, with clients of its account and its time."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

from spot_responder.adapters import clients
from spot_responder.adapters.system_clock import SystemClock
from tests.lambdas import forget_parts, start_cold

if TYPE_CHECKING:
    import pytest

    from tests.stateful.account import Client
    from tests.stateful.world import World


@dataclass(slots=True)
class Session:
    """What the functions take for botocore's session."""

    world: World

    def get_component(self, _name: str) -> SimpleNamespace:
        """Return a data loader, which has nothing to load."""
        return SimpleNamespace(search_paths=[clients.MODELS])

    def create_client(self, service: str, **_: object) -> Client:
        """Return a client."""
        return self.world.client(service, "function:")


def install(patch: pytest.MonkeyPatch, world: World, *, rebalance: str, shards: int) -> None:
    """Let the functions live in a world; what they tell is not kept."""
    session = Session(world)
    patch.setattr(clients, "_session", lambda: session)
    patch.setattr(SystemClock, "now", lambda _: datetime.fromtimestamp(world.now, UTC))
    # While a function waits, the world goes on.
    patch.setattr(SystemClock, "sleep", lambda _, seconds: world.run_for(seconds))
    patch.setattr(sys, "stdout", io.StringIO())
    # pytest's own, which would keep every line.
    patch.setattr(logging.root, "handlers", [])
    start_cold(patch)
    patch.setenv("AWS_LAMBDA_FUNCTION_NAME", "Stateful")
    patch.setenv("JOBS_TABLE", "jobs")
    patch.setenv("REBALANCE_RESPONSE", rebalance)
    patch.setenv("SHARDS", str(shards))
    forget_parts()
