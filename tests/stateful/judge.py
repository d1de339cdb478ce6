"""What may never happen, looked for in every write to the tables and every command."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stateful.account import Key
    from tests.stateful.expressions import Item

OF_THE_FIRST = ("kind", "action", "instance_id", "account", "region", "event_time", "event_id", "deadline", "recorded_by")
"""What the first copy says, the item keeps."""
GUESSES = ("missed", "failed")
OF_THE_OWNER = ("percent", "percent_at", "checkpoint", "checkpoint_before", "checkpoint_seconds", "saved_percent", "final", "stopped_at")
"""What nobody but the job's owner writes."""


@dataclass
class Judge:
    """Collects what was wrong; ``outcomes`` are those that each notice had, in order."""

    wrongs: list[str] = field(default_factory=list)
    outcomes: dict[str, list[str]] = field(default_factory=dict)

    def watch(self, table: str, before: Item, after: Item, who: str) -> None:
        """Judge a write."""
        if table == "notices":
            self._judge_notice(before, after, who)
        elif before and "execution" in after:
            self._judge_job(before, after, who)

    def asked(self, notices: Mapping[Key, Item], instance: str, kind: str, deadline: float) -> None:
        """Judge a command: a notice whose item says that it was answered is not answered again."""
        for item in notices.values():
            is_it = (_text(item, "instance_id"), _text(item, "kind")) == (instance, kind)
            if is_it and datetime.fromisoformat(_text(item, "deadline")).timestamp() == deadline and "command_id" in item:
                self.wrongs.append(f"{_text(item, 'notice_id')}: asked again, though its item says that it was")

    def _judge_notice(self, before: Item, after: Item, who: str) -> None:
        name = _text(after, "notice_id")
        was, is_now = _text(before, "outcome"), _text(after, "outcome")
        if was != is_now:
            self.outcomes.setdefault(name, []).append(is_now)
            if was and not (was in GUESSES and is_now == "saved"):
                self.wrongs.append(f"{name}: {who} made {was} into {is_now or 'nothing'}")
        changed = [mark for mark in OF_THE_FIRST if before and before.get(mark) != after.get(mark)]
        lost = [known for known in before if known not in after]
        if changed or lost:
            self.wrongs.append(f"{name}: {who} changed {changed} and removed {lost}")

    def _judge_job(self, before: Item, after: Item, who: str) -> None:
        if _number(after, "saved_percent") < _number(before, "saved_percent"):
            self.wrongs.append(f"{who} made {_number(before, 'saved_percent')} % saved into {_number(after, 'saved_percent')} %")
        for name in ("owner", "attempt"):
            if _number(after, name) < _number(before, name):
                self.wrongs.append(f"{who} made {name} {_number(before, name)} into {_number(after, name)}")
        written = [name for name in OF_THE_OWNER if before.get(name) != after.get(name)]
        is_owner = who == f"agent:{_text(before, 'owner_id')}"
        if written and not is_owner:
            self.wrongs.append(f"{who} wrote {written}, but the owner is {_text(before, 'owner_id')}")
        if _text(before, "job_status") == "finished" != _text(after, "job_status"):
            self.wrongs.append(f"{who} made a finished job {_text(after, 'job_status')}")


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _number(item: Item, name: str) -> float:
    return float(item.get(name, {}).get("N", 0))
