"""What the unit tests share: an AWS that answers at the end of botocore's HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.aws import AwsOverHttp

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def installed() -> Iterator[AwsOverHttp]:
    """Return the AWS of this module's clients: building a client takes longer than a test."""
    aws = AwsOverHttp()
    with pytest.MonkeyPatch.context() as patch:
        aws.install(patch)
        yield aws


@pytest.fixture
def aws(installed: AwsOverHttp) -> AwsOverHttp:
    """Return that AWS as if nothing had been asked or promised yet."""
    installed.forget()
    return installed
