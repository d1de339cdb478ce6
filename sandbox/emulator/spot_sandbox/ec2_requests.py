"""What EC2 refuses before it does anything, and how a launch's many sources become one specification. Pure.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from spot_sandbox.api_errors import ApiError

type Json = dict[str, Any]

INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
TAG_KEY_IN_METADATA = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
TAGS_LIMIT = 50
TAG_KEY_LENGTH = 128
TAG_VALUE_LENGTH = 256
USER_DATA_LIMIT = 16384

METADATA_DEFAULTS: Json = {
    "State": "applied",
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "HttpProtocolIpv6": "disabled",
    "InstanceMetadataTags": "disabled",
}


def check_ids(ids: Iterable[str], known: Iterable[str]) -> None:
    """Refuse malformed ids and those that are not `known`, naming all of them as EC2 does."""
    wanted = list(dict.fromkeys(ids))
    malformed = [instance_id for instance_id in wanted if not INSTANCE_ID.fullmatch(instance_id)]
    if malformed:
        raise ApiError("InvalidInstanceID.Malformed", f'Invalid id: "{malformed[0]}"')
    there = set(known)
    missing = [instance_id for instance_id in wanted if instance_id not in there]
    if len(missing) == 1:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
    if missing:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")


def check_describe(request: Json) -> None:
    """Refuse what DescribeInstances does not take together, and page sizes out of bounds."""
    size = request.get("MaxResults")
    if size is None:
        return
    if request.get("InstanceIds"):
        text = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise ApiError("InvalidParameterCombination", text)
    if not 5 <= size <= 1000:  # noqa: PLR2004  the API's own bounds
        text = f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."
        raise ApiError("InvalidParameterValue", text)


def page(items: list[Json], request: Json) -> tuple[list[Json], str | None]:
    """Return the page of `items` that ``MaxResults`` and ``NextToken`` ask for, and the token of the next one."""
    size = request.get("MaxResults")
    token = request.get("NextToken")
    if token is not None and not token.isdigit():
        raise ApiError("InvalidParameterValue", f"The token '{token}' is invalid")
    start = int(token or 0)
    end = start + size if size else len(items)
    return items[start:end], str(end) if end < len(items) else None


def check_tags(tags: dict[str, str], metadata_options: Json) -> None:
    """Refuse tags that EC2 does not take; stricter where the instance shows them in its metadata."""
    if len(tags) > TAGS_LIMIT:
        raise ApiError("TagLimitExceeded", f"The maximum number of Tags for a resource is {TAGS_LIMIT}.")
    for key, value in tags.items():
        _check_tag(key, value)
        if metadata_options.get("InstanceMetadataTags") == "enabled":
            _check_metadata_tag(key)


def _check_tag(key: str, value: str) -> None:
    if not key or len(key) > TAG_KEY_LENGTH:
        raise ApiError("InvalidParameterValue", f"Tag keys must be between 1 and {TAG_KEY_LENGTH} characters in length.")
    if key.lower().startswith("aws:"):
        text = f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use"
        raise ApiError("InvalidParameterValue", text)
    if len(value) > TAG_VALUE_LENGTH:
        raise ApiError("InvalidParameterValue", f"Tag value exceeds the maximum length of {TAG_VALUE_LENGTH} characters")


def _check_metadata_tag(key: str) -> None:
    if not TAG_KEY_IN_METADATA.fullmatch(key) or key in {".", "..", "_index"}:
        text = (
            f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be "
            "a reserved name ('.', '..', '_index')"
        )
        raise ApiError("InvalidParameterValue", text)


def launch_data(template: Json | None, request: Json) -> Json:
    """Return what a launch asks for: the launch template's data, overridden by the request's own parameters.

    Tags of the same resource type are joined, the request's winning; metadata options are merged key by key.
    """
    base = dict(template or {})
    own = {key: value for key, value in request.items() if value is not None and value != []}
    merged = base | own
    merged["MetadataOptions"] = METADATA_DEFAULTS | base.get("MetadataOptions", {}) | own.get("MetadataOptions", {})
    merged["TagSpecifications"] = [*base.get("TagSpecifications", []), *own.get("TagSpecifications", [])]
    # A subnet or group of a network interface counts as the instance's own.
    for interface in merged.get("NetworkInterfaces", [])[:1]:
        merged.setdefault("SubnetId", interface.get("SubnetId"))
        merged.setdefault("SecurityGroupIds", interface.get("Groups", []))
    return merged


def check_launch(data: Json, count: int) -> None:
    """Refuse a launch that lacks an image, asks for no instance or has too much user data."""
    if not data.get("ImageId"):
        raise ApiError("MissingParameter", "The request must contain the parameter ImageId")
    if count < 1:
        raise ApiError("InvalidParameterValue", "Value ( 0 ) for parameter minCount is invalid. Expecting a positive number.")
    _check_user_data(data.get("UserData") or "")
    behavior = data.get("InstanceInitiatedShutdownBehavior", "stop")
    if behavior not in {"stop", "terminate"}:
        text = f"Value ({behavior}) for parameter InstanceInitiatedShutdownBehavior is invalid."
        raise ApiError("InvalidParameterValue", text)


def _check_user_data(text: str) -> None:
    try:
        size = len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ApiError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from error
    if size > USER_DATA_LIMIT:
        raise ApiError("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")


def check_spot(options: Json) -> None:
    """Refuse interruption behaviours that a Spot request of its kind cannot have."""
    behavior = options.get("InstanceInterruptionBehavior", "terminate")
    kind = options.get("SpotInstanceType", "one-time")
    if behavior not in {"terminate", "stop", "hibernate"} or kind not in {"one-time", "persistent"}:
        raise ApiError("InvalidParameterValue", f"Value ({behavior}, {kind}) for parameter SpotOptions is invalid.")
    if behavior != "terminate" and kind == "one-time":
        text = f"InstanceInterruptionBehavior '{behavior}' is not supported for one-time Spot Instance requests"
        raise ApiError("InvalidParameterCombination", text)
