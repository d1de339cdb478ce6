"""What EC2 knows of an instance and of a Spot request, and how its API shows them. Pure: no clock, no I/O.

Shapes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html and API_SpotInstanceRequest.html
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

type Json = dict[str, Any]

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

STATE_REASONS = {
    "Client.UserInitiatedShutdown": "User initiated shutdown",
    "Client.UserInitiatedHibernate": "User initiated hibernate",
    "Client.InstanceInitiatedShutdown": "Instance initiated shutdown",
    "Server.InternalError": "Internal error",
    "Server.SpotInstanceTermination": "Spot instance termination",
    "Server.SpotInstanceShutdown": "Spot instance shutdown",
}
"""https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html"""

SPOT_STATUS = {
    "pending-evaluation": "Your Spot request has been submitted for review, and is pending evaluation.",
    "capacity-not-available": "There is no Spot capacity available that matches your request.",
    "fulfilled": "Your Spot request is fulfilled.",
    "marked-for-termination": "The Spot Instance is marked for termination.",
    "marked-for-stop": "The Spot Instance is marked for stop.",
    "marked-for-termination-by-experiment": "The Spot Instance is marked for termination by an experiment.",
    "marked-for-stop-by-experiment": "The Spot Instance is marked for stop by an experiment.",
    "instance-terminated-by-experiment": "The Spot Instance was terminated by an experiment in AWS Fault Injection Service.",
    "instance-stopped-by-experiment": "The Spot Instance was stopped by an experiment in AWS Fault Injection Service.",
    "instance-terminated-no-capacity": "Your instance was terminated because there is no longer enough Spot capacity available.",
    "instance-stopped-no-capacity": "Your instance was stopped because there is no longer enough Spot capacity available.",
    "instance-hibernated-no-capacity": "Your instance was hibernated because there is no longer enough Spot capacity.",
    "instance-terminated-by-user": "Your instance was terminated by the user.",
    "instance-stopped-by-user": "Your instance was stopped by the user.",
    "canceled-before-fulfillment": "Your Spot request was canceled before it was fulfilled.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
}
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html"""


@dataclass(frozen=True)
class Subnet:
    """Where instances live. `cidr` gives them their addresses."""

    id: str
    vpc_id: str
    zone: str
    cidr: str


@dataclass(frozen=True)
class LaunchSpec:
    """Everything that a launch decides about an instance, whichever call it came from.

    `spot` is None for On-Demand; `profile` is the ARN and id of the instance profile, `role` the name of its role;
    `user_data` is base64 as the API has it; `metadata_options` has the keys of the API.
    """

    image_id: str
    instance_type: str
    subnet: Subnet
    groups: tuple[Json, ...] = ()
    key_name: str | None = None
    user_data: str = ""
    profile: Json | None = None
    role_arn: str | None = None
    spot: "SpotOptions | None" = None
    metadata_options: Json = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    shutdown_behavior: str = "stop"
    ebs_optimized: bool = False
    monitoring: bool = False
    termination_protection: bool = False

    @property
    def pool(self) -> str:
        """The capacity pool, as ``m5.large:us-east-1a``."""
        return f"{self.instance_type}:{self.subnet.zone}"


@dataclass(frozen=True)
class SpotOptions:
    """How an instance is bought on the Spot market; `kind` is ``one-time`` or ``persistent``."""

    kind: str = "one-time"
    interruption_behavior: str = "terminate"
    max_price: str | None = None


@dataclass
class SpotRequest:
    """A Spot Instance request and the state it is in; `launch` makes its instance, again and again when persistent."""

    id: str
    spec: LaunchSpec
    created: datetime
    state: str = "open"
    status: str = "pending-evaluation"
    updated: datetime | None = None
    instance_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> SpotOptions:
        """The request's own options."""
        return self.spec.spot or SpotOptions()

    def turn(self, state: str, status: str, now: datetime) -> None:
        """Go into a new state with a status code of `SPOT_STATUS`."""
        self.state, self.status, self.updated = state, status, now

    def describe(self) -> Json:
        """Return the request as DescribeSpotInstanceRequests shows it."""
        shown: Json = {
            "SpotInstanceRequestId": self.id,
            "CreateTime": self.created,
            "State": self.state,
            "Status": {"Code": self.status, "Message": SPOT_STATUS[self.status], "UpdateTime": self.updated or self.created},
            "Type": self.options.kind,
            "InstanceInterruptionBehavior": self.options.interruption_behavior,
            "LaunchSpecification": _launch_specification(self.spec),
            "LaunchedAvailabilityZone": self.spec.subnet.zone,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": self.options.max_price or "1.000000",
            "Tags": tag_list(self.tags),
        }
        if self.instance_id:
            shown["InstanceId"] = self.instance_id
        return shown


@dataclass
class Instance:
    """One instance and how far its life has come.

    `ended` is when it was terminated; `booted` that its operating system answers (user data, SSM agent); `registered`
    that its agent once registered with SSM; `warned` the action of an interruption warning that it has got.
    """

    id: str
    account: str
    region: str
    reservation_id: str
    index: int
    spec: LaunchSpec
    private_ip: str
    launched: datetime
    tags: dict[str, str]
    state: str = "pending"
    state_reason: str | None = None
    transition_reason: str = ""
    spot_request_id: str | None = None
    client_token: str = ""
    fleet_id: str | None = None
    booted: bool = False
    registered: bool = False
    agent_online: bool = True
    warned: str | None = None
    ended: datetime | None = None
    imds_port: int | None = None

    @property
    def zone(self) -> str:
        """The Availability Zone."""
        return self.spec.subnet.zone

    @property
    def arn(self) -> str:
        """The instance's ARN."""
        return f"arn:aws:ec2:{self.region}:{self.account}:instance/{self.id}"

    @property
    def managed(self) -> bool:
        """Whether SSM knows it: its agent has come up with the rights of an instance profile, and it still exists."""
        return self.registered and self.state != "terminated"

    @property
    def architecture(self) -> str:
        """``arm64`` for the Graviton families (a g after the generation's number), else ``x86_64``."""
        family = self.spec.instance_type.partition(".")[0]
        generation = family.lstrip("abcdefghijklmnopqrstuvwxyz").lstrip("0123456789")
        return "arm64" if "g" in generation else "x86_64"

    def describe(self) -> Json:
        """Return the instance as DescribeInstances shows it."""
        shown = {
            "InstanceId": self.id,
            "ImageId": self.spec.image_id,
            "InstanceType": self.spec.instance_type,
            "LaunchTime": self.launched,
            "AmiLaunchIndex": self.index,
            "State": {"Code": STATE_CODES[self.state], "Name": self.state},
            "StateTransitionReason": self.transition_reason,
            "Tags": tag_list(self.tags),
            "Architecture": self.architecture,
            "ClientToken": self.client_token,
            "Monitoring": {"State": "enabled" if self.spec.monitoring else "disabled"},
            "Placement": {"AvailabilityZone": self.zone, "GroupName": "", "Tenancy": "default"},
            "MetadataOptions": self.spec.metadata_options,
            "EbsOptimized": self.spec.ebs_optimized,
            "EnaSupport": True,
            "Hypervisor": "xen",
            "VirtualizationType": "hvm",
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
            "RootDeviceName": "/dev/xvda",
            "RootDeviceType": "ebs",
            "BlockDeviceMappings": [],
            "ProductCodes": [],
        }
        return shown | self._optional() | self._network()

    def _optional(self) -> Json:
        found: Json = {
            "KeyName": self.spec.key_name,
            "IamInstanceProfile": self.spec.profile,
            "SpotInstanceRequestId": self.spot_request_id,
            "InstanceLifecycle": "spot" if self.spec.spot else None,
        }
        if self.state_reason:
            message = f"{self.state_reason}: {STATE_REASONS[self.state_reason]}"
            found["StateReason"] = {"Code": self.state_reason, "Message": message}
        return {key: value for key, value in found.items() if value is not None}

    def _network(self) -> Json:
        if self.state == "terminated":
            return {"SecurityGroups": [], "NetworkInterfaces": [], "PrivateDnsName": "", "PublicDnsName": ""}
        return {
            "SubnetId": self.spec.subnet.id,
            "VpcId": self.spec.subnet.vpc_id,
            "PrivateIpAddress": self.private_ip,
            "PrivateDnsName": self.private_name,
            "PublicDnsName": "",
            "SecurityGroups": list(self.spec.groups),
            "SourceDestCheck": True,
            "NetworkInterfaces": [],
        }

    @property
    def private_name(self) -> str:
        """The host name that EC2 gives by address."""
        domain = "ec2.internal" if self.region == "us-east-1" else f"{self.region}.compute.internal"
        return f"ip-{self.private_ip.replace('.', '-')}.{domain}"


def tag_list(tags: dict[str, str]) -> list[Json]:
    """Return tags as the API lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_for(resource: str, specifications: list[Json] | None) -> dict[str, str]:
    """Return the tags that ``TagSpecifications`` give to resources of type `resource` (``instance``, ...)."""
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in specifications or []
        if specification.get("ResourceType") == resource
        for tag in specification.get("Tags", [])
    }


def _launch_specification(spec: LaunchSpec) -> Json:
    shown: Json = {
        "ImageId": spec.image_id,
        "InstanceType": spec.instance_type,
        "SubnetId": spec.subnet.id,
        "Placement": {"AvailabilityZone": spec.subnet.zone},
        "SecurityGroups": list(spec.groups),
        "Monitoring": {"Enabled": spec.monitoring},
        "EbsOptimized": spec.ebs_optimized,
    }
    if spec.profile:
        shown["IamInstanceProfile"] = {"Arn": spec.profile["Arn"]}
    return shown
