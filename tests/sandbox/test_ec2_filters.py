"""The filters of DescribeInstances."""

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_filters import INSTANCE_FILTERS, matches
from tests.sandbox.stage import instance


@pytest.mark.parametrize(
    ("name", "values", "holds"),
    [
        ("instance-id", ["i-0123456789abcdef0", "i-00000000"], True),
        ("instance-id", ["i-00000000"], False),
        ("instance-lifecycle", ["spot"], True),
        ("instance-state-name", ["pending", "running"], True),
        ("instance-state-name", ["stopped"], False),
        ("tag:Name", ["Fis/Spot"], True),
        ("tag:Name", ["fis/spot"], False),
        ("tag:Name", ["Fis/*"], True),
        ("tag:Name", ["Fis?Spot"], True),
        ("tag:Name", [r"Fis\*"], False),
        ("tag:Other", ["*"], False),
        ("tag-key", ["Name"], True),
        ("availability-zone", ["us-east-1a"], True),
        ("instance-type", ["m5.*"], True),
        ("iam-instance-profile.arn", ["*/p"], True),
        ("instance-state-code", ["16"], True),
    ],
)
def test_filter(name: str, values: list[str], holds: bool) -> None:  # noqa: FBT001  a column of the table
    """Values are alternatives, with wildcards, case counts."""
    assert matches(instance(), [{"Name": name, "Values": values}], INSTANCE_FILTERS) is holds


def test_all_filters_must_hold() -> None:
    """Several filters are joined by and."""
    filters = [{"Name": "tag:Name", "Values": ["Fis/Spot"]}, {"Name": "instance-state-name", "Values": ["stopped"]}]
    assert not matches(instance(), filters, INSTANCE_FILTERS)


def test_on_demand_has_no_lifecycle() -> None:
    """An On-Demand Instance does not match the filter instance-lifecycle at all."""
    assert not matches(instance(spot=None), [{"Name": "instance-lifecycle", "Values": ["*"]}], INSTANCE_FILTERS)


def test_unknown_filter_is_refused() -> None:
    """A filter that EC2 does not know is an error, not an empty answer."""
    with pytest.raises(ApiError) as refused:
        matches(instance(), [{"Name": "colour", "Values": ["red"]}], INSTANCE_FILTERS)
    assert refused.value.code == "InvalidParameterValue"
    assert refused.value.message == "The filter 'colour' is invalid"


def test_a_filter_takes_200_values() -> None:
    """200 values pass, 201 do not."""
    assert not matches(instance(), [{"Name": "instance-id", "Values": ["x"] * 200}], INSTANCE_FILTERS)
    with pytest.raises(ApiError) as refused:
        matches(instance(), [{"Name": "instance-id", "Values": ["x"] * 201}], INSTANCE_FILTERS)
    assert refused.value.code == "FilterLimitExceeded"
