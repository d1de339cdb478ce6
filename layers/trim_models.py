"""Cut botocore's models of EC2 and SSM down to what the application uses.

    python layers/trim_models.py     # after a newer botocore; a test says when

A cold start that reads the whole model of EC2, over 4 MB of JSON, spends more CPU on that than on importing all of our own code.
botocore looks for models in directories of the user's before its own ("Loader" in ``botocore/loaders.py``), so a small file of the
same form is enough. It is made from the botocore that is installed; nothing in it is written by hand.
"""
# ruff: noqa: INP001  # a script beside the layer, not part of it

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session

from spot_responder.adapters.clients import MODELS
from spot_responder.adapters.ec2_fleet import SHAPES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

OPERATIONS = {
    "ec2": ("DescribeInstances",),
    "ssm": ("DescribeInstanceInformation", "GetCommandInvocation", "SendCommand"),
}
NOT_NEEDED = ("documentation", "enum")
"""What botocore neither serializes nor parses by."""

type Model = Mapping[str, Any]


def trimmed(model: Model, operations: Collection[str], members: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the part of a service's model that these operations need, with only these ``members`` of some structures."""
    shapes: dict[str, Any] = {}
    used = {name: _bare(model["operations"][name]) for name in operations}
    todo = list(_shapes_of(used))
    while todo:
        name = todo.pop()
        if name not in shapes:
            shapes[name] = _chosen(_bare(model["shapes"][name]), members.get(name))
            todo += _shapes_of(shapes[name])
    return {"version": model["version"], "metadata": model["metadata"], "operations": used, "shapes": dict(sorted(shapes.items()))}


def _bare(part: Any) -> Any:  # noqa: ANN401  # any part of a model
    """Return a part without what is not needed of it; the name of a member is not looked at."""
    if isinstance(part, list):
        return [_bare(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: _bare(member) for name, member in value.items()} if key == "members" else _bare(value)
        for key, value in part.items()
        if key not in NOT_NEEDED
    }


def _chosen(shape: dict[str, Any], members: Collection[str] | None) -> dict[str, Any]:
    return shape if members is None else {**shape, "members": {name: shape["members"][name] for name in members}}


def _shapes_of(part: Any) -> Iterator[str]:  # noqa: ANN401  # any part of a model
    """Yield the names of the shapes that a part refers to: its members', its elements', its errors'."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _shapes_of(one)


def models() -> dict[Path, str]:
    """Return the text of each file that is to be under ``MODELS``."""
    loader = botocore.session.get_session().get_component("data_loader")
    texts = {}
    for service, operations in OPERATIONS.items():
        version = loader.determine_latest_version(service, "service-2")
        whole = loader.load_service_model(service, "service-2", version)
        members = SHAPES if service == "ec2" else {}
        texts[Path(MODELS) / service / version / "service-2.json"] = json.dumps(trimmed(whole, operations, members), indent=1) + "\n"
    return texts


if __name__ == "__main__":
    for path, text in models().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
