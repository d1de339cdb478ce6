"""The definitions of the state machines as they are deployed: YAML with CloudFormation's substitutions put in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
SPOT_JOB = "spot_job"
END_JOB = "end_job"
NAMES = (SPOT_JOB, END_JOB)
SUBSTITUTION = re.compile(r"\$\{(\w+)\}")

type State = dict[str, Any]


def text(name: str) -> str:
    """Return a definition as it is written."""
    return (ROOT / f"statemachine/{name}.asl.yaml").read_text()


def definition(name: str, substitutions: Mapping[str, object]) -> dict[str, Any]:
    """Return a definition with these values in it, put in as CloudFormation does: in the text, before it is read. KeyError: one is missing."""
    return yaml.safe_load(SUBSTITUTION.sub(lambda found: _text(substitutions[found[1]]), text(name)))  # type: ignore[no-any-return]  # the root is an object


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def states(machine: Mapping[str, Any]) -> Mapping[str, State]:
    """Return a definition's states by name."""
    found: Mapping[str, State] = machine["States"]
    return found


def ways(machine: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each way from a state to another: from, how (``Next``, ``Default``, ``Choice 0``, ``Catch 0``), to."""
    for name, state in states(machine).items():
        for how in ("Next", "Default"):
            if how in state:
                yield name, how, state[how]
        for kind in ("Choices", "Catch"):
            for number, branch in enumerate(state.get(kind, [])):
                yield name, f"{kind} {number}", branch["Next"]


def as_json(machine: Mapping[str, Any]) -> str:
    """Return a definition as Step Functions takes it."""
    return json.dumps(machine)
