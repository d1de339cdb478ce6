"""Experiment templates: what FIS refuses."""

import copy
from typing import Any

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.fis_templates import check, seconds

TARGET = {"resourceType": "aws:ec2:spot-instance", "resourceTags": {"Name": "Fis/Spot"}, "selectionMode": "ALL"}


def template() -> dict[str, Any]:
    """Return the FIS workshop's template: wait three minutes, then interrupt."""
    return copy.deepcopy(
        {
            "description": "Use spot instance interruption on spot instance",
            "roleArn": "arn:aws:iam::123456789012:role/FisWorkshopSpotRole",
            "stopConditions": [{"source": "none"}],
            "targets": {"Spot": TARGET | {"filters": [{"path": "State.Name", "values": ["running"]}]}},
            "actions": {
                "Wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT3M"}},
                "Interrupt": {
                    "actionId": "aws:ec2:send-spot-instance-interruptions",
                    "parameters": {"durationBeforeInterruption": "PT2M"},
                    "targets": {"SpotInstances": "Spot"},
                    "startAfter": ["Wait"],
                },
            },
        }
    )


def test_the_workshops_template_passes() -> None:
    """The template of the FIS workshop is valid."""
    check(template())


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("actions.Interrupt.actionId", "aws:ec2:melt-instances", "does not exist"),
        ("actions.Interrupt.parameters", {}, "durationBeforeInterruption' is missing"),
        ("actions.Interrupt.parameters.colour", "red", "not a parameter"),
        ("actions.Interrupt.parameters.durationBeforeInterruption", "PT1M", "between PT2M and PT15M"),
        ("actions.Interrupt.parameters.durationBeforeInterruption", "PT16M", "between PT2M and PT15M"),
        ("actions.Interrupt.parameters.durationBeforeInterruption", "2 minutes", "not a valid duration"),
        ("actions.Interrupt.targets", {"Instances": "Spot"}, "needs the targets"),
        ("actions.Interrupt.targets", {"SpotInstances": "Nothing"}, "not defined"),
        ("actions.Interrupt.startAfter", ["Nothing"], "unknown action"),
        ("actions.Wait.startAfter", ["Interrupt"], "circle"),
        ("actions.Wait.parameters.duration", "PT59S", "between PT1M and PT12H"),
        ("actions.Wait.targets", {"SpotInstances": "Spot"}, "needs the targets"),
        ("targets.Spot.resourceType", "aws:ec2:instance", "must be of type aws:ec2:spot-instance"),
        ("targets.Spot.resourceType", "aws:ec2:toaster", "does not exist"),
        ("targets.Spot.resourceTags", {}, "either resourceArns or resourceTags"),
        ("targets.Spot.resourceArns", ["arn:1"], "either resourceArns or resourceTags"),
        ("targets.Spot.selectionMode", "COUNT(0)", "selection mode"),
        ("targets.Spot.selectionMode", "PERCENT(101)", "selection mode"),
        ("targets.Spot.selectionMode", "SOME", "selection mode"),
        ("targets.Spot.filters", [{"path": "State.Name", "values": []}], "path and values"),
        ("roleArn", "FisWorkshopSpotRole", "not valid"),
        ("stopConditions", [], "stop condition"),
        ("stopConditions", [{"source": "aws:cloudwatch:alarm"}], "ARN of an alarm"),
        ("stopConditions", [{"source": "none", "value": "arn:1"}], "ARN of an alarm"),
        ("stopConditions", [{"source": "weather"}], "not valid"),
        ("actions", {}, "between 1 and 20"),
        ("experimentOptions", {"emptyTargetResolutionMode": "shrug"}, "fail or skip"),
    ],
)
def test_templates_that_are_refused(path: str, value: Any, says: str) -> None:
    """Each mistake is a ValidationException that says what it is."""
    broken = template()
    *folders, name = path.split(".")
    place = broken
    for folder in folders:
        place = place[folder]
    place[name] = value
    with pytest.raises(ApiError, match=says) as refused:
        check(broken)
    assert refused.value.code == "ValidationException"


@pytest.mark.parametrize(("text", "expected"), [("PT2M", 120), ("PT1H30M", 5400), ("PT90S", 90), ("P1D", 86400)])
def test_durations(text: str, expected: int) -> None:
    """ISO 8601 durations are read in seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "P", "PT", "2M", "PT2", "PT-2M"])
def test_texts_that_are_no_durations(text: str) -> None:
    """What is not a duration is refused."""
    with pytest.raises(ApiError, match="not a valid duration"):
        seconds(text)
