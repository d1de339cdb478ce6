"""What an execution of the job lived through, seen from outside: whether it had a cause to end as it did, and says which."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.stateful.definition import Execution
    from tests.stateful.expressions import Item
    from tests.stateful.world import World

PATIENCE = {"dynamodb": (5, 30.0), "sfn": (4, 5.0)}
"""How often, and for how many seconds, a service has to refuse a call before an execution may give up."""
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Harm:
    """Something that went wrong, on one instance or for everybody."""

    whom: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What an execution read of its job between two attempts. ``heard``: how many attempts had ended."""

    saved: float
    content: str
    owner: int
    heard: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that an execution waited for."""

    number: int
    instance_id: str
    began: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an execution's; ``error`` is empty where it was carried out and answered."""

    at: float
    service: str
    operation: str
    error: str
    answer: Any


@dataclass
class Witness:
    """Looks at one execution of the job."""

    world: World
    execution: Execution
    calls: list[Call] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    """By how many attempts had ended before."""

    def called(self, call: Call) -> None:
        """Hear of a call."""
        self.calls.append(call)
        if self.execution.entered[-1] == "ReadProgress" and not call.error:
            item = call.answer.get("Item", {})
            self.readings.append(Reading(_number(item, "saved_percent"), _content(item), int(_number(item, "owner")), len(self.execution.heard)))

    def wrote(self, before: Item, after: Item) -> Iterator[str]:
        """Hear of a write to the job's item; yield what is wrong with it."""
        if "token" not in after or before.get("token") == after["token"]:
            return
        attempt = Attempt(int(_number(after, "attempt")), _text(after, "instance_id"), self.world.now)
        machine = self.world.machines[attempt.instance_id]
        if (machine.attempt, machine.launched_by) != (attempt.number, self.execution.name):
            yield f"{attempt} is said to run on attempt {machine.attempt} of {machine.launched_by}"
        yield from self._is_rightly_told(attempt, is_dead=after["previous_dead"]["BOOL"])
        self.attempts[len(self.execution.heard)] = attempt

    def _is_rightly_told(self, attempt: Attempt, *, is_dead: bool) -> Iterator[str]:
        """Yield what is wrong with what an attempt is told of the one before."""
        owner = self.readings[-1].owner
        ends = [self._result(heard) for heard, earlier in self.attempts.items() if earlier.number == owner and self._result(heard)]
        is_last = bool(self.execution.heard) and self.attempts[len(self.execution.heard) - 1].number == owner
        if is_last and ends[-1] != "interrupted" and not is_dead:
            yield f"{attempt} is not told that attempt {owner} is over: {ends[-1]}"
        if owner and ends and set(ends) == {"interrupted"} and is_dead:
            yield f"{attempt} is told that attempt {owner} is dead, which was interrupted"

    def _result(self, heard: int) -> str:
        return str(self.execution.heard[heard][1]["result"]) if heard < len(self.execution.heard) else ""

    # The end

    def judge_the_end(self) -> Iterator[str]:
        """Yield why the execution should not have ended as it did."""
        run = self.execution
        if run.status == "SUCCEEDED":
            item = self.world.item(self.world.job_id)
            if (_text(item, "job_status"), _number(item, "saved_percent")) != ("finished", 100.0):
                yield f"{run.name} succeeded, but the job is not finished: {item}"
        elif run.status == "FAILED" and not self._had_cause():
            facts = f"{self.readings} {self.attempts} {run.heard} {self.world.befallen}"
            yield f"{run.name} failed without cause, or with another: {run.error}: {run.cause}; {facts}"

    def _had_cause(self) -> bool:
        run, says = self.execution, _text(self.world.item(self.world.job_id), "execution")
        causes: Mapping[str, Callable[[], bool]] = {
            "NoProgress": self._was_barren,
            "NoCapacity": self._was_without_capacity,
            "TimedOut": lambda: self.world.now >= run.began + 60 * float(run.given.get("Timeout", "inf")),
            "AlreadyRunning": lambda: f"{says};" in run.cause and self.world.is_running(says),
            # Only one that was redriven can have lost its job to another, or to the one that removes what it left behind.
            "TakenOver": lambda: run.redrives > 0 and says != run.arn and f"{says} now" in run.cause,
            "JobRecordChanged": lambda: run.redrives > 0 and "stopped" in run.cause,
        }
        return causes.get(run.error, self._was_refused)()

    def _was_barren(self) -> bool:
        """Whether so many attempts in a row saved nothing, each of which something had befallen; the cause names the last."""
        count = 0
        for before, after in zip(self.readings, self.readings[1:], strict=False):
            best = max(reading.saved for reading in self.readings[: self.readings.index(after)])
            has_other = self._result(after.heard - 1) != "failed" and after.content != before.content
            count = 0 if after.saved > best or has_other else count + 1
        last = len(self.execution.heard)
        if count <= self.world.values["BarrenAttempts"]:
            return False
        excused = all(self._was_befallen(heard) for heard in range(last - count, last))
        said = f"{count} attempts in a row without progress; the last one: {self._last_word()}"
        return excused and self.execution.cause == said

    def _was_befallen(self, heard: int) -> bool:
        """Whether something befell an attempt, or everybody meanwhile."""
        attempt, ended = self.attempts[heard], self.execution.heard[heard][0]
        return self.world.exit_status != 0 or any(
            harm.whom == attempt.instance_id or (harm.whom == EVERYBODY and attempt.began <= harm.ended and harm.began <= ended)
            for harm in self.world.befallen
        )

    def _last_word(self) -> str:
        told: Mapping[str, Any] = self.execution.heard[-1][1]
        instance_id = self.attempts[len(self.execution.heard) - 1].instance_id
        if told["result"] == "silent":
            return f"the agent on {instance_id} was silent for {self.world.values['HeartbeatSeconds']} s"
        return str(told.get("cause", f"{instance_id}: {told['result']}"))

    def _was_without_capacity(self) -> bool:
        """Whether EC2 launched nothing as often as it is asked; the cause says why."""
        launches = [call for call in self.calls if call.operation == "create_fleet"]
        last = next((number for number, call in enumerate(reversed(launches)) if not call.error and call.answer["Instances"]), len(launches))
        refused = launches[len(launches) - last :]
        if len(refused) < self.world.values["LaunchAttempts"]:
            return False
        why = refused[-1].error or "InsufficientInstanceCapacity: there is none"
        return why in self.execution.cause

    def _was_refused(self) -> bool:
        """Whether a call was refused again and again with the error that the execution names."""
        refused: list[Call] = []
        for call in self.calls:
            if not call.error or (refused and call.operation != refused[-1].operation):
                refused = []
            if call.error:
                refused.append(call)
            tries, seconds = PATIENCE.get(call.service, (0, 0.0))
            if tries and len(refused) >= tries and call.at - refused[0].at >= seconds and call.error in self.execution.error + self.execution.cause:
                return True
        return False


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _content(item: Item) -> str:
    """Return the checksum of what is saved."""
    return str(json.loads(_text(item, "checkpoint") or "{}").get("sha256", ""))


def _number(item: Item, name: str) -> float:
    return float(item.get(name, {}).get("N", 0))
