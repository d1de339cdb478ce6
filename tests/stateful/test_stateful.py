"""Whatever happens in whatever order: progress never goes back, a job has one owner, a notice one outcome, and in the end all is at rest."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.examples import INTERRUPTION, REBALANCE
from tests.stateful.account import SERVICES
from tests.stateful.definition import states_of
from tests.stateful.lambdas import install
from tests.stateful.machine import BOOT_SECONDS
from tests.stateful.world import World, text_of
from tests.statemachine.definitions import END_JOB, SPOT_JOB
from tests.statemachine.stage import usual_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tests.stateful.machine import Machine

VALUES = {**usual_values(), "LaunchAttempts": 8}
STATES, END_STATES = states_of(SPOT_JOB, VALUES), states_of(END_JOB, VALUES)
CALM_ROUNDS = 200
CALM_SECONDS = 60.0
MOST_EXECUTIONS = 6
NEWEST_FIRST = st.sampled_from([0, 0, 0, 0, 1, 2, 3])
"""The job's newest instance, most of the time; all others now and then."""
ANY = st.integers(0, 1000)
SERVICE = st.sampled_from(SERVICES)

type History = list[tuple[str, dict[str, Any]]]

HISTORIES: dict[str, History] = {
    "nothing": [],
    "silent": [("freeze_agent", {"number": 0, "seconds": 400})],
    "told at once, resumed by two": [("stop_job", {"number": 1, "again": "resumed", "is_told": True})],
    "told late": [("stop_job", {"number": 0, "again": "resumed", "is_told": False, "then": 35.0}), ("end_job", {"number": 0})],
    "resumed and redriven": [("stop_job", {"number": 0, "again": "both", "is_told": False})],
    "told and redriven": [("stop_job", {"number": 0, "again": "redriven", "is_told": True})],
    "old reads of the answers": [("lag", {"seconds": 30}), ("interrupt", {"number": 0, "again": True})],
    "old reads of the instance": [("lag", {"seconds": 30}), ("interrupt", {"number": 0, "again": False}), ("deliver_all", {})],
    "old reads of the index": [("lag", {"seconds": 30}), ("end_instance", {"number": 0}), ("deliver_all", {})],
}


def befalls(**given: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Make a rule of what may befall the world, some time before the next thing does."""
    drawn_too: dict[str, SearchStrategy[Any]] = {"then": st.sampled_from([0.0, 0.3, 2.0, 11.0, 35.0])}

    def make(happen: Callable[..., None]) -> Any:
        @wraps(happen)
        def befall(self: Life, then: float, **drawn: Any) -> None:
            happen(self, **drawn)
            self.world.run_for(then)

        make_rule: Any = rule
        return make_rule(**given, **drawn_too)(befall)

    return make


class Life(RuleBasedStateMachine):
    """One job, some other instances, and everything that can befall them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.world = World(STATES, END_STATES, VALUES)

    @initialize(
        rebalance=st.sampled_from(["checkpoint", "replace", "log"]),
        shards=st.sampled_from([1, 3]),
        exit_status=st.sampled_from([0, 0, 0, 0, 0, 3]),
        timeout=st.sampled_from([{}, {}, {}, {"Timeout": "20"}]),
    )
    def begin(self, rebalance: str, shards: int, exit_status: int, timeout: dict[str, str]) -> None:
        """Start the job."""
        install(self.patch, self.world, rebalance=rebalance, shards=shards)
        self.world.exit_status = exit_status
        self.world.launch_stranger(is_opted_in=False)
        self.world.launch_stranger(is_opted_in=True)
        self.world.start_job(JobDuration="2.5", CheckpointDuration="0.5", **timeout)

    def some(self, number: int) -> Machine | None:
        """Return one of the instances that run, for something to befall it; the first is the job's newest."""
        there = [machine for machine in self.world.machines.values() if machine.is_there]
        if not there:
            return None
        self.world.befall(there[-1 - number % len(there)].instance_id)
        return there[-1 - number % len(there)]

    # Time, and the notices

    @rule(seconds=st.integers(1, 180))
    def pass_time(self, seconds: int) -> None:
        """Let time pass."""
        self.world.run_for(float(seconds))

    @befalls(number=NEWEST_FIRST, arrival=st.sampled_from(["at once", "at once", "some time", "never"]))
    def warn(self, number: int, arrival: str) -> None:
        """Interrupt an instance; the event may never arrive, it is best effort."""
        machine = self.some(number)
        if machine is not None and machine.deadline is None:
            machine.warn()
            self._say(INTERRUPTION, machine, arrival, instance_action="terminate")

    @befalls(number=NEWEST_FIRST, arrival=st.sampled_from(["at once", "some time"]))
    def recommend(self, number: int, arrival: str) -> None:
        """Recommend to rebalance an instance."""
        machine = self.some(number)
        if machine is not None:
            self._say(REBALANCE, machine, arrival)

    @befalls(number=NEWEST_FIRST, again=st.booleans())
    def interrupt(self, number: int, *, again: bool) -> None:
        """Let all go its usual way: the instance has booted, its warning comes, is recorded and answered, perhaps once more."""
        self.world.run_for(BOOT_SECONDS)
        self.warn(number=number, arrival="at once", then=2.0)
        if again and self.world.delivered:
            self.redeliver(number=0, then=0.0)

    @befalls(number=NEWEST_FIRST, calls=st.sampled_from([1, 0, 2]), seconds=st.sampled_from([5, 40]))
    def overtake(self, number: int, calls: int, seconds: int) -> None:
        """Let another agent take the job over while the first is in the middle of a write."""
        self.world.run_for(BOOT_SECONDS)
        self.double_agent(number=number, calls=calls, seconds=seconds, then=0.0)

    def _say(self, kind: str, machine: Machine, arrival: str, **detail: str) -> None:
        if arrival != "never":
            self.world.say(kind, instance_id=machine.instance_id, **detail)
        if arrival == "at once":
            self.world.deliver(-1)
            self.world.deliver_stream()

    # Deliveries

    @precondition(lambda self: self.world.events)
    @befalls(number=ANY)
    def deliver(self, number: int) -> None:
        """Let some event arrive, whatever the order."""
        self.world.deliver(number)

    @precondition(lambda self: self.world.events)
    @befalls()
    def deliver_all(self) -> None:
        """Let all that wait arrive, the last first."""
        for _ in range(len(self.world.events)):
            self.world.deliver(-1)

    @precondition(lambda self: self.world.said)
    @befalls(number=ANY)
    def repeat(self, number: int) -> None:
        """Deliver an event twice, at once or some time later."""
        self.world.repeat(number)
        if number % 2:
            self.world.deliver(-1)

    @befalls()
    def deliver_stream(self) -> None:
        """Deliver the new notices."""
        self.world.deliver_stream()

    @precondition(lambda self: self.world.delivered)
    @befalls(number=ANY)
    def redeliver(self, number: int) -> None:
        """Deliver notices again that the stream had delivered."""
        self.world.stream = self.world.delivered[-1 - number % 3 :] + self.world.stream
        self.world.deliver_stream()

    # Agents

    @befalls(number=NEWEST_FIRST, is_back=st.booleans())
    def crash_agent(self, number: int, *, is_back: bool) -> None:
        """Crash an agent with its program; systemd starts it again, or does not."""
        machine = self.some(number)
        if machine is not None and machine.has_job:
            for process in machine.processes:
                process.kill()
            if is_back and machine.state == "running":
                machine.start_agent()

    @befalls(number=NEWEST_FIRST, seconds=st.integers(5, 400))
    def freeze_agent(self, number: int, seconds: int) -> None:
        """Freeze the agents of an instance; their programs go on."""
        machine = self.some(number)
        for process in machine.processes if machine is not None else []:
            process.frozen_until = self.world.now + seconds

    @befalls(number=NEWEST_FIRST, calls=st.integers(0, 3), seconds=st.integers(1, 120))
    def stall_agent(self, number: int, calls: int, seconds: int) -> None:
        """Let one of an agent's next calls take very long: it acts on what it saw before."""
        self._stall(self.some(number), calls, seconds)

    def _stall(self, machine: Machine | None, calls: int, seconds: int) -> None:
        for process in machine.processes if machine is not None else []:
            process.stall = (calls, float(seconds))

    @befalls(number=NEWEST_FIRST, calls=st.sampled_from([1, 0, 2, 3]), seconds=st.sampled_from([5, 20, 0, 90]))
    def double_agent(self, number: int, calls: int, seconds: int) -> None:
        """Let a second agent believe that it has the attempt, while the first may be in the middle of something."""
        machine = self.some(number)
        if machine is not None and machine.state == "running":
            self._stall(machine, calls, seconds)
            machine.start_agent()

    @befalls(number=NEWEST_FIRST)
    def end_instance(self, number: int) -> None:
        """End an instance without notice."""
        machine = self.some(number)
        if machine is not None:
            machine.shut_down()

    @befalls(number=NEWEST_FIRST, seconds=st.integers(10, 300), calls=st.integers(0, 3), stalled=st.integers(0, 120))
    def make_zombie(self, number: int, seconds: int, calls: int, stalled: int) -> None:
        """Let EC2 call an instance gone whose agent works on for a while, and may be in the middle of something."""
        machine = self.some(number)
        if machine is not None and machine.has_job:
            machine.lives_on_until = self.world.now + seconds
            self._stall(machine, calls, stalled)
            machine.shut_down()

    # AWS

    @befalls(seconds=st.integers(10, 600))
    def be_scarce(self, seconds: int) -> None:
        """Let there be no capacity for a while."""
        self.world.capacity_from = self.world.now + seconds

    @befalls(service=SERVICE, calls=st.integers(1, 12))
    def throttle(self, service: str, calls: int) -> None:
        """Throttle the next calls of a service."""
        self.world.trouble.throttled[service] = calls

    @befalls(service=SERVICE, calls=st.integers(1, 2))
    def lose_answers(self, service: str, calls: int) -> None:
        """Let the next calls of a service be carried out, and their answers be lost."""
        self.world.trouble.lost[service] = calls

    @befalls(calls=st.integers(0, 6))
    def stop_function(self, calls: int) -> None:
        """Let Lambda stop the next function that makes so many calls."""
        self.world.trouble.stop_after = calls

    @befalls()
    def lose_store(self) -> None:
        """Let S3 be out of reach, or be back."""
        self.world.lose_store()

    @befalls(seconds=st.sampled_from([1, 3, 30]))
    def lag(self, seconds: int) -> None:
        """Let DynamoDB's eventually consistent reads not know of the last seconds."""
        self.world.tables.lag = float(seconds)

    # People, and what they do to executions

    @precondition(lambda self: self.is_run())
    @befalls(number=ANY, again=st.sampled_from(["", "resumed", "resumed", "redriven", "both"]), is_told=st.booleans())
    def stop_job(self, number: int, again: str, *, is_told: bool) -> None:
        """Stop an execution, and perhaps let the job go on; EventBridge tells of the stop before that, or some time later."""
        running = [job for job in self.world.jobs() if job.status == "RUNNING"]
        stopped = running[number % len(running)]
        stopped.stop()
        if is_told:
            self.world.end_job(-1)
            self.world.run_for(2.0)
        if again in ("resumed", "both"):
            self.resume(count=1 + number % 2, then=2.0)
        if again in ("redriven", "both"):
            stopped.redrive()

    def is_run(self) -> bool:
        """Whether an execution of the job runs."""
        return any(job.status == "RUNNING" for job in self.world.jobs())

    @precondition(lambda self: len(self.world.jobs()) < MOST_EXECUTIONS)
    @befalls(count=st.sampled_from([1, 1, 2]))
    def resume(self, count: int) -> None:
        """Start another execution of the same job, or two at once: one that runs goes on, one that does not is resumed."""
        for _ in range(count):
            self.world.start_job()

    @precondition(lambda self: self.world.endings)
    @befalls(number=ANY)
    def end_job(self, number: int) -> None:
        """Let EventBridge tell of an execution's end, some time after it."""
        self.world.end_job(number)

    # What holds

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Judge every write so far."""
        assert not self.world.judge.wrongs, self.world.judge.wrongs

    def teardown(self) -> None:
        """Let the world calm down, and see that it comes to rest."""
        try:
            if self.world.executions and not self.world.judge.wrongs:
                self._calm_down()
                self._resume()
        finally:
            self.patch.undo()

    def _resume(self) -> None:
        """In calm weather, a job that was stopped or failed is resumed and finished, unless its program fails."""
        if self.world.exit_status or text_of(self.world.item(self.world.job_id), "job_status") == "finished":
            return
        job = self.world.start_job()
        self._come_to_rest()
        assert job.status == "SUCCEEDED", f"{job.error}: {job.cause} {job.entered[-20:]}"

    def _calm_down(self) -> None:
        world = self.world
        world.trouble.throttled.clear()
        world.trouble.lost.clear()
        world.trouble.stop_after = None
        world.capacity_from = 0.0
        if world.store_is_down:
            world.lose_store()
        self._come_to_rest()
        for notice in world.tables.items["notices"].values():
            assert text_of(notice, "outcome"), f"{text_of(notice, 'notice_id')} has no outcome"
            is_saved = (text_of(notice, "command_id"), text_of(notice, "instance_id")) in world.saved
            # Delivered once more after its deadline, to a function that the table did not tell of the command, before the command's result.
            assert not is_saved or text_of(notice, "outcome") in ("saved", "late"), f"its command succeeded: {notice}"

    def _come_to_rest(self) -> None:
        world = self.world
        for _ in range(CALM_ROUNDS):
            while world.events:
                world.deliver(0)
            world.deliver_stream()
            while world.endings:
                world.end_job()
            if world.is_at_rest():
                break
            world.run_for(CALM_SECONDS)
        ends = [job.entered[-5:] for job in world.jobs()]
        assert world.is_at_rest(), f"not at rest: {ends} {world.item(world.job_id)} {world.events} {world.stream}"
        assert not world.judge.wrongs, world.judge.wrongs
        # Where the record could not even be created, there is none.
        assert text_of(world.item(world.job_id), "job_status") in ("finished", "failed", "stopped", "")


def live(*, examples: int, steps: int) -> None:
    """Live through so many histories of at most so many steps."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(Life, settings=settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=checks))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_history(history: History, shards: int) -> None:
    """Histories that chance does not find in every run come to a good end."""
    life = Life()
    life.begin(rebalance="checkpoint", shards=shards, exit_status=0, timeout={})
    life.pass_time(seconds=45)
    for event, drawn in history:
        getattr(life, event)(**{"then": 2.0} | drawn)
    life.teardown()
    life.nothing_is_wrong()


def test_any_history_comes_to_a_good_end() -> None:
    """Any interleaving of notices, duplicates, crashes, zombies, shortage and throttling keeps the invariants, and comes to rest."""
    live(examples=40, steps=60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_of_many_long_histories_comes_to_a_good_end() -> None:
    """The same for many and longer histories."""
    live(examples=1000, steps=80)
