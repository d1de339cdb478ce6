"""What an operator is asked, and what becomes of the answers."""

from __future__ import annotations

import json
import re
import tomllib
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_responder.domain.plans import RebalanceResponse
from spot_responder.settings import Settings
from tests.lambdas import ENVIRONMENT
from tests.template.stack import PARAMETERS, ROOT, WRITTEN, of_type, resolved, walk

NOT_OURS = {
    "AWS_ENDPOINT_URL",  # read by botocore; named in the template so that `sam local invoke` passes it on
}


class Read(UserDict[str, str]):
    """An environment that knows which of its variables were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a variable."""
        self.names.add(key)
        return ENVIRONMENT.get(key, default)


def test_every_setting_is_set() -> None:
    """The template sets exactly the variables that the settings read."""
    read = Read()
    Settings.from_env(read)
    variables = set(WRITTEN["Globals"]["Function"]["Environment"]["Variables"])
    assert variables - NOT_OURS == read.names


def test_the_settings_take_the_defaults() -> None:
    """With the defaults of all parameters, the settings are valid."""
    (environment,) = {json.dumps(resolved(function["Environment"]), sort_keys=True) for function in of_type("AWS::Lambda::Function").values()}
    variables = {name: str(value) for name, value in json.loads(environment)["Variables"].items()}
    settings = Settings.from_env(variables)
    assert settings.notices_table == "spot-responder-notices"
    assert settings.checkpoint_document == "spot-responder-checkpoint"


@pytest.mark.parametrize("value", PARAMETERS["RebalanceResponse"]["AllowedValues"])
def test_every_response_is_known(value: str) -> None:
    """Each answer that RebalanceResponse allows is one that the code knows, and the code knows no other."""
    assert RebalanceResponse(value)
    assert len(RebalanceResponse) == len(PARAMETERS["RebalanceResponse"]["AllowedValues"])


@pytest.mark.parametrize("days", PARAMETERS["RetentionDays"]["AllowedValues"])
def test_every_retention_is_one(days: int) -> None:
    """Each number of days that is allowed is a valid setting."""
    assert Settings.from_env(ENVIRONMENT | {"RETENTION_DAYS": str(days)}).keep.days == days


def test_guided_needs_no_answer() -> None:
    """Every parameter has a default that its own rules allow, so that `sam deploy --guided` needs only a name for the stack."""
    for name, parameter in PARAMETERS.items():
        default = parameter["Default"]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default), re.DOTALL), name
        assert default in parameter.get("AllowedValues", [default]), name


def test_every_parameter_is_explained() -> None:
    """Every parameter has a description, a label and a place in one of the groups that the console shows."""
    interface = WRITTEN["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(PARAMETERS)
    assert set(interface["ParameterLabels"]) == set(PARAMETERS)
    for name, parameter in PARAMETERS.items():
        assert 20 < len(parameter["Description"]) < 4000, name
        assert "AllowedPattern" not in parameter or "ConstraintDescription" in parameter, name


def test_every_parameter_is_used() -> None:
    """No parameter is asked for in vain."""
    text = str(WRITTEN["Resources"]) + str(WRITTEN["Globals"]) + str(WRITTEN["Conditions"]) + (ROOT / "documents/checkpoint.yaml").read_text()
    for name in PARAMETERS:
        assert f"'{name}'" in text or f"${{{name}}}" in text or f"Ref: {name}" in text, name


def allowed(name: str) -> st.SearchStrategy[str]:
    """Draw what a parameter allows."""
    return st.from_regex(PARAMETERS[name]["AllowedPattern"], fullmatch=True)


@given(allowed("OptInTagKey"), allowed("OptInTagValue"))
def test_no_tag_breaks_a_policy(key: str, value: str) -> None:
    """Whatever tag the parameters allow, the policy that names it is JSON that names that tag; nothing else gets in."""
    policies = of_type("AWS::IAM::Role")["RespondToNoticesRole"]["Policies"]
    (policy,) = [one["PolicyDocument"] for one in policies if one["PolicyName"] == "SendCommandToOptedIn"]
    (statement,) = json.loads(resolved(policy, {"OptInTagKey": key, "OptInTagValue": value}))["Statement"]
    assert statement["Condition"] == {"StringEquals": {f"ssm:resourceTag/{key}": value}}


@pytest.mark.parametrize("name", ["OptInTagKey", "OptInTagValue"])
@pytest.mark.parametrize("text", ['"', "\\", "a\nb", "${aws:username}", "*", "?", ""])
def test_a_tag_is_plain(name: str, text: str) -> None:
    """No quote, backslash, line break, wildcard or variable of a policy is allowed in a tag."""
    assert not re.fullmatch(PARAMETERS[name]["AllowedPattern"], text)


def test_the_stack_has_one_name() -> None:
    """Samconfig's stack is the one whose table and document the sandbox's environment names, for `sam local invoke`."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    environment = json.loads((ROOT / "events/sandbox-env.json").read_text())["Parameters"]
    for name in ("default", "sandbox"):
        stack = {"AWS::StackName": config[name]["global"]["parameters"]["stack_name"]}
        properties = {**of_type("AWS::DynamoDB::Table"), **of_type("AWS::SSM::Document")}
        assert resolved(properties["NoticesTable"]["TableName"], stack) == environment["NOTICES_TABLE"]
        assert resolved(properties["CheckpointDocument"]["Name"], stack) == environment["CHECKPOINT_DOCUMENT"]
    assert config["sandbox"]["local_invoke"]["parameters"]["env_vars"] == "events/sandbox-env.json"


def test_nothing_names_the_sandbox() -> None:
    """The template knows no sandbox: the same one goes to any account and Region."""
    texts = [part for part in walk(WRITTEN["Resources"]) if isinstance(part, str)]
    for text in texts:
        assert "us-east-1" not in text
        assert "000000000000" not in text
        assert "127.0.0.1" not in text
