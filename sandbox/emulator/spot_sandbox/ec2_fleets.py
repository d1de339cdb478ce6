"""CreateFleet of type ``instant``: what is launched at once over several pools, and why the rest is not. Pure.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html
"""

from collections.abc import Callable
from typing import Any

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Instance, LaunchSpec

type Json = dict[str, Any]
type Choice = tuple[Json, LaunchSpec]
type Launch = Callable[[LaunchSpec, str, int], list[Instance]]
"""Launches that many instances of a specification on a market, or raises ApiError when its pool lacks them."""

STRATEGIES = {
    "lowest-price", "diversified", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized",
}  # fmt: skip


def check_fleet(request: Json) -> None:
    """Refuse fleets that EC2 would refuse, and those that the sandbox cannot launch."""
    if request.get("Type") != "instant":
        raise ApiError("UnsupportedOperation", "The sandbox launches fleets of type 'instant' only")
    if not request.get("LaunchTemplateConfigs"):
        raise ApiError("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs")
    overrides = [override for config in request["LaunchTemplateConfigs"] for override in config.get("Overrides") or []]
    if any(override.get("InstanceRequirements") or override.get("WeightedCapacity", 1) != 1 for override in overrides):
        raise ApiError("UnsupportedOperation", "The sandbox launches fleets by InstanceType and whole instances only")
    strategy = (request.get("SpotOptions") or {}).get("AllocationStrategy", "lowest-price")
    if strategy not in STRATEGIES:
        raise ApiError("InvalidParameterValue", f"Value ({strategy}) for parameter AllocationStrategy is invalid.")
    if (request.get("TargetCapacitySpecification") or {}).get("TotalTargetCapacity") is None:
        raise ApiError("MissingParameter", "The request must contain the parameter TotalTargetCapacity")


def check_pools(choices: list[Choice]) -> None:
    """Refuse two choices of one pool: "An EC2 Fleet request can't span different subnets from the same Availability Zone" (EC2 User Guide)."""
    pools = [spec.pool for _, spec in choices]
    if len(set(pools)) < len(pools):
        raise ApiError("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools.")


def targets(request: Json) -> dict[str, int]:
    """Return how many instances are wanted on each market."""
    wanted = request["TargetCapacitySpecification"]
    total = wanted["TotalTargetCapacity"]
    default = wanted.get("DefaultTargetCapacityType") or "on-demand"
    counts = {"spot": wanted.get("SpotTargetCapacity") or 0, "on-demand": wanted.get("OnDemandTargetCapacity") or 0}
    rest = total - sum(counts.values())
    if rest < 0:
        raise ApiError("InvalidParameterValue", "The target capacities of the markets exceed TotalTargetCapacity")
    counts["spot" if default in {"spot", "capacity-block"} else "on-demand"] += rest
    return counts


def fill(choices: list[Choice], market: str, count: int, launch: Launch) -> tuple[list[Json], list[Json]]:
    """Launch `count` instances over the choices in their order; return the API's ``Instances`` and ``Errors``.

    A pool that has some but not all gives what it has, as EC2 does for a fleet.
    """
    launched: list[Json] = []
    errors: list[Json] = []
    for shown, spec in choices:
        if count == 0:
            break
        instances, error = _drain(spec, market, count, launch)
        count -= len(instances)
        if instances:
            launched.append(_launched(shown, spec, market, instances))
        if error is not None:
            errors.append(_error(shown, market, error.code, error.message))
    if count and not launched:
        errors.append(_error(choices[0][0], market, "UnfulfillableCapacity", UNFULFILLABLE))
    return launched, errors


UNFULFILLABLE = "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again."


def _drain(spec: LaunchSpec, market: str, count: int, launch: Launch) -> tuple[list[Instance], ApiError | None]:
    """Launch as many of `count` as the pool has, all at once if possible."""
    try:
        return launch(spec, market, count), None
    except ApiError as error:
        if count == 1 or error.code != "InsufficientInstanceCapacity":
            return [], error
    instances: list[Instance] = []
    try:
        for _ in range(count):
            instances += launch(spec, market, 1)
    except ApiError as error:
        return instances, error
    return instances, None


def _launched(shown: Json, spec: LaunchSpec, market: str, instances: list[Instance]) -> Json:
    return {
        "LaunchTemplateAndOverrides": shown,
        "Lifecycle": market,
        "InstanceIds": [instance.id for instance in instances],
        "InstanceType": spec.instance_type,
    }


def _error(shown: Json, market: str, code: str, message: str) -> Json:
    return {"LaunchTemplateAndOverrides": shown, "Lifecycle": market, "ErrorCode": code, "ErrorMessage": message}
