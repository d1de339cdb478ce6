"""The settings that the template passes on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot_responder.domain.errors import ConfigurationError
from spot_responder.domain.instances import OptInTag
from spot_responder.domain.plans import Policy, RebalanceResponse
from spot_responder.settings import Settings

ENVIRONMENT = {
    "NOTICES_TABLE": "spot-responder-notices",
    "CHECKPOINT_DOCUMENT": "spot-responder-checkpoint",
    "OPT_IN_TAG_KEY": "Name",
    "OPT_IN_TAG_VALUE": "Fis/Spot",
    "REBALANCE_RESPONSE": "log",
    "RETENTION_DAYS": "30",
}


def test_settings_are_read() -> None:
    """Each variable reaches its setting."""
    assert Settings.from_env(ENVIRONMENT | {"PATH": "/usr/bin", "JOBS_TABLE": "spot-responder-jobs"}) == Settings(
        "spot-responder-notices",
        "spot-responder-jobs",
        "spot-responder-checkpoint",
        Policy(OptInTag("Name", "Fis/Spot"), RebalanceResponse.LOG),
        timedelta(days=30),
    )


@pytest.mark.parametrize("name", ENVIRONMENT)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(name: str, value: str | None) -> None:
    """A variable that is missing or empty is one sentence that says which, and what to do."""
    environment = {key: text for key, text in (ENVIRONMENT | {name: value}).items() if text is not None}
    with pytest.raises(ConfigurationError, match=rf"^the environment variable {name} is missing: deploy the stack again"):
        Settings.from_env(environment)


@pytest.mark.parametrize(("value", "shards"), [(None, 1), ("", 1), ("1", 1), ("4", 4)])
def test_there_is_one_shard_unless_told(value: str | None, shards: int) -> None:
    """The number of shards is the stack's; without a word it is one, as it was before there were any."""
    told = {} if value is None else {"SHARDS": value}
    assert Settings.from_env(ENVIRONMENT | told).shards == shards


@pytest.mark.parametrize("environment", [ENVIRONMENT, ENVIRONMENT | {"JOBS_TABLE": ""}])
def test_there_may_be_no_job_part(environment: dict[str, str]) -> None:
    """Where the job part is not deployed, there is no jobs table, and that is no error."""
    assert Settings.from_env(environment).jobs_table == ""


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("REBALANCE_RESPONSE", "Checkpoint", "expected log or checkpoint or replace"),
        ("REBALANCE_RESPONSE", "False", "expected log or checkpoint or replace"),
        ("RETENTION_DAYS", "0", "expected a whole number of days, 1 or more"),
        ("RETENTION_DAYS", "-1", "expected a whole number of days, 1 or more"),
        ("RETENTION_DAYS", "1.5", "expected a whole number of days, 1 or more"),
        ("RETENTION_DAYS", "²", "expected a whole number of days, 1 or more"),
        ("SHARDS", "0", "expected a whole number of shards, 1 or more"),
        ("SHARDS", "many", "expected a whole number of shards, 1 or more"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, expected: str) -> None:
    """A value that makes no sense is named with its variable, itself and what was expected."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(ENVIRONMENT | {name: value})
    assert str(caught.value) == f"{name} is {value!r}: {expected}"
