"""What all tests share: the same examples in every run, and no AWS but the one that a test brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator

settings.register_profile("spot-responder", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("spot-responder")


SHARING = {"e2e", "sandbox", "statemachine"}
"""Folders whose tests share a sandbox."""
ALONE = "test_demo.py"
"""Brings a sandbox of its own into a folder of those."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests run in one process where `make test` runs two: those of a file, or of a folder that shares a sandbox."""
    folder, *rest = item.path.relative_to(Path(__file__).parent).parts
    shares = folder in SHARING and rest != [ALONE]
    item.add_marker(pytest.mark.xdist_group(folder if shares else "-".join([folder, *rest])))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell out lone surrogates, which hostile input has and which one process cannot send to another."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def _credentials_that_mean_nothing() -> None:
    """Keep a developer's own credentials, Region and profile out of the tests, and botocore from looking for others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
