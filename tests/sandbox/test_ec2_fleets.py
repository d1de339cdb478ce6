"""Capacity pools, and fleets that are filled from them."""

from typing import Any

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_capacity import Capacity, no_capacity
from spot_sandbox.ec2_fleets import check_fleet, check_pools, fill, targets
from spot_sandbox.ec2_instances import Instance, LaunchSpec
from tests.sandbox.stage import instance, spec

LARGE = ({"Overrides": {"InstanceType": "m5.large"}}, spec())
SMALL = ({"Overrides": {"InstanceType": "m5.small"}}, spec(instance_type="m5.small"))


class Launcher:
    """Launches from pools that hold so many instances."""

    def __init__(self, **left: int) -> None:
        self.capacity = Capacity()
        self.capacity.limit("spot", {f"m5.{size}:us-east-1a": count for size, count in left.items()})

    def launch(self, wanted: LaunchSpec, market: str, count: int) -> list[Instance]:
        """Launch all, or refuse as EC2 does."""
        if not self.capacity.take(market, wanted.pool, count):
            raise no_capacity(market, wanted.instance_type, wanted.subnet.zone)
        return [instance(f"i-{n:08x}") for n in range(count)]


def _counts(launched: list[dict[str, Any]]) -> dict[str, int]:
    return {entry["InstanceType"]: len(entry["InstanceIds"]) for entry in launched}


def test_first_pool_serves_all_while_it_can() -> None:
    """A fleet is launched into its first pool when that has enough."""
    launched, errors = fill([LARGE, SMALL], "spot", 3, Launcher(large=5).launch)
    assert _counts(launched) == {"m5.large": 3}
    assert errors == []


def test_a_pool_is_named_once() -> None:
    """EC2 refuses a fleet that names a pool, an instance type in a zone, twice."""
    check_pools([LARGE, SMALL])
    with pytest.raises(ApiError, match="duplicate instance pools"):
        check_pools([LARGE, SMALL, LARGE])


def test_next_pool_serves_the_rest() -> None:
    """What one pool lacks comes from the next, and the answer says which pool was short, and why."""
    launched, errors = fill([LARGE, SMALL], "spot", 3, Launcher(large=1).launch)
    assert _counts(launched) == {"m5.large": 1, "m5.small": 2}
    assert [(e["ErrorCode"], e["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"]) for e in errors] == [
        ("InsufficientInstanceCapacity", "m5.large")
    ]


def test_no_pool_has_anything() -> None:
    """With nothing launched, every pool's reason is there and the fleet's own besides."""
    launched, errors = fill([LARGE, SMALL], "spot", 2, Launcher(large=0, small=0).launch)
    assert launched == []
    assert [e["ErrorCode"] for e in errors] == ["InsufficientInstanceCapacity", "InsufficientInstanceCapacity", "UnfulfillableCapacity"]
    assert all(e["Lifecycle"] == "spot" for e in errors)


def test_star_speaks_for_every_pool() -> None:
    """The pool * limits all that are not named, and takes back what was said before."""
    capacity = Capacity()
    capacity.limit("spot", {"m5.large:us-east-1a": 7})
    capacity.limit("spot", {"*": 0, "m5.small:us-east-1a": 1})
    assert capacity.left("spot", "m5.large:us-east-1a") == 0
    assert capacity.left("spot", "m5.small:us-east-1a") == 1
    assert capacity.left("on-demand", "m5.large:us-east-1a") is None


def test_capacity_counts_down_pool_by_pool() -> None:
    """Under * each pool has its own count."""
    capacity = Capacity()
    capacity.limit("spot", {"*": 1})
    assert capacity.take("spot", "a", 1)
    assert not capacity.take("spot", "a", 1)
    assert capacity.take("spot", "b", 1)


def test_no_capacity_is_a_server_error() -> None:
    """EC2 answers a launch into an empty pool with status 500."""
    assert no_capacity("spot", "m5.large", "us-east-1a").status == 500


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        ({"TotalTargetCapacity": 3, "DefaultTargetCapacityType": "spot"}, {"spot": 3, "on-demand": 0}),
        ({"TotalTargetCapacity": 3}, {"spot": 0, "on-demand": 3}),
        ({"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}, {"spot": 2, "on-demand": 1}),
    ],
)
def test_targets_by_market(capacity: dict[str, Any], expected: dict[str, int]) -> None:
    """What no market claims goes to the default one."""
    assert targets({"TargetCapacitySpecification": capacity}) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"Type": "maintain"},
        {"LaunchTemplateConfigs": []},
        {"LaunchTemplateConfigs": [{"Overrides": [{"WeightedCapacity": 2}]}]},
        {
            "LaunchTemplateConfigs": [
                {"Overrides": [{"InstanceRequirements": {}, "InstanceType": "m5.large"}, {"InstanceRequirements": {"VCpuCount": {}}}]}
            ]
        },
        {"SpotOptions": {"AllocationStrategy": "x"}},
    ],
)
def test_fleets_that_are_refused(change: dict[str, Any]) -> None:
    """Other types, fleets without a template, weights, attributes instead of types, and unknown strategies are refused."""
    request = {"Type": "instant", "LaunchTemplateConfigs": [{}], "TargetCapacitySpecification": {"TotalTargetCapacity": 1}}
    check_fleet(request)
    with pytest.raises(ApiError):
        check_fleet(request | change)
