"""SSM documents: what is refused, and what a step's script becomes."""

import json
from typing import Any

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ssm_documents import RUN_SHELL_SCRIPT, check, parse, steps, total_seconds, values


def document(parameters: dict[str, Any] | None = None, lines: list[str] | None = None, **inputs: Any) -> dict[str, Any]:
    """Return a document with one step."""
    step = {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": lines or ["true"], **inputs}}
    return {"schemaVersion": "2.2", "parameters": parameters or {}, "mainSteps": [step]}


def script(parameters: dict[str, Any], lines: list[str], **given: list[str]) -> str | None:
    """Return the script that a document's one step runs."""
    content = document(parameters, lines)
    return steps(content, values(content, given))[0].script


def test_yaml_and_json_are_the_same() -> None:
    """A document may be written in either format."""
    assert parse(json.dumps(document()), "JSON") == parse(
        "schemaVersion: '2.2'\nparameters: {}\nmainSteps:\n- action: aws:runShellScript\n  name: run\n  inputs: {runCommand: ['true']}\n", "YAML"
    )


@pytest.mark.parametrize(
    "broken",
    [
        document() | {"mainSteps": []},
        document() | {"colour": "red"},
        document({"P": {"type": "Text"}}),
        document({"P_Q": {"type": "String"}}),
        document({"P": {"type": "String", "allowedPattern": "("}}),
        document({"P": {"type": "String", "allowedValues": ["a"], "default": "b"}}),
        document({"P": {"type": "String", "interpolationType": "RAW"}}),
        document({}, ["echo {{ Nowhere }}"]),
        document() | {"mainSteps": [{"action": "aws:runShellScript", "inputs": {}}]},
        document() | {"mainSteps": document()["mainSteps"] * 2},
    ],
)
def test_documents_that_are_refused(broken: dict[str, Any]) -> None:
    """No steps, unknown properties, wrong parameters, unknown references, steps without or with the same name."""
    check(document())
    with pytest.raises(ApiError) as refused:
        check(broken)
    assert refused.value.code == "InvalidDocumentContent"


def test_document_has_a_size() -> None:
    """64 KB are the limit."""
    with pytest.raises(ApiError) as refused:
        parse(json.dumps(document(lines=["#" * 65536])))
    assert refused.value.code == "MaxDocumentSizeExceeded"


def test_text_that_is_no_json() -> None:
    """Content that cannot be read is InvalidDocumentContent."""
    with pytest.raises(ApiError) as refused:
        parse("{")
    assert refused.value.code == "InvalidDocumentContent"


@pytest.mark.parametrize(
    ("definition", "given", "passes"),
    [
        ({"type": "String"}, ["x"], True),
        ({"type": "String"}, ["x", "y"], False),
        ({"type": "String"}, [], False),
        ({"type": "String", "allowedPattern": "^[a-z]+$"}, ["abc"], True),
        ({"type": "String", "allowedPattern": "^[a-z]+$"}, ["abc; reboot"], False),
        ({"type": "String", "allowedPattern": "[a-z]"}, ["1a1"], True),
        ({"type": "String", "allowedValues": ["a", "b"]}, ["b"], True),
        ({"type": "String", "allowedValues": ["a", "b"]}, ["c"], False),
        ({"type": "String", "maxChars": 2}, ["abc"], False),
        ({"type": "StringList", "maxItems": 2}, ["a", "b"], True),
        ({"type": "StringList", "maxItems": 2}, ["a", "b", "c"], False),
        ({"type": "StringList", "allowedPattern": "^a"}, ["a", "b"], False),
        ({"type": "Boolean"}, ["true"], True),
        ({"type": "Boolean"}, ["yes"], False),
        ({"type": "Integer"}, ["-3"], True),
        ({"type": "Integer"}, ["3.5"], False),
        ({"type": "StringMap"}, ['{"a": 1}'], True),
        ({"type": "StringMap"}, ["a=1"], False),
    ],
)
def test_values_of_parameters(definition: dict[str, Any], given: list[str], passes: bool) -> None:  # noqa: FBT001  a column of the table
    """Type, pattern, allowed values and lengths hold for every value given."""
    content = document({"P": definition})
    if passes:
        assert values(content, {"P": given}) == {"P": given}
        return
    with pytest.raises(ApiError) as refused:
        values(content, {"P": given})
    assert refused.value.code == "InvalidParameters"


def test_unknown_parameter_is_refused() -> None:
    """Values can only be given to parameters that the document has."""
    with pytest.raises(ApiError, match="not defined in the document: Q"):
        values(document({"P": {"type": "String", "default": "x"}}), {"Q": ["1"]})


def test_parameter_without_default_must_be_given() -> None:
    """A parameter without a default is required."""
    with pytest.raises(ApiError, match='"P" must be specified'):
        values(document({"P": {"type": "String"}}), None)


def test_text_is_put_in_as_it_is() -> None:
    """SSM quotes nothing: what a String holds becomes part of the script."""
    assert script({"P": {"type": "String"}}, ["echo {{ P }}", "echo '{{P}}'"], P=["a b; c"]) == "echo a b; c\necho 'a b; c'\n"


def test_list_inside_text_is_json() -> None:
    """A StringList inside a longer text becomes JSON."""
    assert script({"P": {"type": "StringList"}}, ["echo '{{ P }}'"], P=["a", "b c"]) == 'echo \'["a", "b c"]\'\n'


def test_list_in_place_of_the_commands() -> None:
    """A StringList that stands for all of runCommand gives its lines."""
    run = steps(RUN_SHELL_SCRIPT, values(RUN_SHELL_SCRIPT, {"commands": ["echo a", "echo b"]}))
    assert run[0].script == "echo a\necho b\n"


def test_environment_variables() -> None:
    """InterpolationType ENV_VAR hands the value over as SSM_<name>, where a shell cannot take it for code."""
    content = document({"P": {"type": "String", "interpolationType": "ENV_VAR"}, "Q": {"type": "String"}}, ['echo "$SSM_P"'])
    run = steps(content, values(content, {"P": ["$(reboot)"], "Q": ["x"]}))
    assert run[0].environment == {"SSM_P": "$(reboot)"}
    assert run[0].script == 'echo "$SSM_P"\n'


def test_step_for_another_platform_is_skipped() -> None:
    """A precondition that does not hold on Linux leaves no script."""
    content = document()
    content["mainSteps"][0]["precondition"] = {"StringEquals": ["platformType", "Windows"]}
    assert steps(content, {})[0].script is None
    content["mainSteps"][0]["precondition"] = {"StringEquals": ["platformType", "Linux"]}
    assert steps(content, {})[0].script == "true\n"


def test_timeout_may_be_a_parameter() -> None:
    """TimeoutSeconds is interpolated like everything else; without one a step has an hour."""
    content = document({"T": {"type": "String"}}, timeoutSeconds="{{ T }}")
    assert steps(content, values(content, {"T": ["110"]}))[0].seconds == 110
    assert steps(document(), {})[0].seconds == 3600


@pytest.mark.parametrize("seconds", ["4", "172801", "soon", ""])
def test_timeout_out_of_bounds_is_the_default(seconds: str) -> None:
    """The agent takes 5 s to 48 hours and else its default of an hour."""
    assert steps(document(timeoutSeconds=seconds), {})[0].seconds == 3600


def test_total_timeout_is_delivery_and_execution() -> None:
    """A command expires after its delivery timeout plus all that its steps may take."""
    assert total_seconds(steps(document(timeoutSeconds="110"), {}), 30) == 140
