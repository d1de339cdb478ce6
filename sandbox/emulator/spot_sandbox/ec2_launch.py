"""From the parameters of RunInstances, CreateFleet and RequestSpotInstances to launch specifications."""

from dataclasses import replace
from typing import Any

from spot_sandbox.ec2_instances import LaunchSpec, SpotOptions, tags_for
from spot_sandbox.ec2_lookups import Lookups
from spot_sandbox.ec2_requests import METADATA_DEFAULTS, check_launch, check_spot, check_tags, launch_data

type Json = dict[str, Any]

DEFAULT_TYPE = "m1.small"


def run_spec(lookups: Lookups, request: Json) -> LaunchSpec:
    """Return what RunInstances asks for, its launch template included."""
    reference = request.get("LaunchTemplate")
    data = launch_data(lookups.template(reference) if reference else None, request)
    market = data.get("InstanceMarketOptions") or {}
    options = None
    if market.get("MarketType") == "spot":
        options = spot_options(market.get("SpotOptions") or {})
    return specification(lookups, data, options)


def specification(lookups: Lookups, data: Json, spot: SpotOptions | None) -> LaunchSpec:
    """Return the specification for merged launch data; raise ApiError for what EC2 refuses."""
    check_launch(data, 1)
    subnet = lookups.subnet(data.get("SubnetId"), (data.get("Placement") or {}).get("AvailabilityZone"))
    profile, role = lookups.profile(data.get("IamInstanceProfile"))
    tags = tags_for("instance", data.get("TagSpecifications"))
    options = METADATA_DEFAULTS | (data.get("MetadataOptions") or {})
    check_tags({key: value for key, value in tags.items() if not key.startswith("aws:ec2launchtemplate:")}, options)
    return LaunchSpec(
        image_id=lookups.image(data["ImageId"]),
        instance_type=data.get("InstanceType") or DEFAULT_TYPE,
        subnet=subnet,
        groups=lookups.groups(data.get("SecurityGroupIds") or [], data.get("SecurityGroups") or [], subnet.vpc_id),
        key_name=data.get("KeyName"),
        user_data=data.get("UserData") or "",
        profile=profile,
        role_arn=role,
        spot=spot,
        metadata_options=options,
        tags=tags,
        shutdown_behavior=data.get("InstanceInitiatedShutdownBehavior") or "stop",
        ebs_optimized=bool(data.get("EbsOptimized")),
        monitoring=bool((data.get("Monitoring") or {}).get("Enabled")),
        termination_protection=bool(data.get("DisableApiTermination")),
    )


def spot_options(options: Json) -> SpotOptions:
    """Return the Spot options of a launch, checked."""
    check_spot(options)
    return SpotOptions(
        options.get("SpotInstanceType") or "one-time",
        options.get("InstanceInterruptionBehavior") or "terminate",
        options.get("MaxPrice"),
    )


def requested_spec(lookups: Lookups, request: Json) -> LaunchSpec:
    """Return what RequestSpotInstances asks for."""
    options = {
        "SpotInstanceType": request.get("Type"),
        "InstanceInterruptionBehavior": request.get("InstanceInterruptionBehavior"),
        "MaxPrice": request.get("SpotPrice"),
    }
    data = launch_data(None, request.get("LaunchSpecification") or {})
    # The tags of the call are the request's, not those of its instances.
    data["TagSpecifications"] = []
    return specification(lookups, data, spot_options({key: value for key, value in options.items() if value}))


def fleet_choices(lookups: Lookups, request: Json) -> list[tuple[Json, LaunchSpec]]:
    """Return what CreateFleet may launch, in the order in which it is tried: each with what its answer calls it.

    Each launch template stands for itself, or for one choice per override. An override's ``Priority`` puts it first.
    """
    tags = request.get("TagSpecifications")
    choices: list[tuple[float, Json, LaunchSpec]] = []
    for config in request.get("LaunchTemplateConfigs") or []:
        reference = config["LaunchTemplateSpecification"]
        template = lookups.template(reference)
        for override in config.get("Overrides") or [{}]:
            own = {key: override.get(key) for key in ("InstanceType", "SubnetId", "ImageId", "Placement")}
            if override.get("AvailabilityZone"):
                own["Placement"] = {"AvailabilityZone": override["AvailabilityZone"]}
            data = launch_data(template, {**own, "TagSpecifications": tags or []})
            spec = specification(lookups, data, None)
            shown = {"LaunchTemplateSpecification": reference, "Overrides": _shown_override(override, spec)}
            choices.append((override.get("Priority", float("inf")), shown, spec))
    return [(shown, spec) for _, shown, spec in sorted(choices, key=lambda choice: choice[0])]


def _shown_override(override: Json, spec: LaunchSpec) -> Json:
    return {**override, "InstanceType": spec.instance_type, "AvailabilityZone": spec.subnet.zone}


def for_market(spec: LaunchSpec, market: str, request: Json) -> LaunchSpec:
    """Return the specification for instances of a fleet's Spot or On-Demand part."""
    if market == "on-demand":
        return spec
    options = request.get("SpotOptions") or {}
    # A fleet of type instant makes one-time requests; its instances can be terminated only.
    return replace(spec, spot=SpotOptions("one-time", "terminate", options.get("MaxTotalPrice")))
