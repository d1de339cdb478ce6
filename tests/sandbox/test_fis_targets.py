"""Which instances an experiment's target means."""

import random
from typing import Any

import pytest

from spot_sandbox.fis_targets import resolve
from tests.sandbox.stage import instance

TARGET = {"resourceType": "aws:ec2:spot-instance", "resourceTags": {"Name": "Fis/Spot"}, "selectionMode": "ALL"}
RUNNING = {"filters": [{"path": "State.Name", "values": ["running"]}]}


def ids(target: dict[str, Any], *instances: Any) -> list[str]:
    """Return the ids of the instances that a target means."""
    return [found.id for found in resolve(target, list(instances), random.Random(1))]


def test_tags_must_all_match() -> None:
    """Every resource tag must be there with its value."""
    target = TARGET | {"resourceTags": {"Name": "Fis/Spot", "team": "a"}}
    assert ids(target, instance("i-1"), instance("i-2", tags={"Name": "Fis/Spot", "team": "a"}), instance("i-3", tags={})) == ["i-2"]


def test_on_demand_is_no_spot_instance() -> None:
    """The type aws:ec2:spot-instance leaves On-Demand Instances out, aws:ec2:instance does not."""
    both = (instance("i-1"), instance("i-2", spot=None))
    assert ids(TARGET, *both) == ["i-1"]
    assert ids(TARGET | {"resourceType": "aws:ec2:instance"}, *both) == ["i-1", "i-2"]


def test_only_a_filter_keeps_terminated_instances_out() -> None:
    """Without a filter on the state, terminated instances are targets, too."""
    both = (instance("i-1"), instance("i-2", state="terminated"))
    assert ids(TARGET, *both) == ["i-1", "i-2"]
    assert ids(TARGET | RUNNING, *both) == ["i-1"]


@pytest.mark.parametrize(
    ("path", "values", "found"),
    [
        ("Placement.AvailabilityZone", ["us-east-1a"], True),
        ("Placement.AvailabilityZone", ["us-east-1b"], False),
        ("SecurityGroups.GroupId", ["sg-9", "sg-1"], True),
        ("State.Code", ["16"], True),
        ("Nothing.Here", ["x"], False),
    ],
)
def test_filters_read_what_describe_instances_shows(path: str, values: list[str], found: bool) -> None:  # noqa: FBT001  a column
    """A path leads through objects and lists of DescribeInstances' answer."""
    assert bool(ids(TARGET | {"filters": [{"path": path, "values": values}]}, instance("i-1"))) is found


def test_arns() -> None:
    """A target by ARN means exactly those instances."""
    target = {"resourceType": "aws:ec2:spot-instance", "resourceArns": [instance("i-2").arn], "selectionMode": "ALL"}
    assert ids(target, instance("i-1"), instance("i-2", tags={})) == ["i-2"]


@pytest.mark.parametrize(
    ("mode", "count"), [("ALL", 5), ("COUNT(3)", 3), ("COUNT(9)", 5), ("PERCENT(50)", 2), ("PERCENT(19)", 0), ("PERCENT(100)", 5)]
)
def test_selection(mode: str, count: int) -> None:
    """COUNT takes what there is at most, PERCENT rounds down; nobody is chosen twice."""
    chosen = ids(TARGET | {"selectionMode": mode}, *(instance(f"i-{n}") for n in range(5)))
    assert len(set(chosen)) == len(chosen) == count
