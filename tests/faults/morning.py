"""A morning on which everything happens that the functions are there for, once; played again and again with one thing going wrong.

========  =====================================================================  =============================
instance  what it is, and what happens to it                                     how its notice ends
========  =====================================================================  =============================
1         a job's; interrupted                                                   saved; the job goes on
2         opted in; interrupted                                                  saved
3         a job's; rebalance recommendation, which is answered by a replacement  saved; the job goes on
4         did not opt in; interrupted                                            not opted in
5         EC2 does not know it any more; interrupted                             vanished
6         opted in, without SSM agent; interrupted                               failed
7         a job's; ends without any notice                                       none; the job goes on
8         opted in; its event comes three minutes late                           late
9         opted in; interrupted, and a rebalance recommendation comes with it    saved, and superseded
10        opted in; interrupted, and its checkpoint fails                        failed
========  =====================================================================  =============================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from spot_responder.domain.jobs import Attempt
from spot_responder.domain.lines import Happened
from tests.examples import EVENT_TIME, INTERRUPTION, REBALANCE, event, instance_id, result_event, state_event
from tests.faults.cloud import Cloud, Machine, Sent, unasked
from tests.faults.delivery import Delivery

if TYPE_CHECKING:
    from tests.fakes.aws import Call
    from tests.faults.cloud import Blow, Stage, Strike

OUTCOMES = {
    (1, "interruption"): "saved",
    (2, "interruption"): "saved",
    (3, "rebalance"): "saved",
    (4, "interruption"): "not opted in",
    (5, "interruption"): "vanished",
    (6, "interruption"): "failed",
    (8, "interruption"): "late",
    (9, "interruption"): "saved",
    (9, "rebalance"): "superseded",
    (10, "interruption"): "failed",
}
NOTICED = {instance_id(number) for number, _ in OUTCOMES}
ASKED = {instance_id(number) for number in (1, 2, 3, 9, 10)}
FAILING = 10
INTERRUPTED = [(Attempt("job-1", 1, instance_id(1)), "interrupted"), (Attempt("job-3", 1, instance_id(3)), "interrupted")]
LOST = (Attempt("job-7", 1, instance_id(7)), "gone")
SAVING_SECONDS = 2
LAUNCHING_SECONDS = 3


@dataclass
class At:
    """One blow, to the call of this number, counted from 0."""

    number: int
    blow: Blow
    seen: int = 0
    struck: str = ""

    def __call__(self, call: Call) -> Blow | None:
        """Strike once."""
        self.seen += 1
        if self.seen != self.number + 1:
            return None
        self.struck = call.operation
        return self.blow


@dataclass
class Meanwhile:
    """Before the call of this number, another invocation of the same function deals with the same event from its beginning to its end."""

    number: int
    delivery: Delivery | None = None
    seen: int = 0
    struck: str = ""

    def __call__(self, call: Call) -> Blow | None:
        """Go between, once."""
        self.seen += 1
        if self.seen == self.number + 1 and self.delivery is not None:
            self.struck = call.operation
            function, same = self.delivery.invocations[-1]
            self.delivery.invoke(function, same, "request-of-another")
        return None


@dataclass
class Morning:
    """What became of everybody."""

    cloud: Cloud
    delivery: Delivery

    def outcomes(self) -> dict[tuple[int, str], str]:
        """Return how each notice ended, as its item says."""
        items = self.cloud.tables.of("notices")
        return {(number_of(item["instance_id"]["S"]), item["kind"]["S"]): item.get("outcome", {}).get("S", "") for item in items}

    def told(self, happened: Happened) -> set[str | None]:
        """Return the instances of which the story says this."""
        return {line.instance_id for line in self.cloud.lines if line.event is happened}

    def closings(self) -> dict[tuple[int, str], set[str]]:
        """Return how each notice ended, as the story tells."""
        told: dict[tuple[int, str], set[str]] = {}
        for line in self.cloud.lines:
            if line.event is Happened.NOTICE_CLOSED:
                told.setdefault((number_of(str(line.instance_id)), str(line.kind)), set()).add(str(line.outcome))
        return told

    def resumed(self) -> list[tuple[Attempt, str]]:
        """Return the attempts whose job was told, and what."""
        return sorted(self.cloud.resumed, key=lambda one: one[0].job_id)


def number_of(instance_id_: str) -> int:
    """Return the number of an example instance."""
    return int(instance_id_.rpartition("-")[2], 16)


def later(seconds: float) -> timedelta:
    """Return so many seconds."""
    return timedelta(seconds=seconds)


def going_well(call: Call) -> Blow | None:
    """Strike nobody."""
    del call
    return None


def play(stage: Stage, strikes: Strike = going_well, *, copies: int = 1) -> Morning:
    """Let the morning pass."""
    cloud = stage.begin(Cloud(strikes=strikes))
    delivery = Delivery(cloud, copies=copies)
    if isinstance(strikes, Meanwhile):
        strikes.delivery = delivery
    cloud.run(*(Machine(instance_id(number), Attempt(f"job-{number}", 1, instance_id(number))) for number in (1, 3, 7)))
    cloud.run(*(Machine(instance_id(number), is_opted_in=number != 4, is_managed=number != 6) for number in (2, 4, 6, 8, 9, FAILING)))
    cloud.on_sent = lambda sent: save(delivery, sent, FAILING)
    cloud.on_resumed = lambda attempt: delivery.at(cloud.clock.now() + later(LAUNCHING_SECONDS), lambda: _launch(cloud, attempt))
    for number, kind in OUTCOMES:
        action: dict[str, Any] = {"instance_action": "terminate"} if kind == "interruption" else {}
        notice = event(INTERRUPTION if action else REBALANCE, instance_id=instance_id(number), **action)
        delivery.event("record_notice", notice, EVENT_TIME + later(180 if number == 8 else 1))
    for number in (1, 2, 7):
        _end(delivery, number)
    delivery.run()
    return Morning(cloud, delivery)


def save(delivery: Delivery, sent: Sent, failing: int | None = None) -> None:
    """Let every instance that gets a command save, but for the one that fails."""
    moment = sent.at + later(SAVING_SECONDS)
    for one in sent.instance_ids:
        status = "Failed" if number_of(one) == failing else "Success"
        result = result_event(number_of(one), status, command_id=sent.command_id, at=moment)
        delivery.event("record_checkpoint", result, moment + later(1))


def _launch(cloud: Cloud, attempt: Attempt) -> None:
    """Be the job's state machine: launch the next attempt."""
    number = attempt.number + 1
    launched = instance_id(number_of(attempt.instance_id) + 0x100 * number)
    cloud.run(Machine(launched, Attempt(attempt.job_id, number, launched)))


def _end(delivery: Delivery, number: int) -> None:
    """Let an instance end two minutes after the notice."""
    for state, seconds in (("shutting-down", 121), ("terminated", 150)):
        moment = EVENT_TIME + later(seconds)
        delivery.at(moment, lambda state=state: setattr(delivery.cloud.machines[instance_id(number)], "state", state))  # type: ignore[misc]
        delivery.event("record_instance_state", state_event(number, state, at=moment), moment + later(1))


def all_is_well(morning: Morning, *, is_lost_told: bool = True) -> None:
    """No notice is lost, no checkpoint left out, each job resumed once, and the story tells it all.

    Where a stop comes between the two notices of one instance, the second is answered by a command of its own.
    """
    assert morning.delivery.dead_letters == []
    ended = morning.outcomes()
    assert ended in (OUTCOMES, OUTCOMES | {(9, "rebalance"): "saved"})
    assert unasked(morning.cloud, ASKED) == set()
    assert morning.cloud.asked().keys() == ASKED
    assert max(morning.cloud.asked().values()) <= 2
    assert morning.resumed() == [*INTERRUPTED, LOST]
    assert morning.told(Happened.NOTICE_RECEIVED) == NOTICED
    assert morning.told(Happened.CHECKPOINT_ASKED) == ASKED
    assert morning.closings() == {key: {outcome} for key, outcome in ended.items()}
    assert morning.told(Happened.REPLACEMENT_ASKED) == {instance_id(1), instance_id(3)}
    assert morning.told(Happened.INSTANCE_GONE) == {instance_id(1), instance_id(2)}
    assert morning.told(Happened.ATTEMPT_LOST) == ({instance_id(7)} if is_lost_told else set())


def it_comes_to_rest(morning: Morning) -> None:
    """Each notice has one outcome, which the story tells; each job is resumed once; nobody is asked after the deadline."""
    assert morning.delivery.dead_letters == []
    ended = morning.outcomes()
    assert ended.keys() == OUTCOMES.keys()
    assert morning.closings() == {key: {outcome} for key, outcome in ended.items()}
    assert [attempt.job_id for attempt, _ in morning.resumed()] == ["job-1", "job-3", "job-7"]
    assert max(morning.cloud.asked().values(), default=0) <= 2
    assert unasked(morning.cloud, morning.cloud.asked()) == set()
