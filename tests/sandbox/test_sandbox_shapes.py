"""From a template's properties to an API's arguments."""

from __future__ import annotations

import botocore.session
import pytest

from spot_sandbox.cloudformation.shapes import arguments_for


def test_names_are_those_of_the_api_and_keys_of_maps_are_kept() -> None:
    """FIS writes its members small; the names of targets and the tags are the caller's own."""
    shape = botocore.session.get_session().get_service_model("fis").operation_model("CreateExperimentTemplate").input_shape
    assert shape is not None
    properties = {
        "Description": "d",
        "RoleArn": "arn",
        "StopConditions": [{"Source": "none"}],
        "Targets": {"MyTarget": {"ResourceType": "aws:ec2:spot-instance", "SelectionMode": "ALL", "ResourceTags": {"Name": "Fis/Spot"}}},
        "Unknown": 1,
        "Tags": {"Key": True},
    }
    assert arguments_for(shape, properties) == {
        "description": "d",
        "roleArn": "arn",
        "stopConditions": [{"source": "none"}],
        "targets": {"MyTarget": {"resourceType": "aws:ec2:spot-instance", "selectionMode": "ALL", "resourceTags": {"Name": "Fis/Spot"}}},
        "tags": {"Key": "true"},
    }


def test_text_becomes_numbers_and_booleans() -> None:
    """A parameter of a template is text wherever it is put in."""
    shape = botocore.session.get_session().get_service_model("logs").operation_model("PutMetricFilter").input_shape
    assert shape is not None
    properties = {"MetricTransformations": [{"MetricName": "m", "MetricValue": 1, "DefaultValue": "0"}]}
    assert arguments_for(shape, properties) == {"metricTransformations": [{"metricName": "m", "metricValue": "1", "defaultValue": 0.0}]}


def test_a_function_beside_properties_is_refused() -> None:
    """An include that nobody resolved does not vanish unseen."""
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("CreateLaunchTemplate").input_shape
    assert shape is not None
    with pytest.raises(ValueError, match="Fn::Transform beside"):
        arguments_for(shape, {"LaunchTemplateData": {"ImageId": "ami-1", "Fn::Transform": {"Name": "AWS::Include"}}})
