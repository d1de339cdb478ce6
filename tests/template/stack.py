"""The stack as its template describes it: as it is written, as SAM translates it, and as CloudFormation resolves it.

``WRITTEN`` is template.yaml with the long names of the functions; ``TRANSLATED`` is what SAM's own translator makes of
it, which is what is deployed. ``resolved`` puts in what CloudFormation knows: parameters' defaults, names, ARNs.
"""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.events.models import EventPattern, EventPatternParser
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]  # SAM brings no types
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]  # likewise
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # likewise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
ACCOUNT = "123456789012"
PSEUDO = {"AWS::Region": "us-east-1", "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::StackName": "spot-responder", "AWS::NoValue": None}
NAMES = {"AWS::DynamoDB::Table": "TableName", "AWS::SSM::Document": "Name", "AWS::Logs::LogGroup": "LogGroupName"}
"""The properties that CloudFormation's ``Ref`` returns, for the types whose names we set."""


def _translated(written: dict[str, Any]) -> dict[str, Any]:
    template = copy.deepcopy(written)
    for resource in template["Resources"].values():
        for place in ("CodeUri", "ContentUri", "DefinitionUri"):
            if place in resource.get("Properties", {}):
                resource["Properties"][place] = "s3://bucket/key"
    os.environ.setdefault("AWS_DEFAULT_REGION", PSEUDO["AWS::Region"] or "")
    stack: dict[str, Any] = Translator({}, Parser()).translate(template, {})
    return stack


WRITTEN: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
TRANSLATED = _translated(WRITTEN)
PARAMETERS: dict[str, dict[str, Any]] = WRITTEN["Parameters"]
RESOURCES: dict[str, dict[str, Any]] = TRANSLATED["Resources"]
WITH_JOB = {"SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1"}
"""The parameters of a stack that has the job part."""
FUNCTIONS = tuple(name for name, resource in WRITTEN["Resources"].items() if resource["Type"] == "AWS::Serverless::Function")


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of a type, by logical id."""
    return {name: resource.get("Properties", {}) for name, resource in RESOURCES.items() if resource["Type"] == kind}


def resolved(part: Any, parameters: Mapping[str, object] | None = None) -> Any:
    """Return a part of the template with its functions resolved; ``AWS::NoValue`` removes what it stands for."""
    return _resolver(parameters).resolve(part)


def deployed(parameters: Mapping[str, object] | None = None) -> set[str]:
    """Return the logical ids of the resources that are there with these parameters."""
    resolver = _resolver(parameters)
    return {name for name, resource in RESOURCES.items() if "Condition" not in resource or resolver.holds(resource["Condition"])}


def _resolver(parameters: Mapping[str, object] | None) -> _Resolver:
    return _Resolver({name: parameter["Default"] for name, parameter in PARAMETERS.items()} | PSEUDO | dict(parameters or {}))


class _Resolver:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def resolve(self, part: Any) -> Any:  # noqa: C901, PLR0911  # one case, and one return, for each function
        match part:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return f"{name}.{attribute}"
            case {"Fn::GetAtt": str(name)}:
                return name
            case {"Fn::Sub": str(text)}:
                return self._substituted(text, {})
            case {"Fn::Sub": [str(text), dict(names)]}:
                return self._substituted(text, {name: self.resolve(value) for name, value in names.items()})
            case {"Fn::Split": [str(separator), text]}:
                return self.resolve(text).split(separator)
            case {"Fn::Base64": text}:
                return self.resolve(text)
            case {"Fn::If": [condition, yes, no]}:
                return self.resolve(yes if self.holds(condition) else no)
            case dict():
                return {name: value for name, given in part.items() if (value := self.resolve(given)) is not None}
            case list():
                return [value for given in part if (value := self.resolve(given)) is not None]
        return part

    def _substituted(self, text: str, names: Mapping[str, Any]) -> str:
        return re.sub(r"\$\{([^}]+)\}", lambda found: str(names[found[1]] if found[1] in names else self._named(found[1])), text)

    def _ref(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        resource = RESOURCES[name]
        named = NAMES.get(resource["Type"])
        return self.resolve(resource["Properties"][named]) if named else name

    def _named(self, name: str) -> Any:
        return name if "." in name else self._ref(name)

    def holds(self, condition: Any) -> bool:
        """Return whether a condition, or the one of this name, holds."""
        match condition:
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Fn::And": list(all_of)}:
                return all(self.holds(inner) for inner in all_of)
            case {"Fn::Equals": [left, right]}:
                return bool(self.resolve(left) == self.resolve(right))
            case {"Condition": str(name)} | str(name):
                return self.holds(WRITTEN["Conditions"][name])
        raise NotImplementedError(condition)


def snake(name: str) -> str:
    """Return a resource's name as its folder is called: ``record_notice`` for ``RecordNotice``."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def rules() -> dict[str, dict[str, Any]]:
    """Return EventBridge's rules, resolved, by logical id."""
    return {name: resolved(rule) for name, rule in of_type("AWS::Events::Rule").items()}


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Return whether an EventBridge pattern matches an event, as moto understands patterns."""
    parsed = EventPatternParser(json.dumps(pattern)).parse()
    matched: bool = EventPattern(None, parsed).matches_event(event)
    return matched


def walk(part: Any) -> Iterator[Any]:
    """Yield a part of the template and all parts within it."""
    yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(inner)
