"""Which instances an experiment hits. Pure but for chance, which comes in as `random.Random`.

https://docs.aws.amazon.com/fis/latest/userguide/targets.html
"""

import random
from collections.abc import Iterator
from typing import Any

from spot_sandbox.ec2_instances import Instance
from spot_sandbox.fis_templates import SPOT_INSTANCE

type Json = dict[str, Any]


def resolve(target: Json, instances: list[Instance], chance: random.Random) -> list[Instance]:
    """Return the instances that a target means, chosen by its selection mode; instances of every state count.

    A filter on ``State.Name`` is what keeps terminated ones out, as with FIS.
    """
    found = [instance for instance in instances if _is_meant(target, instance)]
    return _select(target["selectionMode"], found, chance)


def _is_meant(target: Json, instance: Instance) -> bool:
    if target["resourceType"] == SPOT_INSTANCE and instance.spec.spot is None:
        return False
    if target.get("resourceArns"):
        return instance.arn in target["resourceArns"]
    tags = target.get("resourceTags") or {}
    if any(instance.tags.get(key) != value for key, value in tags.items()):
        return False
    shown = instance.describe()
    return all(_filter_holds(shown, item) for item in target.get("filters") or [])


def _filter_holds(shown: Json, item: Json) -> bool:
    """Tell whether one of the values at the filter's path, in what DescribeInstances shows, is one of the filter's."""
    return any(str(value) in item["values"] for value in _at(shown, item["path"].split(".")))


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _select(mode: str, found: list[Instance], chance: random.Random) -> list[Instance]:
    """Choose ``ALL``, ``COUNT(n)`` or ``PERCENT(n)`` of the instances; a share is rounded down."""
    kind, _, rest = mode.partition("(")
    number = int(rest.rstrip(")") or 0)
    match kind:
        case "COUNT":
            return chance.sample(found, min(number, len(found)))
        case "PERCENT":
            return chance.sample(found, len(found) * number // 100)
        case _:
            return found
