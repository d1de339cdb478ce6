"""What all tests share: the same examples in every run, but for the long ones, and no AWS but the one that a test brings."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import settings

settings.register_profile("spot-responder", deadline=None, derandomize=True, database=None, max_examples=60)
settings.register_profile("long", settings.get_profile("spot-responder"), derandomize=False, print_blob=True)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let a run of the long tests draw other examples each time, from a seed that is told."""
    is_long = config.option.markexpr == "slow"
    settings.load_profile("long" if is_long else "spot-responder")
    if is_long and config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(secrets.randbits(32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to draw the same examples again."""
    if config.option.markexpr == "slow":
        terminalreporter.write_line(f"The same examples again: -m slow --hypothesis-seed={config.option.hypothesis_seed}")


@pytest.fixture(scope="session", autouse=True)
def _credentials_that_mean_nothing() -> None:
    """Keep a developer's own credentials, Region and profile out of the tests, and botocore from looking for others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
