"""Values compared with the shapes of botocore's models: more of them than a client checks by itself.

A client sees to types and required members; AWS also refuses what is none of an enumeration, too long, too many, or against a pattern.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.model import ListShape, MapShape, StringShape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.model import OperationModel, Shape

KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    # As JSON: what was recorded, and what a definition writes.
    "timestamp": (str, int, float),
    "blob": (str,),
}


def operation_model(service: str, operation: str) -> OperationModel:
    """Return what botocore knows of an operation; raises its ``OperationNotFoundError``."""
    found: OperationModel = _service(service).operation_model(operation)
    return found


@functools.cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


type Check = Callable[[Shape, object, str], Iterator[str]]


def misfits(
    shape: Shape, value: object, place: str, *, named: Callable[[str], str] = str, is_open: Callable[[object], bool] = lambda _: False
) -> Iterator[str]:
    """Yield where a value is not of a shape. ``named`` makes a member's name what the value calls it; ``is_open`` values are not looked at."""
    deeper: Check = functools.partial(misfits, named=named, is_open=is_open)
    match shape, value:
        case _ if is_open(value):
            return
        case StructureShape(), dict():
            yield from _structure_misfits({named(name): member for name, member in shape.members.items()}, shape, value, place, deeper)
            yield from (f"{place}: {shape.name} lacks {name}" for name in set(map(named, shape.required_members)) - value.keys())
        case ListShape(), list():
            yield from _out_of_bounds(shape, len(value), place)
            for number, one in enumerate(value):
                yield from deeper(shape.member, one, f"{place}[{number}]")
        case MapShape(), dict():
            yield from _out_of_bounds(shape, len(value), place)
            for key, one in value.items():
                yield from deeper(shape.key, key, f"{place} ({key})")
                yield from deeper(shape.value, one, f"{place}.{key}")
        case _:
            yield from _plain_misfits(shape, value, place)


def _structure_misfits(members: Mapping[str, Shape], shape: StructureShape, value: Mapping[str, object], place: str, deeper: Check) -> Iterator[str]:
    yield from (f"{place}: {shape.name} has no member {name}" for name in value.keys() - members.keys())
    if shape.is_tagged_union and len(value) != 1:
        yield f"{place}: {shape.name} has one member, not {len(value)}"
    for name in value.keys() & members.keys():
        yield from deeper(members[name], value[name], f"{place}.{name}")


def _plain_misfits(shape: Shape, value: object, place: str) -> Iterator[str]:
    if not isinstance(value, KINDS.get(shape.type_name, ())) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{place}: {value!r} is no {shape.type_name}"
    elif isinstance(value, str):
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of {', '.join(shape.enum)}"
        # Anchored as AWS's own checks are: the whole text is meant.
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            yield f"{place}: {value!r} does not match {pattern}"
        yield from _out_of_bounds(shape, len(value), place)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _out_of_bounds(shape, value, place)


def _out_of_bounds(shape: Shape, size: float, place: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if not least <= size <= most:
        yield f"{place}: {size} is not from {least} to {most}"
