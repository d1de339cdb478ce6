"""The checkpoint document, as CloudFormation and Systems Manager take it."""

from __future__ import annotations

import re

import yaml

from tests.checkpoint_document import DOCUMENT, PATH, deployed
from tests.template.stack import ROOT, WRITTEN, of_type, walk

LARGEST_COMMAND = "x" * 4096
"""CloudFormation's limit for a parameter's value."""


def test_the_template_includes_it() -> None:
    """The template includes this document, as a Command document that an update replaces by a new version."""
    (document,) = of_type("AWS::SSM::Document").values()
    location = document["Content"]["Fn::Transform"]["Parameters"]["Location"]
    assert (ROOT / location).resolve() == PATH
    assert (document["DocumentType"], document["UpdateMethod"]) == ("Command", "NewVersion")


def test_it_is_small_enough() -> None:
    """Even with the largest command that a stack can have it is under SSM's 64 KB."""
    assert len(yaml.safe_dump(deployed({"CheckpointCommand": LARGEST_COMMAND})).encode()) < 64 * 1024


def test_the_schema_is_run_commands() -> None:
    """It is of schema 2.2, that of Run Command."""
    assert DOCUMENT["schemaVersion"] == "2.2"
    assert set(DOCUMENT) == {"schemaVersion", "description", "parameters", "mainSteps"}


def test_every_parameter_has_a_pattern() -> None:
    """No parameter is free text: each has a pattern that covers the whole value."""
    for parameter in DOCUMENT["parameters"].values():
        assert parameter["allowedPattern"].startswith("^")
        assert parameter["allowedPattern"].endswith("$")
        assert len(parameter["description"]) > 20


def test_parameters_stand_where_the_shell_only_reads() -> None:
    """A parameter is put into the script once, within single quotes, which no value that the pattern admits can leave."""
    text = PATH.read_text()
    for name, parameter in DOCUMENT["parameters"].items():
        assert re.findall(rf".*\{{\{{ {name} \}}\}}.*", text) == [f"          notices='{{{{ {name} }}}}'"]
        assert "'" not in parameter["allowedPattern"]


def test_cloudformations_part_is_in_the_long_form() -> None:
    """AWS::Include knows the functions' long names only; the text that a shell reads has none of CloudFormation's substitutions."""
    tags = {type(part).__name__ for part in walk(DOCUMENT)}
    assert tags <= {"dict", "list", "str"}
    (step,) = DOCUMENT["mainSteps"]
    (script,) = [part for part in step["inputs"]["runCommand"] if isinstance(part, str)]
    assert "Fn::" not in script
    used = {part["Ref"] for part in walk(DOCUMENT) if isinstance(part, dict) and set(part) == {"Ref"}}
    assert used <= set(WRITTEN["Parameters"])


def test_the_step_outlasts_every_deadline() -> None:
    """SSM's own time limit for the step is longer than the longest deadline, ten minutes: the document ends itself, and says why."""
    (step,) = DOCUMENT["mainSteps"]
    assert int(step["inputs"]["timeoutSeconds"]) > 600
