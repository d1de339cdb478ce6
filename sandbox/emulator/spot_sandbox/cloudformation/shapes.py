"""From a resource's properties to the arguments of an API call, led by botocore's model of the call.

CloudFormation writes ``RoleArn`` where FIS's API says ``roleArn``, and hands numbers and booleans as text where a
parameter was put in. Pure but for botocore's types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape


def arguments_for(shape: Shape, properties: object) -> Any:
    """`properties` in the names and types of `shape`; what the shape does not know is left out."""
    match shape:
        case StructureShape() if isinstance(properties, Mapping):
            _refuse_functions(properties)
            members = {name.lower(): (name, member) for name, member in shape.members.items()}
            known = {members[name.lower()]: value for name, value in properties.items() if name.lower() in members}
            return {name: arguments_for(member, value) for (name, member), value in known.items() if value is not None}
        case MapShape() if isinstance(properties, Mapping):
            return {key: arguments_for(shape.value, value) for key, value in properties.items()}
        case ListShape() if isinstance(properties, Sequence) and not isinstance(properties, str):
            return [arguments_for(shape.member, member) for member in properties]
        case _:
            return _scalar(shape.type_name, properties)


def _refuse_functions(properties: Mapping[str, Any]) -> None:
    """LocalStack resolves an intrinsic function only where it stands alone; beside others it would be passed over."""
    unresolved = [name for name in properties if name.startswith("Fn::")]
    if unresolved:
        raise ValueError(f"The sandbox does not understand {unresolved[0]} beside other properties; put it into a property of its own")


def _scalar(type_name: str, value: object) -> object:
    match type_name:
        case "boolean":
            return value if isinstance(value, bool) else str(value).lower() == "true"
        case "integer" | "long":
            return int(str(value))
        case "float" | "double":
            return float(str(value))
        case "string":
            return _text(value)
        case _:
            return value


def _text(value: object) -> str:
    """As CloudFormation writes it: ``true``, not Python's ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
