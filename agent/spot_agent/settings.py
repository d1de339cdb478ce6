"""What the agent is told: the file ``agent.json`` and three variables of the environment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spot_agent.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """Where the jobs are (``jobs_table``, ``region``), and the agent's own directories.

    ``work`` is where the program works and must have room for its checkpoint three times; ``state`` holds the socket and the lock.
    """

    jobs_table: str
    region: str
    state: Path
    work: Path
    is_supervised: bool

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Settings:
        """Read them; raise Misconfigured with the file's and the key's name for what is missing or wrong."""
        file = Path(environment.get("SPOT_RESPONDER_CONFIG_DIR", "/etc/spot-responder")) / "agent.json"
        try:
            raw = json.loads(file.read_text())
            jobs_table, region = raw["jobs_table"], raw["region"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Misconfigured(f"{file}: expected a JSON object with jobs_table and region: {error!r}") from error
        return cls(
            jobs_table=jobs_table,
            region=region,
            state=Path(environment.get("SPOT_RESPONDER_STATE_DIR", "/run/spot-responder")) / "agent",
            work=Path(environment.get("SPOT_RESPONDER_HOME", "/opt/spot-responder")) / "work",
            is_supervised=environment.get("SPOT_RESPONDER_SUPERVISED") == "1",
        )
