"""The checkpoint document as an instance gets it: rendered first as CloudFormation does, then as the SSM agent does.

CloudFormation resolves the functions (``AWS::Include`` allows them in their long form only); the agent puts the
parameters into ``{{ Name }}`` and runs the lines of ``runCommand`` as one script (Systems Manager User Guide, "Data
elements and parameters").
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = Path(__file__).parents[1] / "documents" / "checkpoint.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(PATH.read_text())
PATTERN: str = DOCUMENT["parameters"]["Notices"]["allowedPattern"]


class RefusedBySsm(ValueError):
    """SSM takes no parameter that does not match its pattern."""


def deployed(stack: Mapping[str, str]) -> dict[str, Any]:
    """Return the document as CloudFormation creates it for these parameters of the stack."""
    document: dict[str, Any] = _resolved(DOCUMENT, stack)
    return document


def script(notices: str, checkpoint_command: str = "") -> str:
    """Return the script that the agent runs. Raises ``RefusedBySsm``."""
    if not re.search(PATTERN, notices):
        raise RefusedBySsm(notices)
    (step,) = deployed({"CheckpointCommand": checkpoint_command})["mainSteps"]
    return "\n".join(step["inputs"]["runCommand"]).replace("{{ Notices }}", notices)


def _resolved(part: Any, names: Mapping[str, str]) -> Any:
    match part:
        case {"Ref": name}:
            return names[name]
        case {"Fn::Base64": value}:
            return base64.b64encode(_resolved(value, names).encode()).decode()
        case {"Fn::Sub": [text, values]}:
            own = {name: _resolved(value, names) for name, value in values.items()}
            return re.sub(r"\$\{(\w+)\}", lambda found: {**names, **own}[found[1]], text)
        case dict():
            return {name: _resolved(value, names) for name, value in part.items()}
        case list():
            return [_resolved(value, names) for value in part]
    return part
