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

    from tests.stateful.definition import Execution
    from tests.stateful.machine import Machine

VALUES = {**usual_values(), "LaunchAttempts": 8}
STATES, END_STATES = states_of(SPOT_JOB, VALUES), states_of(END_JOB, VALUES)
CALM_ROUNDS = 200
CALM_SECONDS = 60.0
NEWEST_FIRST = st.sampled_from([0, 0, 0, 0, 1, 2, 3])
"""The job's newest instance, most of the time; all others now and then."""
ANY = st.integers(0, 1000)
SERVICE = st.sampled_from(SERVICES)


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
        self.world = World(STATES, END_STATES)
        self.job: Execution | None = None

    @initialize(rebalance=st.sampled_from(["checkpoint", "replace", "log"]), exit_status=st.sampled_from([0, 0, 0, 0, 0, 3]))
    def begin(self, rebalance: str, exit_status: int) -> None:
        """Start the job."""
        install(self.patch, self.world, rebalance=rebalance)
        self.world.exit_status = exit_status
        self.world.launch_stranger(is_opted_in=False)
        self.world.launch_stranger(is_opted_in=True)
        self.job = self.world.start_job(JobDuration="2.5", CheckpointDuration="0.5")

    def some(self, number: int) -> Machine | None:
        """Return one of the instances that run; the first is the job's newest."""
        there = [machine for machine in self.world.machines.values() if machine.is_there]
        return there[-1 - number % len(there)] if there else None

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
        self.world.store_is_down = not self.world.store_is_down

    # What holds

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Judge every write so far."""
        assert not self.world.judge.wrongs, self.world.judge.wrongs

    def teardown(self) -> None:
        """Let the world calm down, and see that it comes to rest."""
        try:
            if self.job is not None and not self.world.judge.wrongs:
                self._calm_down(self.job)
        finally:
            self.patch.undo()

    def _calm_down(self, job: Execution) -> None:
        world = self.world
        world.trouble.throttled.clear()
        world.trouble.lost.clear()
        world.trouble.stop_after = None
        world.capacity_from, world.store_is_down = 0.0, False
        has_told = False
        for _ in range(CALM_ROUNDS):
            while world.events:
                world.deliver(0)
            world.deliver_stream()
            if job.status == "FAILED" and not has_told:
                has_told = True
                world.end_jobs()
            if world.is_at_rest():
                break
            world.run_for(CALM_SECONDS)
        assert world.is_at_rest(), f"not at rest: {job.entered[-5:]} {world.item(job.name)} {world.events} {world.stream}"
        assert not world.judge.wrongs, world.judge.wrongs
        self._judge_the_end(job)

    def _judge_the_end(self, job: Execution) -> None:
        item = self.world.item(job.name)
        if job.status == "SUCCEEDED":
            assert (text_of(item, "job_status"), item["saved_percent"]) == ("finished", {"N": "100.0"})
        else:
            assert job.error
            assert job.cause
            # Where the record could not even be created, there is none.
            assert text_of(item, "job_status") in ("failed", "stopped", "")
        for notice in self.world.tables.items["notices"].values():
            assert text_of(notice, "outcome"), f"{text_of(notice, 'notice_id')} has no outcome"


def live(*, examples: int, steps: int) -> None:
    """Live through so many histories of at most so many steps."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(Life, settings=settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=checks))


def test_any_history_comes_to_a_good_end() -> None:
    """Any interleaving of notices, duplicates, crashes, zombies, shortage and throttling keeps the invariants, and comes to rest."""
    live(examples=40, steps=60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_of_many_long_histories_comes_to_a_good_end() -> None:
    """The same for many and longer histories."""
    live(examples=1000, steps=80)
