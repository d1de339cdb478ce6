"""What a launch refers to and somebody else keeps: subnets, groups and launch templates (moto), roles, images (services)."""

from typing import Any

from botocore.exceptions import ClientError
from localstack.aws.connect import connect_to
from moto.ec2.exceptions import (
    InvalidLaunchTemplateIdNotFound,
    InvalidLaunchTemplateNameNotFoundWithNameError,
    InvalidSubnetIdError,
)
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.launch_templates import LaunchTemplate

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Subnet

type Json = dict[str, Any]


class Lookups:
    """The resources of one account and region, as a launch needs them."""

    def __init__(self, account: str, region: str) -> None:
        """Remember where to look."""
        self.account = account
        self.region = region
        self._backend: EC2Backend = ec2_backends[account][region]
        self._profiles: dict[str, tuple[Json, str | None]] = {}

    def subnet(self, subnet_id: str | None, zone: str | None) -> Subnet:
        """Return the subnet of that id, else the default one of `zone` or of any zone; raise ApiError without one."""
        if subnet_id is None:
            return self._default_subnet(zone)
        try:
            found = self._backend.get_subnet(subnet_id)
        except InvalidSubnetIdError as error:
            raise ApiError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist") from error
        return Subnet(found.id, found.vpc_id, found.availability_zone, found.cidr_block)

    def _default_subnet(self, zone: str | None) -> Subnet:
        by_zone = self._backend.get_default_subnets()
        if not by_zone:
            raise ApiError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
        chosen = zone or min(by_zone)
        if chosen not in by_zone:
            zones = ", ".join(sorted(by_zone))
            text = f"Value ({zone}) for parameter availabilityZone is invalid. There are: {zones}."
            raise ApiError("InvalidParameterValue", text)
        found = by_zone[chosen]
        return Subnet(found.id, found.vpc_id, found.availability_zone, found.cidr_block)

    def groups(self, ids: list[str], names: list[str], vpc_id: str) -> tuple[Json, ...]:
        """Return the security groups of these ids and names, or the VPC's default one."""
        if not ids and not names:
            names = ["default"]
        found = [self._group(group_id, self._backend.get_security_group_from_id(group_id)) for group_id in ids]
        found += [self._group(name, self._backend.get_security_group_from_name(name, vpc_id)) for name in names]
        return tuple(found)

    def _group(self, wanted: str, group: Any) -> Json:
        if group is None:
            raise ApiError("InvalidGroup.NotFound", f"The security group '{wanted}' does not exist")
        return {"GroupId": group.id, "GroupName": group.name}

    def template(self, reference: Json) -> Json:
        """Return the data of the launch template that `reference` (id or name, and version) means.

        Among its tags are those that EC2 itself gives to every instance that is launched from a template.
        """
        template = self._template(reference)
        wanted = str(reference.get("Version") or "$Default")
        version = template.get_version(wanted)
        data = dict(version.data)
        own = [
            {"Key": "aws:ec2launchtemplate:id", "Value": template.id},
            {"Key": "aws:ec2launchtemplate:version", "Value": str(version.number)},
        ]
        data["TagSpecifications"] = [*data.get("TagSpecifications", []), {"ResourceType": "instance", "Tags": own}]
        user_data = data.get("UserData")
        if user_data is not None:
            data["UserData"] = user_data if isinstance(user_data, str) else user_data.as_bytes().decode()
        return data

    def _template(self, reference: Json) -> LaunchTemplate:
        template_id, name = reference.get("LaunchTemplateId"), reference.get("LaunchTemplateName")
        try:
            if template_id:
                return self._backend.get_launch_template(template_id)
            return self._backend.get_launch_template_by_name(name)
        except (InvalidLaunchTemplateIdNotFound, InvalidLaunchTemplateNameNotFoundWithNameError) as error:
            code = "InvalidLaunchTemplateId.NotFound" if template_id else "InvalidLaunchTemplateName.NotFoundException"
            text = f"The specified launch template, with {'template ID' if template_id else 'template name'} {template_id or name}, does not exist."
            raise ApiError(code, text) from error

    def profile(self, reference: Json | None) -> tuple[Json | None, str | None]:
        """Return an instance profile's ``Arn`` and ``Id``, and the ARN of its role; raise ApiError when it is unknown."""
        if not reference:
            return None, None
        name = reference.get("Name") or reference["Arn"].rpartition("/")[2]
        if name not in self._profiles:  # a fleet asks once for each of its pools
            self._profiles[name] = self._profile(name)
        return self._profiles[name]

    def _profile(self, name: str) -> tuple[Json, str | None]:
        iam = connect_to(aws_access_key_id=self.account).iam
        try:
            profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            text = f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
            raise ApiError("InvalidParameterValue", text) from error
        roles = profile["Roles"]
        shown = {"Arn": profile["Arn"], "Id": profile["InstanceProfileId"]}
        return shown, roles[0]["Arn"] if roles else None

    def image(self, image_id: str) -> str:
        """Return the image's id; ``resolve:ssm:`` names a parameter that holds it."""
        if not image_id.startswith("resolve:ssm:"):
            return image_id
        name = image_id.removeprefix("resolve:ssm:")
        ssm = connect_to(aws_access_key_id=self.account, region_name=self.region).ssm
        try:
            value: str = ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except ClientError as error:
            text = f"The parameter {name} of the image ID does not exist"
            raise ApiError("InvalidParameterValue", text) from error
        return value
