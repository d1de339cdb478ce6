"""One word everywhere: grep it, and have the whole feature."""

from __future__ import annotations

import botocore.session
import pytest

from tests.lambdas import FUNCTIONS as FOLDERS
from tests.template.stack import FUNCTIONS, ROOT, WRITTEN, snake
from tests.template.test_event_patterns import SAMPLES


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_one_name(name: str) -> None:
    """Resource, folder, wiring, use case and test are called alike; the folder holds one handler."""
    word = snake(name)
    assert WRITTEN["Resources"][name]["Properties"]["CodeUri"] == f"functions/{word}"
    for path in (
        f"functions/{word}/app.py",
        f"layers/responder/spot_responder/wiring/{word}.py",
        f"layers/responder/spot_responder/use_cases/{word}.py",
        f"tests/unit/test_{word}.py",
    ):
        assert (ROOT / path).is_file(), path
    assert f"import {word} as handler" in (ROOT / f"functions/{word}/app.py").read_text()


def test_there_are_no_others() -> None:
    """Every folder of functions/ is a function of the template, and the tests know them all."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == {snake(name) for name in FUNCTIONS} == set(FOLDERS)


def test_every_function_has_samples() -> None:
    """Each function has sample events."""
    assert set(SAMPLES.values()) == set(FUNCTIONS)


def test_every_sample_is_explained() -> None:
    """events/README.md lists every sample event, and no other."""
    files = {path.stem for path in (ROOT / "events").glob("*.json")} - {"sandbox-env"}
    assert files == set(SAMPLES)


@pytest.mark.parametrize(
    ("service", "shape", "member"),
    [
        ("autoscaling", "Tag", "PropagateAtLaunch"),
        ("batch", "ComputeResource", "tags"),
        ("batch", "ComputeResource", "instanceRole"),
        ("batch", "ComputeResource", "spotIamFleetRole"),
        ("emr", "RunJobFlowInput", "Tags"),
        ("emr", "RunJobFlowInput", "JobFlowRole"),
        ("eks", "CreateNodegroupRequest", "nodeRole"),
        ("ec2", "CreateFleetRequest", "Type"),
        ("ec2", "RunInstancesRequest", "TagSpecifications"),
        ("ec2", "RunInstancesRequest", "IamInstanceProfile"),
    ],
)
def test_other_services_have_these_names(service: str, shape: str, member: str) -> None:
    """Where docs/operating.md says that tag and role go, the service's API has a member of that name."""
    assert member in botocore.session.get_session().get_service_model(service).shape_for(shape).members  # type: ignore[attr-defined]  # a structure
    section = (ROOT / "docs/operating.md").read_text().partition("## Instances that other services launch")[2].partition("\n## ")[0]
    assert f"{member}`" in section
