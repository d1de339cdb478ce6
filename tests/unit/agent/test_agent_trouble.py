"""What slow stores, too little memory and refusals do to a job: nothing that goes on for ever, and nothing in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spot_agent.decisions import decide, why_free
from spot_agent.errors import Unavailable, Unusable
from spot_agent.job import Checkpoint, Job
from spot_agent.knowledge import Do, Known, Me, Phase, Saved
from spot_agent.wiring import STORE_READ_SECONDS
from tests.unit.agent.test_agent_life import done_twice, finished, working
from tests.unit.agent.world import WARNING_SECONDS, FakeJobs, FakeKeeper, FakeTasks, World

if TYPE_CHECKING:
    from collections.abc import Mapping

SAVE_SECONDS = "tests.unit.agent.world.SAVE_SECONDS"
FETCH_SECONDS = "tests.unit.agent.world.FETCH_SECONDS"
LONG_JOB_SECONDS = 1800.0


@pytest.mark.parametrize("seconds", [25.0, 32.0, 50.0])
def test_slow_final_checkpoint_is_waited_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A final checkpoint that takes longer than an owner may be silent is waited for: no work is done twice."""
    monkeypatch.setattr(SAVE_SECONDS, seconds)
    world = World(program_seconds=LONG_JOB_SECONDS)
    working(world, 40).warn()
    world.run(finished)
    assert done_twice(world) == 0.0
    assert "final checkpoint" in world.messages("claimed")[1]


def test_slow_result_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that takes 80 s to save is not taken from its attempt: the finished job is not done again."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    working(world, 99).warn()
    monkeypatch.setattr(SAVE_SECONDS, 80.0)
    world.run(finished)
    assert world.result == {"result": "finished"}
    assert len(world.messages("program started")) == 1
    assert done_twice(world) == 0.0


def test_slow_restore_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose restore takes minutes shows that it lives, and leaves written down how far the work was before."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    saved = Checkpoint("old", "sha", 55.0, 10, 0.0)
    world.job = replace(world.job_now(), attempt=1, owner=1, owner_id="gone", final=1, checkpoint=saved, saved_percent=55.0, percent=60.0)
    monkeypatch.setattr(FETCH_SECONDS, 100.0)
    world.launch()
    world.run(lambda world: world.job_now().owner == 2)
    for _ in range(8):
        world.run_for(11)
        percent_at = world.job_now().percent_at
        assert percent_at is not None
        assert world.now - percent_at <= 11
        assert world.job_now().percent == 60.0
    world.run(finished)
    assert world.records[2]["resumed_percent"] == 55.0


def test_owner_that_never_saves_is_not_waited_for_for_ever() -> None:
    """Without a deadline, an owner that has stopped working but cannot save is given up after a quarter of an hour."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    first = working(world, 40)
    world.launch()
    world.run(lambda world: world.job_now().ready == 2)
    world.store_is_down = True
    world.run(lambda _: not first.program.is_running(), 60)
    stopped = world.now
    world.run_for(800)
    assert world.job_now().owner == 1
    world.run(lambda world: world.job_now().owner == 2, 200)
    assert world.now - stopped > 900
    world.store_is_down = False
    world.run(finished)


def test_program_without_memory_is_a_failure() -> None:
    """A program that the kernel kills, for want of memory, ends its attempt as a failure with its last lines: attempts are counted."""
    world = World(attempts_allowed=1)
    first = working(world, 40)
    first.program.status = 137
    world.run(finished, 10)
    assert world.result == {"result": "failed", "cause": "exit status 137 (killed; out of memory, as a rule): reading input\nit is broken"}
    assert not first.is_alive


@pytest.mark.parametrize(("refused", "percent"), [({"reads"}, 20), ({"writes"}, 20), ({"writes"}, 98), ({"reads", "writes"}, 98)])
def test_refusal_for_good_ends_the_attempt(refused: set[str], percent: float) -> None:
    """An agent that may not read or write the job's item any more says so, and stops its instance: nothing runs on, and is paid, for nothing."""
    world = World(attempts_allowed=1, program_seconds=LONG_JOB_SECONDS)
    first = working(world, percent)
    world.refused = frozenset(refused)
    world.run_for(500)
    assert first.is_alive
    world.run(lambda _: not first.is_alive, 700)
    assert world.result is not None
    assert world.result["result"] == "failed"
    assert str(world.result["cause"]).startswith("refused for 10 minutes: dynamodb ")
    assert "AccessDeniedException" in str(world.result["cause"])


def test_refused_claim_ends_the_attempt() -> None:
    """A new attempt that may not take the job does not send heartbeats for ever."""
    world = World(attempts_allowed=1, refused=frozenset({"writes"}))
    first = world.launch()
    world.run(lambda _: not first.is_alive, 800)
    assert world.result is not None
    assert "AccessDeniedException" in str(world.result["cause"])


def test_refusal_that_is_mended_costs_nothing() -> None:
    """A right that is missing for some minutes is a slip: the program works meanwhile, and the attempt goes on."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    working(world, 20)
    world.refused = frozenset({"reads", "writes"})
    world.run_for(500)
    world.refused = frozenset()
    world.run(finished)
    assert (len(world.launches), done_twice(world)) == (1, 0.0)


def test_silence_after_a_refusal_is_no_refusal() -> None:
    """Tries refused over ten minutes end an attempt; one that was refused, with nothing tried in the ten minutes after it, does not."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    agent = working(world, 20).agent
    assert agent is not None
    once = agent.known.tried(Do.MARK, world.now, worked=False, refusal="not authorized")
    again = once.tried(Do.MARK, world.now + 601, worked=False, refusal="not authorized")
    assert Do.LEAVE not in [step.do for step in decide(once, world.now + 700)]
    assert [step.do for step in decide(again, world.now + 700)] == [Do.LEAVE]


def test_assumed_item_puts_off_no_read() -> None:
    """A write whose item could not be read tells the agent what it wrote; the item is read when it would have been, and who fails to is told."""
    world = World()
    agent = working(world, 20).agent
    assert agent is not None
    known = agent.known.job_seen(world.job_now(), world.now)
    assumed = known.job_seen(replace(world.job_now(), percent=50.0, is_assumed=True), world.now + 60)
    assert assumed.job is not None
    assert assumed.job.percent == 50.0
    assert Do.READ_JOB in [step.do for step in decide(assumed, world.now + 60)]
    assert Do.READ_JOB not in [step.do for step in decide(known.job_seen(world.job_now(), world.now + 60), world.now + 60)]


def test_warnings_outlive_the_instance() -> None:
    """What went wrong stands in the attempt's record, where it can be read when the instance and its journal are gone."""
    world = World()
    first = working(world, 70)
    newest = world.job_now().checkpoint
    assert newest is not None
    world.damaged.add(newest.key)
    first.die()
    world.run(finished)
    assert 1 not in world.troubles
    assert f"Checkpoint unusable: {newest.key}" in world.troubles[2]


def test_warning_of_the_last_save_is_recorded_before_it_ends() -> None:
    """A program that ignores SIGTERM, with nothing saved at the end: the record says so, although the instance ends seconds later."""
    world = World(ignores_signals=True, attempts_allowed=1)
    first = working(world, 40)
    first.warn()
    world.run(lambda _: not first.is_alive)
    assert "the program did not exit" in world.troubles[1]


def test_record_that_is_not_taken_at_once_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that leaves while the table is busy for a moment still says when its program stopped: a failed try is not its last."""
    world, tries = World(program_seconds=LONG_JOB_SECONDS), list[float]()
    record = FakeJobs.record_attempt

    def record_at_last(jobs: FakeJobs, facts: Mapping[str, float | str]) -> None:
        if jobs.me.attempt == 1 and "stopped_at" in facts:
            tries.append(world.now)
            if len(tries) < 3:
                raise Unavailable("dynamodb:UpdateItem: ThrottlingException")
        record(jobs, facts)

    monkeypatch.setattr(FakeJobs, "record_attempt", record_at_last)
    first = working(world, 40)
    first.warn()
    world.run(lambda _: not first.is_alive)
    assert len(tries) == 3
    assert "stopped_at" in world.records[1]


def test_record_that_is_never_taken_keeps_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table takes no record, the instance is let go after ten seconds, and the job goes on long before."""
    world = World(program_seconds=LONG_JOB_SECONDS)

    def refuse(jobs: FakeJobs, _: Mapping[str, float | str]) -> None:
        raise Unavailable(f"dynamodb:UpdateItem: ThrottlingException: attempt {jobs.me.attempt}")

    monkeypatch.setattr(FakeJobs, "record_attempt", refuse)
    first = working(world, 40)
    first.warn()
    world.run(lambda world: world.job_now().owner == 2)
    handed_over = world.now
    world.run(lambda _: not first.is_alive)
    assert 9 < world.now - handed_over < 12


def test_failed_attempt_is_recorded() -> None:
    """Why an attempt failed is in its record as well as in what the state machine is told."""
    world = World(exit_status=3, attempts_allowed=1)
    world.launch()
    world.run(finished)
    world.run(lambda world: not any(instance.is_alive for instance in world.instances), 60)
    assert "The attempt has failed: exit status 3: reading input" in world.troubles[1]


def test_step_functions_that_hang_keep_no_checkpoint_from_being_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every call to Step Functions takes its three seconds and fails, checkpoints are saved all the same: at the interval and at the end."""
    often = Job("job", checkpoint_uri="s3://bucket/jobs", checkpoint_minutes=0.2)
    world = World(job=often, program_seconds=LONG_JOB_SECONDS, attempts_allowed=1)
    first = working(world, 10)

    def hang(*_: object) -> bool:
        world.now += 3.0
        raise Unavailable("states: Read timeout")

    for name in ("heartbeat", "succeed"):
        monkeypatch.setattr(FakeTasks, name, hang)
    first.warn()
    saves = len(world.messages("checkpoint saved"))
    world.run(lambda _: not first.is_alive)
    assert len(world.messages("checkpoint saved")) - saves >= 5
    assert world.job_now().final == 1
    # The last moment comes earlier than usual: a fake save takes as long as the agent takes to look.
    assert world.job_now().saved_percent >= 10 + 100 * (WARNING_SECONDS - 15) / LONG_JOB_SECONDS


def test_nothing_that_may_hang_comes_before_the_record_of_a_save() -> None:
    """What is saved is recorded before the state machine is told anything; in the last seconds nobody is told anything at all."""
    now = 1000.0
    job = Job("job", attempt=1, token="token", owner=1, owner_id="agent1")
    known = Known(Me("job", 1, "i-1", "agent1")).job_seen(job, now).noticed("terminate", now + 60, now).entered(Phase.HANDING_OVER, now)
    saving = known.began(Do.SAVE_FINAL, now)
    saved = replace(known, saved=Saved(Do.SAVE_FINAL, None, now, 1.0)).tried(Do.READ_JOB, now, worked=True)
    assert Do.TELL_INTERRUPTED in [step.do for step in decide(saving, now)]
    assert decide(saved, now)[0].do is Do.MARK
    late = replace(saving.job_seen(job, now + 56), tries={})
    assert {Do.TELL_INTERRUPTED, Do.HEARTBEAT}.isdisjoint(step.do for step in decide(late, now + 57))


def test_program_that_ends_when_it_is_to_be_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends by itself between the agent's look at it and its final checkpoint is done: its result is saved."""
    world = World(program_seconds=LONG_JOB_SECONDS)
    first = working(world, 40)
    read = FakeJobs.read

    def read_as_it_ends(jobs: FakeJobs) -> Job | None:
        if jobs.me.attempt == 1 and world.job_now().ready == 2:
            first.program.status = 0
        return read(jobs)

    monkeypatch.setattr(FakeJobs, "read", read_as_it_ends)
    world.launch()
    for _ in range(400):
        world.step()
    assert world.result == {"result": "finished"}
    assert (world.job_now().owner, world.job_now().saved_percent) == (1, 100.0)


def test_checkpoint_that_is_deleted_while_it_is_fetched_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that newer ones have replaced before it could be fetched ahead is no trouble for the attempt that waits."""

    def deleted(keeper: FakeKeeper, number: int, *_: object) -> None:
        keeper.going[number] = (keeper.world.now, lambda: Unusable("there is no such object"))

    monkeypatch.setattr(FakeKeeper, "prefetch", deleted)
    world = World(program_seconds=LONG_JOB_SECONDS)
    working(world, 40).warn()
    world.run(finished)
    assert (len(world.launches), done_twice(world)) == (2, 0.0)


def test_silence_counts_while_somebody_listens() -> None:
    """An owner is silent when looks at the item have shown nothing new for half a minute: not when nobody could look, nor right after that."""
    job = Job("job", attempt=2, token="token", owner=1, owner_id="agent1", ready=2, percent_at=0.0)  # no secret
    known = Known(Me("job", 2, "i-2", "agent2"))
    for second in range(26):
        known = known.job_seen(job, float(second))
    assert why_free(known, 34.0) == ""
    back = known.job_seen(job, 60.0)
    assert why_free(back, 60.0) == ""
    for second in range(60, 92):
        back = back.job_seen(job, float(second))
    assert why_free(back, 91.0) == "attempt 1 has been silent for 30 s"
    assert why_free(back, 110.0) == ""


def test_store_that_hangs_leaves_time_for_other_tries() -> None:
    """A call to S3 that hangs takes a small part of a notice: it can be made again several times."""
    assert 5 * STORE_READ_SECONDS <= WARNING_SECONDS
