"""An instance as far as a response needs to know it (EC2 API, ``Instance``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

GONE_STATES = frozenset({"shutting-down", "terminated", "stopping", "stopped"})
"""EC2's names of the states in which an instance runs nothing for us any more."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What DescribeInstances tells: ``state`` in EC2's words, ``zone`` such as ``us-east-1a``."""

    instance_id: str
    state: str
    instance_type: str
    zone: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OptInTag:
    """The tag by which an instance asks to be told to checkpoint."""

    key: str
    value: str

    def is_on(self, instance: Instance) -> bool:
        """Whether the instance bears the tag, to the letter."""
        return instance.tags.get(self.key) == self.value
