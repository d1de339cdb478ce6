"""What EC2 refuses before it does anything."""

import base64

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_requests import check_describe, check_ids, check_launch, check_spot, check_tags, launch_data, page

KNOWN = ["i-0000000000000000a", "i-0000000000000000b"]


def test_known_ids_pass() -> None:
    """Ids that EC2 knows are no error, even when given twice."""
    check_ids([*KNOWN, KNOWN[0]], KNOWN)


def test_one_unknown_id_is_named_in_the_singular() -> None:
    """One unknown id is named in the sentence that EC2 uses for one."""
    with pytest.raises(ApiError) as refused:
        check_ids([KNOWN[0], "i-0000000000000000c"], KNOWN)
    assert refused.value.code == "InvalidInstanceID.NotFound"
    assert refused.value.message == "The instance ID 'i-0000000000000000c' does not exist"


def test_all_unknown_ids_are_named_in_the_plural() -> None:
    """Several unknown ids are all named, in the order in which they were asked for."""
    with pytest.raises(ApiError) as refused:
        check_ids(["i-0000000000000000d", KNOWN[0], "i-0000000000000000c"], KNOWN)
    assert refused.value.message == "The instance IDs 'i-0000000000000000d, i-0000000000000000c' do not exist"


@pytest.mark.parametrize("malformed", ["i-", "i-xyz", "i-123", "j-0123456789abcdef0", "I-12345678", "i-0123456789abcdef00"])
def test_malformed_id_comes_before_unknown(malformed: str) -> None:
    """A malformed id is reported as such even beside an unknown one."""
    with pytest.raises(ApiError) as refused:
        check_ids(["i-0000000000000000c", malformed], KNOWN)
    assert refused.value.code == "InvalidInstanceID.Malformed"
    assert refused.value.message == f'Invalid id: "{malformed}"'


def test_page_size_and_ids_exclude_each_other() -> None:
    """DescribeInstances takes MaxResults or InstanceIds, not both."""
    with pytest.raises(ApiError) as refused:
        check_describe({"InstanceIds": KNOWN, "MaxResults": 5})
    assert refused.value.code == "InvalidParameterCombination"


@pytest.mark.parametrize("size", [0, 4, 1001])
def test_page_size_has_bounds(size: int) -> None:
    """A page has between 5 and 1,000 instances."""
    with pytest.raises(ApiError, match="between 5 and 1000"):
        check_describe({"MaxResults": size})


def test_pages_cover_everything_once() -> None:
    """Following the tokens shows each item once and ends."""
    items = [{"n": n} for n in range(12)]
    seen, token = [], None
    while True:
        shown, token = page(items, {"MaxResults": 5, "NextToken": token})
        seen += shown
        if token is None:
            break
    assert seen == items


def test_tags_in_metadata_must_be_paths() -> None:
    """A tag key with a slash is refused only where the instance shows its tags in its metadata."""
    check_tags({"a/b": "1"}, {"InstanceMetadataTags": "disabled"})
    with pytest.raises(ApiError, match="'a/b' is not a valid tag key"):
        check_tags({"a/b": "1"}, {"InstanceMetadataTags": "enabled"})


@pytest.mark.parametrize("tags", [{"": "x"}, {"aws:x": "y"}, {"k" * 129: "v"}, {"k": "v" * 257}, {str(n): "" for n in range(51)}])
def test_tags_that_ec2_does_not_take(tags: dict[str, str]) -> None:
    """Empty, reserved, too long and too many tags are refused."""
    with pytest.raises(ApiError):
        check_tags(tags, {})


def test_request_wins_over_template() -> None:
    """A launch template gives what the request leaves out; tags and metadata options are joined."""
    tag = {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}
    template = {"ImageId": "ami-1", "InstanceType": "m5.large", "MetadataOptions": {"HttpTokens": "required"}, "TagSpecifications": [tag]}
    merged = launch_data(template, {"InstanceType": "c5.large", "MetadataOptions": {"InstanceMetadataTags": "enabled"}, "ImageId": None})
    assert merged["ImageId"] == "ami-1"
    assert merged["InstanceType"] == "c5.large"
    assert merged["MetadataOptions"]["HttpTokens"] == "required"
    assert merged["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    assert merged["TagSpecifications"] == [tag]


def test_user_data_has_a_limit() -> None:
    """16 KB of user data pass, one byte more does not."""
    check_launch({"ImageId": "ami-1", "UserData": base64.b64encode(b"x" * 16384).decode()}, 1)
    with pytest.raises(ApiError, match="16384"):
        check_launch({"ImageId": "ami-1", "UserData": base64.b64encode(b"x" * 16385).decode()}, 1)


def test_user_data_must_be_base64() -> None:
    """User data that is not base64 is refused with EC2's own code."""
    with pytest.raises(ApiError) as refused:
        check_launch({"ImageId": "ami-1", "UserData": "#!/bin/sh"}, 1)
    assert refused.value.code == "InvalidUserData.Malformed"


def test_one_time_requests_can_only_be_terminated() -> None:
    """Stop and hibernate need a persistent Spot request."""
    check_spot({"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"})
    with pytest.raises(ApiError, match="not supported for one-time"):
        check_spot({"InstanceInterruptionBehavior": "stop"})
