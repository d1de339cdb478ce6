"""EC2 of the sandbox: instances of our own, everything else (networks, templates, images) as LocalStack has it.

Each method is an operation: check the request, call `Lifecycle`, show the result. The rules are in the ``ec2_*`` modules.
"""

import base64
import threading
from collections.abc import Iterable
from typing import Any

from localstack.aws.api import RequestContext
from localstack.services.ec2.provider import Ec2Provider
from localstack.services.moto import call_moto, call_moto_with_request

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_endings import HIBERNATED_BY_USER, STOPPED_BY_USER
from spot_sandbox.ec2_filters import INSTANCE_FILTERS, SPOT_REQUEST_FILTERS, matches
from spot_sandbox.ec2_fleets import UNFULFILLABLE, check_fleet, check_pools, fill, targets
from spot_sandbox.ec2_instances import STATE_CODES, Instance, LaunchSpec, SpotRequest, tag_list, tags_for
from spot_sandbox.ec2_launch import fleet_choices, for_market, requested_spec, run_spec
from spot_sandbox.ec2_lifecycle import Lifecycle
from spot_sandbox.ec2_lookups import Lookups
from spot_sandbox.ec2_requests import check_describe, check_tags, page
from spot_sandbox.operations import operation
from spot_sandbox.wiring import lifecycle

type Json = dict[str, Any]


class SpotEc2Provider(Ec2Provider):
    """EC2 with instances that run, are warned and end."""

    def __init__(self) -> None:
        """Start without a remembered launch."""
        super().__init__()
        self._by_token: dict[tuple[str, str, str], tuple[Json, Json]] = {}
        self._launching = threading.RLock()

    @property
    def _life(self) -> Lifecycle:
        return lifecycle()

    # Launch

    @operation("RunInstances")
    def run_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Launch instances as one reservation."""
        _dry_run(request)
        return self._once(context, request, lambda: self._run_instances(context, request))

    def _run_instances(self, context: RequestContext, request: Json) -> Json:
        spec = run_spec(Lookups(context.account_id, context.region), request)
        least, most = request.get("MinCount") or 1, request.get("MaxCount") or 1
        if not 1 <= least <= most:
            raise ApiError("InvalidParameterValue", f"Value ( {least} ) for parameter minCount is invalid.")
        token = request.get("ClientToken") or ""
        market = "spot" if spec.spot else "on-demand"
        left = self._life.capacity.left(market, spec.pool)
        count = max(least, most if left is None else min(most, left))
        instances = self._life.launch(context.account_id, context.region, spec, count, client_token=token)
        return _reservations(instances)[0]

    @operation("CreateFleet")
    def create_fleet_here(self, context: RequestContext, request: Json) -> Json:
        """Launch an instant fleet over several pools."""
        _dry_run(request)
        check_fleet(request)
        return self._once(context, request, lambda: self._create_fleet(context, request))

    def _create_fleet(self, context: RequestContext, request: Json) -> Json:
        fleet_id = f"fleet-{context.request_id}"
        choices = fleet_choices(Lookups(context.account_id, context.region), request)
        check_pools(choices)

        def launch(spec: LaunchSpec, market: str, count: int) -> list[Instance]:
            wanted = for_market(spec, market, request)
            tags = {**wanted.tags, "aws:ec2:fleet-id": fleet_id}
            instances = self._life.launch(context.account_id, context.region, wanted, count, fleet_id=fleet_id)
            for instance in instances:
                self._life.tag(instance, tags)
            return instances

        answer: Json = {"FleetId": fleet_id, "Instances": [], "Errors": []}
        with self._life.lock:
            for market, count in targets(request).items():
                if count and self._reaches_minimum(request, market, choices, answer):
                    launched, errors = fill(choices, market, count, launch)
                    answer["Instances"] += launched
                    answer["Errors"] += errors
        return answer

    def _reaches_minimum(self, request: Json, market: str, choices: list[tuple[Json, LaunchSpec]], answer: Json) -> bool:
        """Tell whether the pools have ``MinTargetCapacity`` at all; an instant fleet below it launches nothing."""
        options = request.get("SpotOptions" if market == "spot" else "OnDemandOptions") or {}
        least = options.get("MinTargetCapacity") or 0
        pools = {spec.pool: self._life.capacity.left(market, spec.pool) for _, spec in choices}
        if any(left is None for left in pools.values()) or sum(left or 0 for left in pools.values()) >= least:
            return True
        shown = choices[0][0]
        answer["Errors"].append(
            {"LaunchTemplateAndOverrides": shown, "Lifecycle": market, "ErrorCode": "UnfulfillableCapacity", "ErrorMessage": UNFULFILLABLE}
        )
        return False

    def _once(self, context: RequestContext, request: Json, launch: Any) -> Json:
        """Launch once for each ClientToken; repeat the first answer afterwards, with the instances as they are now."""
        token = request.get("ClientToken")
        if not token:
            return launch()
        key = (context.account_id, context.region, token)
        with self._launching:
            if key not in self._by_token:
                self._by_token[key] = (dict(request), launch())
            before, answer = self._by_token[key]
        if before != dict(request):
            text = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
            raise ApiError("IdempotentParameterMismatch", text)
        return answer

    # Instances

    @operation("DescribeInstances")
    def describe_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Describe instances by id and filter, a reservation for each launch."""
        check_describe(request)
        found = _filtered(self._chosen(context, request), request)
        shown, token = page(_reservations(found), request)
        return {"Reservations": shown, "NextToken": token} if token else {"Reservations": shown}

    @operation("DescribeInstanceStatus")
    def describe_instance_status_here(self, context: RequestContext, request: Json) -> Json:
        """Describe the status of running instances, of all with ``IncludeAllInstances``."""
        found = self._chosen(context, request)
        if not request.get("IncludeAllInstances"):
            found = [instance for instance in found if instance.state == "running"]
        shown, token = page([_status(instance) for instance in found], request)
        return {"InstanceStatuses": shown, "NextToken": token} if token else {"InstanceStatuses": shown}

    @operation("TerminateInstances")
    def terminate_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Terminate instances."""
        chosen = self._life.pick(context.account_id, context.region, request["InstanceIds"])
        _dry_run(request)
        for instance in chosen:
            if instance.spec.termination_protection:
                text = f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."
                raise ApiError("OperationNotPermitted", text)
        return {"TerminatingInstances": _changes(chosen, lambda: self._life.terminate(chosen))}

    @operation("StopInstances")
    def stop_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Stop instances."""
        chosen = self._life.pick(context.account_id, context.region, request["InstanceIds"])
        _dry_run(request)
        ending = HIBERNATED_BY_USER if request.get("Hibernate") else STOPPED_BY_USER
        return {"StoppingInstances": _changes(chosen, lambda: self._life.stop(chosen, ending))}

    @operation("StartInstances")
    def start_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Start stopped instances."""
        chosen = self._life.pick(context.account_id, context.region, request["InstanceIds"])
        _dry_run(request)
        return {"StartingInstances": _changes(chosen, lambda: self._life.start(chosen))}

    @operation("RebootInstances")
    def reboot_instances_here(self, context: RequestContext, request: Json) -> None:
        """Reboot running instances."""
        self._life.reboot(self._life.pick(context.account_id, context.region, request["InstanceIds"]))

    @operation("GetConsoleOutput")
    def get_console_output_here(self, context: RequestContext, request: Json) -> Json:
        """Show what the user data has written."""
        instance = self._life.pick(context.account_id, context.region, [request["InstanceId"]])[0]
        text = self._life.console(instance)
        encoded = base64.b64encode(text[-65536:].encode()).decode()
        return {"InstanceId": instance.id, "Output": encoded, "Timestamp": self._life.ports.now()}

    @operation("ModifyInstanceMetadataOptions")
    def modify_instance_metadata_options_here(self, context: RequestContext, request: Json) -> Json:
        """Change the metadata options that the API shows; the running IMDS keeps those of the launch."""
        instance = self._life.pick(context.account_id, context.region, [request["InstanceId"]])[0]
        options = instance.spec.metadata_options
        options |= {key: request[key] for key in options if request.get(key) is not None}
        return {"InstanceId": instance.id, "InstanceMetadataOptions": options}

    @operation("DescribeInstanceAttribute")
    def describe_instance_attribute_here(self, context: RequestContext, request: Json) -> Json:
        """Show one attribute."""
        instance = self._life.pick(context.account_id, context.region, [request["InstanceId"]])[0]
        spec = instance.spec
        shown: Json = {
            "instanceType": ("InstanceType", {"Value": spec.instance_type}),
            "userData": ("UserData", {"Value": spec.user_data}),
            "instanceInitiatedShutdownBehavior": ("InstanceInitiatedShutdownBehavior", {"Value": spec.shutdown_behavior}),
            "disableApiTermination": ("DisableApiTermination", {"Value": spec.termination_protection}),
            "groupSet": ("Groups", list(spec.groups)),
            "ebsOptimized": ("EbsOptimized", {"Value": spec.ebs_optimized}),
            "rootDeviceName": ("RootDeviceName", {"Value": "/dev/xvda"}),
            "sourceDestCheck": ("SourceDestCheck", {"Value": True}),
            "disableApiStop": ("DisableApiStop", {"Value": False}),
        }
        name = request["Attribute"]
        if name not in shown:
            raise ApiError("InvalidParameterValue", f"Value ({name}) for parameter attribute is invalid. Unknown attribute.")
        key, value = shown[name]
        return {"InstanceId": instance.id, key: value}

    # Spot requests

    @operation("RequestSpotInstances")
    def request_spot_instances_here(self, context: RequestContext, request: Json) -> Json:
        """Open Spot requests, each for one instance."""
        _dry_run(request)
        return self._once(context, request, lambda: self._request_spot(context, request))

    def _request_spot(self, context: RequestContext, request: Json) -> Json:
        spec = requested_spec(Lookups(context.account_id, context.region), request)
        tags = tags_for("spot-instances-request", request.get("TagSpecifications"))
        opened = [self._life.request_spot(context.account_id, context.region, spec, dict(tags)) for _ in range(request.get("InstanceCount") or 1)]
        return {"SpotInstanceRequests": [spot_request.describe() for spot_request in opened]}

    @operation("DescribeSpotInstanceRequests")
    def describe_spot_instance_requests_here(self, context: RequestContext, request: Json) -> Json:
        """Describe Spot requests by id and filter."""
        found = [
            spot_request
            for spot_request in self._requests(context, request.get("SpotInstanceRequestIds"))
            if matches(spot_request, request.get("Filters"), SPOT_REQUEST_FILTERS)
        ]
        shown, token = page([spot_request.describe() for spot_request in found], request)
        return {"SpotInstanceRequests": shown, "NextToken": token} if token else {"SpotInstanceRequests": shown}

    @operation("CancelSpotInstanceRequests")
    def cancel_spot_instance_requests_here(self, context: RequestContext, request: Json) -> Json:
        """Cancel Spot requests; instances go on."""
        chosen = self._requests(context, request["SpotInstanceRequestIds"])
        for spot_request in chosen:
            self._life.cancel_request(spot_request)
        return {"CancelledSpotInstanceRequests": [{"SpotInstanceRequestId": r.id, "State": r.state} for r in chosen]}

    def _requests(self, context: RequestContext, ids: list[str] | None) -> list[SpotRequest]:
        known = {r.id: r for r in self._life.requests_of(context.account_id, context.region)}
        if not ids:
            return list(known.values())
        missing = [request_id for request_id in ids if request_id not in known]
        if missing:
            text = f"The spot instance request ID '{missing[0]}' does not exist"
            raise ApiError("InvalidSpotInstanceRequestID.NotFound", text)
        return [known[request_id] for request_id in ids]

    # Tags

    @operation("CreateTags")
    def create_tags_here(self, context: RequestContext, request: Json) -> None:
        """Tag our resources here and leave the others to LocalStack."""
        tags = {tag["Key"]: tag.get("Value") or "" for tag in request["Tags"]}
        ours, others = self._divided(context, request["Resources"])
        for resource in ours:
            self._tag(resource, tags, ())
        if others:
            call_moto_with_request(context, {**request, "Resources": others})

    @operation("DeleteTags")
    def delete_tags_here(self, context: RequestContext, request: Json) -> None:
        """Remove tags; one that is given with a value only where it has that value, none given removes all."""
        ours, others = self._divided(context, request["Resources"])
        for resource in ours:
            wanted = request.get("Tags") or [{"Key": key} for key in resource.tags]
            keys = [tag["Key"] for tag in wanted if tag.get("Value") in (None, resource.tags.get(tag["Key"]))]
            self._tag(resource, {}, keys)
        if others:
            call_moto_with_request(context, {**request, "Resources": others})

    @operation("DescribeTags")
    def describe_tags_here(self, context: RequestContext, request: Json) -> Json:
        """List the tags of all resources, ours with LocalStack's."""
        answer = dict(call_moto(context))
        resources: list[tuple[str, Instance | SpotRequest]] = [("instance", i) for i in self._life.of(context.account_id, context.region)]
        resources += [("spot-instances-request", r) for r in self._life.requests_of(context.account_id, context.region)]
        shown = [{"ResourceId": resource.id, "ResourceType": kind, **tag} for kind, resource in resources for tag in tag_list(resource.tags)]
        answer["Tags"] = [*answer.get("Tags", []), *(tag for tag in shown if _tag_matches(tag, request.get("Filters")))]
        return answer

    def _tag(self, resource: Instance | SpotRequest, tags: dict[str, str], removed: Iterable[str]) -> None:
        if isinstance(resource, Instance):
            own = {key: value for key, value in resource.tags.items() if not key.startswith("aws:")}
            check_tags(own | tags, resource.spec.metadata_options)
            self._life.tag(resource, tags, removed)
        else:
            gone = set(removed)
            resource.tags = {key: value for key, value in (resource.tags | tags).items() if key not in gone}

    def _divided(self, context: RequestContext, ids: list[str]) -> tuple[list[Instance | SpotRequest], list[str]]:
        """Return our resources of these ids, and the ids that are LocalStack's; unknown instances raise ApiError."""
        instances = [resource_id for resource_id in ids if resource_id.startswith("i-")]
        requests = [resource_id for resource_id in ids if resource_id.startswith("sir-")]
        ours: list[Instance | SpotRequest] = [*self._life.pick(context.account_id, context.region, instances)]
        if requests:
            ours += self._requests(context, requests)
        return ours, [resource_id for resource_id in ids if not resource_id.startswith(("i-", "sir-"))]

    def _chosen(self, context: RequestContext, request: Json) -> list[Instance]:
        """Return the instances that the request names, or all."""
        ids = request.get("InstanceIds")
        if ids:
            return self._life.pick(context.account_id, context.region, ids)
        return self._life.of(context.account_id, context.region)


def _dry_run(request: Json) -> None:
    if request.get("DryRun"):
        raise ApiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


def _filtered(instances: list[Instance], request: Json) -> list[Instance]:
    return [instance for instance in instances if matches(instance, request.get("Filters"), INSTANCE_FILTERS)]


def _reservations(instances: list[Instance]) -> list[Json]:
    """Group instances by the launch they came from, as DescribeInstances answers."""
    reservations: dict[str, Json] = {}
    for instance in instances:
        reservation = reservations.setdefault(
            instance.reservation_id,
            {"ReservationId": instance.reservation_id, "OwnerId": instance.account, "Groups": [], "Instances": []},
        )
        reservation["Instances"].append(instance.describe())
    return list(reservations.values())


def _state(name: str) -> Json:
    return {"Code": STATE_CODES[name], "Name": name}


def _changes(instances: list[Instance], change: Any) -> list[Json]:
    """Make a change and return each instance's state before and after it."""
    before = [instance.state for instance in instances]
    change()
    return [
        {"InstanceId": instance.id, "PreviousState": _state(old), "CurrentState": _state(instance.state)}
        for instance, old in zip(instances, before, strict=True)
    ]


def _status(instance: Instance) -> Json:
    health = "ok" if instance.booted else "initializing"
    summary: Json = {"Status": health if instance.state == "running" else "not-applicable"}
    return {
        "InstanceId": instance.id,
        "AvailabilityZone": instance.zone,
        "InstanceState": _state(instance.state),
        "InstanceStatus": summary,
        "SystemStatus": summary,
    }


def _tag_matches(tag: Json, filters: list[Json] | None) -> bool:
    shown = {"key": tag["Key"], "value": tag["Value"], "resource-id": tag["ResourceId"], "resource-type": tag["ResourceType"]}
    return all(shown.get(item["Name"]) in item.get("Values", []) for item in filters or [])
