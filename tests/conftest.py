"""What all tests share: the same examples in every run, and no AWS but the one that a test brings."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("spot-responder", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("spot-responder")


@pytest.fixture(scope="session", autouse=True)
def _credentials_that_mean_nothing() -> None:
    """Keep a developer's own credentials, Region and profile out of the tests, and botocore from looking for others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
