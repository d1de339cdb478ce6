"""Errors on demand: which calls fail."""

from typing import Any

import pytest

from spot_sandbox.fault_rules import Fault, read

DESCRIBE = {"service": "ec2", "operation": "DescribeInstances", "code": "RequestLimitExceeded"}


def struck(fault: Fault, calls: int, *, at: float = 0.0, chance: float = 0.0) -> int:
    """Return how many of so many calls at one moment fail."""
    return sum(fault.strikes("ec2", "DescribeInstances", now=at, chance=chance) for _ in range(calls))


def test_count() -> None:
    """A counted fault strikes that often and then no more."""
    assert struck(read(DESCRIBE | {"count": 3}), 10) == 3


def test_only_its_operation() -> None:
    """Other operations and services are left alone; * means all of the service."""
    fault = read(DESCRIBE)
    assert not fault.strikes("ec2", "RunInstances", now=0, chance=0)
    assert not fault.strikes("ssm", "DescribeInstances", now=0, chance=0)
    assert read({"service": "ec2", "code": "X"}).strikes("ec2", "RunInstances", now=0, chance=0)


def test_only_its_session() -> None:
    """With a session only the calls of that instance are struck, and counted."""
    fault = read(DESCRIBE | {"session": "i-1", "count": 1})
    assert not fault.strikes("ec2", "DescribeInstances", now=0, chance=0, session="i-2")
    assert not fault.strikes("ec2", "DescribeInstances", now=0, chance=0)
    assert fault.strikes("ec2", "DescribeInstances", now=0, chance=0, session="i-1")


def test_rate() -> None:
    """With a rate the random number decides."""
    fault = read(DESCRIBE | {"rate": 0.5})
    assert struck(fault, 1, chance=0.49) == 1
    assert struck(fault, 1, chance=0.5) == 0


def test_bucket() -> None:
    """A bucket lets its burst through at once and then so many a second, and never saves up more than the burst."""
    fault = read(DESCRIBE | {"per_second": 2, "burst": 5})
    assert struck(fault, 8, at=100) == 3
    assert struck(fault, 3, at=101) == 1
    assert struck(fault, 8, at=1000) == 3


def test_throttling_of_ec2_has_its_own_status() -> None:
    """RequestLimitExceeded comes with status 503 and EC2's sentence, others with 400."""
    assert (read(DESCRIBE).status, read(DESCRIBE).message) == (503, "Request limit exceeded.")
    assert read({"service": "ssm", "code": "ThrottlingException"}).status == 400


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": "3"}, {"rate": 2}, {"per_second": 0}, {"per_second": 1, "burst": 0.5}])
def test_faults_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """Numbers out of bounds are refused."""
    with pytest.raises(ValueError, match="must"):
        read(DESCRIBE | wrong)


def test_fault_needs_a_code() -> None:
    """Without a code there is no fault."""
    with pytest.raises(KeyError):
        read({"service": "ec2"})
