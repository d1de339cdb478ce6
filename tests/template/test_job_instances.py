"""What a job's instances get of the parameters, and what becomes of the work that they have saved."""

from __future__ import annotations

from typing import Any

from tests.template.stack import WITH_JOB, of_type, resolved


def launched(parameters: dict[str, object]) -> dict[str, Any]:
    """Return what the launch template says, but for the user data (tests/unit/agent/test_user_data.py)."""
    written = of_type("AWS::EC2::LaunchTemplate")["JobLaunchTemplate"]["LaunchTemplateData"]
    return {name: resolved(part, {**WITH_JOB, **parameters}) for name, part in written.items() if name != "UserData"}


def expiring(parameters: dict[str, object]) -> list[object]:
    """Return after how many days the bucket deletes what is in it."""
    bucket = resolved(of_type("AWS::S3::Bucket")["JobBucket"], {**WITH_JOB, **parameters})
    return [rule["ExpirationInDays"] for rule in bucket["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule]


def test_results_are_not_deleted_unless_somebody_says_so() -> None:
    """What jobs have saved is their results, too: it stays, however short the records and the log are kept."""
    assert expiring({"RetentionDays": 1}) == []
    assert expiring({"RetentionDays": 1, "ResultsRetentionDays": 90}) == [90]


def test_uploads_that_broke_off_are_removed() -> None:
    """Parts of an upload that nobody finished are of no use to anybody, and are paid."""
    bucket = resolved(of_type("AWS::S3::Bucket")["JobBucket"], WITH_JOB)
    assert {"DaysAfterInitiation": 1} in [rule.get("AbortIncompleteMultipartUpload") for rule in bucket["LifecycleConfiguration"]["Rules"]]


def test_volume_and_silence_are_parameters() -> None:
    """A large checkpoint needs a larger volume, and a large image boots for longer than the default lets an attempt be silent."""
    (device,) = launched({"VolumeSize": 200})["BlockDeviceMappings"]
    assert device["Ebs"]["VolumeSize"] == 200
    machine = of_type("AWS::StepFunctions::StateMachine")["SpotChaosStateMachine"]
    assert resolved(machine["DefinitionSubstitutions"], {**WITH_JOB, "HeartbeatSeconds": 600})["HeartbeatSeconds"] == 600


def test_instance_that_powers_off_is_gone() -> None:
    """An instance that ends itself, because its work is done or its agent is missing, is terminated, and its volume with it."""
    assert launched({})["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert all(device["Ebs"]["DeleteOnTermination"] for device in launched({})["BlockDeviceMappings"])
