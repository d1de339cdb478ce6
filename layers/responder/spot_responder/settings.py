"""The functions' settings: environment variables that the template sets from its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from spot_responder.domain.errors import ConfigurationError
from spot_responder.domain.instances import OptInTag
from spot_responder.domain.plans import Policy, RebalanceResponse

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """What all four functions are told. Raises ``ConfigurationError`` from ``from_env`` where something is missing."""

    notices_table: str
    jobs_table: str
    checkpoint_document: str
    policy: Policy
    keep: timedelta
    shards: int = 1

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings."""
        return cls(
            notices_table=_required(env, "NOTICES_TABLE"),
            # Empty where the job part is not deployed.
            jobs_table=env.get("JOBS_TABLE", ""),
            checkpoint_document=_required(env, "CHECKPOINT_DOCUMENT"),
            policy=Policy(
                OptInTag(_required(env, "OPT_IN_TAG_KEY"), _required(env, "OPT_IN_TAG_VALUE")),
                _rebalance_response(_required(env, "REBALANCE_RESPONSE")),
            ),
            keep=timedelta(days=_count("RETENTION_DAYS", _required(env, "RETENTION_DAYS"), "days")),
            # One, unless the stack says otherwise.
            shards=_count("SHARDS", env.get("SHARDS") or "1", "shards"),
        )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise ConfigurationError(f"the environment variable {name} is missing: deploy the stack again, its template sets it")
    return value


def _rebalance_response(value: str) -> RebalanceResponse:
    try:
        return RebalanceResponse(value)
    except ValueError:
        allowed = " or ".join(RebalanceResponse)
        raise ConfigurationError(f"REBALANCE_RESPONSE is {value!r}: expected {allowed}") from None


def _count(name: str, value: str, of_what: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ConfigurationError(f"{name} is {value!r}: expected a whole number of {of_what}, 1 or more")
    return int(value)
