"""The life of jobs in a small world of our own: every line of what bad luck brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spot_agent.decisions import kill_time, last_moment
from spot_agent.job import Checkpoint
from spot_agent.knowledge import Do, Known, Me, Notice, Saved
from tests.unit.agent.world import JOB_SECONDS, Instance, World

if TYPE_CHECKING:
    from collections.abc import Callable


def finished(world: World) -> bool:
    """Tell whether the state machine has heard of the end."""
    return world.result is not None


def at_percent(percent: float) -> Callable[[World], bool]:
    """Return whether a program has come so far."""
    return lambda world: any(instance.program.worked() >= percent for instance in world.instances if instance.is_alive)


def working(world: World, percent: float = 10.0) -> Instance:
    """Return the first attempt's instance, with so much work done."""
    first = world.launch()
    world.run(at_percent(percent))
    return first


def done_twice(world: World) -> float:
    """Return the work done twice, in percent, by the attempts' own records."""
    return sum(
        max(r["previous_percent"] - r["resumed_percent"], 0.0) for r in world.records.values() if "previous_percent" in r and "resumed_percent" in r
    )


def without_worker(world: World) -> float:
    """Return the seconds in which nobody worked, by the attempts' own records."""
    return sum(r["started_at"] - r["previous_stopped_at"] for r in world.records.values() if "previous_stopped_at" in r and "started_at" in r)


def test_uninterrupted_job_finishes() -> None:
    """A job that nobody interrupts finishes in one attempt, and its instance is stopped."""
    world = World()
    world.launch()
    world.run(finished)
    assert world.result == {"result": "finished"}
    assert (world.job_now().status, world.job_now().percent, world.job_now().saved_percent) == ("finished", 100.0, 100.0)
    assert not any(instance.is_alive for instance in world.instances)


def test_checkpoints_come_at_the_interval() -> None:
    """Without a notice, checkpoints are saved at the job's interval (two in six minutes), and one result at the end."""
    world = World()
    world.launch()
    world.run(finished)
    assert len(world.messages("checkpoint saved")) == 3


def test_interruption_loses_nothing() -> None:
    """With a notice, the old program works until the new instance is ready: nothing is done twice, and hardly a second is lost."""
    world = World()
    working(world, 40).warn()
    world.run(finished)
    assert len(world.launches) == 2
    assert done_twice(world) == 0.0
    assert without_worker(world) < 3.0


def test_notice_leads_to_a_checkpoint_at_once() -> None:
    """The safety checkpoint is durable within seconds of the notice, long before the hand-over."""
    world = World()
    first = working(world, 40)
    first.warn()
    warned = world.now
    world.run(lambda world: len(world.messages("checkpoint saved")) > 1)
    assert world.now - warned < 8.0


@pytest.mark.parametrize(("notice_seconds", "seconds"), [(120.0, 1.0), (12.0, 0.4)])
def test_a_program_has_time_to_save_itself_before_it_is_killed(notice_seconds: float, seconds: float) -> None:
    """Between the last moment and the kill lie 1.5 times a checkpoint and a third of the margin, however short the notice."""
    notice = Notice("terminate", notice_seconds, 0.0)
    known = Known(Me("job", 1, "i-1", "a"), notice=notice, recent_seconds=(0.4,))
    assert kill_time(notice) - last_moment(known, 0.0) == pytest.approx(1.5 * 0.4 + seconds)
    assert notice.deadline - kill_time(notice) == pytest.approx(2 * seconds)


def test_work_goes_on_without_a_replacement_until_the_last_moment() -> None:
    """When no replacement comes, the program works until 1.5 times a checkpoint and 3 s before the deadline."""
    world = World(attempts_allowed=1)
    first = working(world, 40)
    first.warn()
    deadline = world.now + 120
    world.run(lambda _: not first.is_alive)
    stopped = world.job_now().stopped_at
    assert stopped is not None
    assert 3.0 < deadline - stopped < 6.0
    assert world.job_now().final == 1
    assert world.job_now().saved_percent == pytest.approx(world.job_now().percent)


def test_slow_checkpoints_begin_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last checkpoint begins as much earlier as checkpoints were measured to take."""
    monkeypatch.setattr("tests.unit.agent.world.SAVE_SECONDS", 20.0)
    world = World(attempts_allowed=1)
    first = working(world, 40)
    first.warn()
    deadline = world.now + 120
    world.run(lambda _: not first.is_alive)
    stopped = world.job_now().stopped_at
    assert stopped is not None
    assert deadline - stopped >= 33.0
    assert world.job_now().final == 1


def test_a_quick_checkpoint_promises_nothing() -> None:
    """The last checkpoint is expected to take as long as the longest of the three before it; what was slow before those is forgotten."""
    known = Known(Me("job", 1, "i-1", "a"))
    expected = []
    for number, seconds in enumerate([9.0, 2.0, 0.1, 0.2, 0.3]):
        known = known.save_ended(Saved(Do.SAVE, None, float(number), seconds), float(number))
        expected.append(known.checkpoint_seconds(float(number)))
    assert expected == [9.0, 9.0, 9.0, 2.0, 0.3]


def test_five_interruptions_two_of_them_while_booting() -> None:
    """Five interruptions, two of a replacement that still boots: the job finishes and nothing is done twice."""
    world = World()
    working(world, 10).warn()
    world.run(lambda world: len(world.instances) == 2)
    world.run_for(10)
    world.instances[1].warn()
    world.run(at_percent(40))
    for percent in (50, 70):
        world.run(at_percent(percent))
        newest = world.instances[-1]
        newest.warn()
        world.run(lambda world, newest=newest: world.instances[-1] is not newest)  # type: ignore[misc]
    world.run_for(5)
    world.instances[-1].warn()
    world.run(finished)
    assert world.result == {"result": "finished"}
    assert done_twice(world) == 0.0
    assert not any(instance.is_alive for instance in world.instances)


def test_end_without_notice_costs_at_most_one_interval() -> None:
    """An instance that dies without notice costs no more work than was done since the last checkpoint."""
    world = World()
    first = working(world, 60)
    first.die()
    world.run(finished)
    assert world.launches[1][2] is True
    assert 0.0 < done_twice(world) <= 100.0 * 120 / JOB_SECONDS


def test_replacement_does_not_take_over_from_an_owner_that_lives() -> None:
    """That the attempt between has died says nothing of the owner: it is waited for, and nothing is lost."""
    world = World()
    working(world, 10).warn()
    world.run(lambda world: len(world.instances) == 2)
    world.run_for(5)
    world.instances[1].die()
    assert world.job_now().previous_dead
    world.run(finished)
    assert done_twice(world) == 0.0


def test_replacement_with_a_notice_of_its_own_does_not_stop_the_owner() -> None:
    """A replacement that is itself about to end does not call itself ready: the owner works on to its own last moment."""
    world = World(attempts_allowed=2)
    first = working(world, 10)
    first.warn()
    deadline = world.now + 120
    world.run(lambda world: len(world.instances) == 2)
    world.instances[1].warn()
    world.run(lambda world: world.job_now().final == 1)
    assert world.job_now().ready == 0
    assert deadline - world.now < 10


def test_zombie_writes_nothing() -> None:
    """An agent that is frozen, replaced, and wakes up writes neither to the table nor to the store, and stops itself."""
    world = World()
    first = working(world, 30)
    first.freeze(600)
    world.run(lambda world: world.job_now().owner == 2)
    world.run(lambda world: world.instances[1].program.worked() > 50)
    before = [write for write in world.writes if write[0] == "agent1"]
    first.is_frozen_until = world.now
    first.turn_at = world.now
    world.run_for(10)
    assert [write for write in world.writes if write[0] == "agent1"] == before
    assert not first.is_alive
    assert any("fenced off" in message for message in world.messages("leaves"))
    world.run(finished)


def test_second_agent_of_the_same_attempt_is_turned_away() -> None:
    """Two instances with the same attempt: the one that the state machine did not name does no work."""
    world = World()
    working(world, 10)
    twin = Instance(world, replace(world.instances[0].me, instance_id="i-twin", agent_id="twin"))
    twin.boots_at = twin.turn_at = world.now
    world.instances.append(twin)
    world.run(lambda _: not twin.is_alive)
    assert not [write for write in world.writes if write[0] == "twin"]
    world.run(finished)


def test_two_agents_that_both_believe_they_own_the_attempt() -> None:
    """A second agent on the very same instance takes the job; the first is fenced off by its own next write."""
    world = World()
    first = working(world, 10)
    twin = Instance(world, replace(first.me, agent_id="twin"))
    twin.boots_at = twin.turn_at = world.now
    world.instances.append(twin)
    world.run(lambda world: world.job_now().owner_id == "twin")
    world.run(lambda _: not first.is_alive, 5)
    assert any("another agent of the same attempt" in message for message in world.messages("leaves"))


def test_table_out_of_reach() -> None:
    """While DynamoDB cannot be reached, the program works and heartbeats go on; it is told once, not with every try."""
    world = World()
    first = working(world, 20)
    world.table_is_down = True
    before = first.program.worked()
    world.run_for(60)
    assert first.program.worked() - before == pytest.approx(100 * 60 / JOB_SECONDS)
    assert world.now - world.beats[-1] <= 10.0
    world.table_is_down = False
    world.run(finished)
    assert len([m for m in world.messages("call failed") if "write the progress" in m]) == 1
    assert len(world.launches) == 1


def test_store_out_of_reach_during_a_notice() -> None:
    """While S3 cannot be reached, the program works; when it comes back before the deadline, nothing is lost."""
    world = World()
    first = working(world, 40)
    world.store_is_down = True
    first.warn()
    world.run_for(80)
    assert first.program.is_running()
    world.store_is_down = False
    world.run(finished)
    assert done_twice(world) == 0.0


def test_save_that_was_overtaken_is_better_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow checkpoint that is on its way when the final one begins is recorded when it arrives first, and counts if the final one fails."""
    world = World(attempts_allowed=1)
    first = working(world, 40)
    monkeypatch.setattr("tests.unit.agent.world.SAVE_SECONDS", 118.0)
    first.warn()
    noticed = world.now
    world.run(lambda _: not first.is_alive)
    assert world.now > noticed + 119
    assert world.job_now().saved_percent == pytest.approx(40.0, abs=2.0)
    assert world.job_now().final == 0


def test_store_out_of_reach_for_good() -> None:
    """S3 that stays away costs the work since the last checkpoint, and not the job."""
    world = World()
    first = working(world, 60)
    world.store_is_down = True
    first.warn()
    world.run(lambda _: not first.is_alive)
    world.store_is_down = False
    world.run(finished)
    assert world.result == {"result": "finished"}
    assert 0 < done_twice(world) <= 100.0


def test_corrupt_checkpoint_falls_back_to_the_one_before() -> None:
    """A checkpoint that is damaged is passed over with a clear line; the one before it is used, and kept beside the next."""
    world = World()
    first = working(world, 70)
    newest, before = world.job_now().checkpoint, world.job_now().checkpoint_before
    assert newest is not None
    assert before is not None
    world.damaged.add(newest.key)
    first.die()
    world.run(lambda world: world.job_now().owner == 2)
    world.run(lambda world: bool(world.messages("restored")[1:]))
    assert newest.key in world.messages("checkpoint unusable")[0]
    assert before.key in world.messages("restored")[1]
    world.run(lambda world: world.job_now().checkpoint != newest)
    assert world.job_now().checkpoint_before == before
    assert ("agent2", f"delete {newest.key}") in world.writes


def test_failing_program_is_told_with_its_last_lines() -> None:
    """A program that fails: its exit status and its last lines reach the state machine, and the instance is stopped."""
    world = World(exit_status=3, attempts_allowed=1)
    first = world.launch()
    world.run(finished)
    assert world.result == {"result": "failed", "cause": "exit status 3: reading input\nit is broken"}
    assert not first.is_alive
    assert world.job_now().final == 1


def test_failure_after_a_notice_is_not_told_to_the_next_attempt() -> None:
    """A program that fails while its replacement boots: the replacement goes on from the last checkpoint and is not called failed."""
    world = World()
    first = working(world, 40)
    first.warn()
    world.run(lambda world: len(world.instances) == 2)
    first.program.status = 3
    world.run(lambda _: not first.is_alive, 5)
    world.run(finished)
    assert [told["result"] for told in world.told] == ["interrupted", "finished"]


def test_signal_of_a_shutdown_is_no_failure() -> None:
    """A program that a shutdown has ended before the agent heard of it has not failed."""
    world = World()
    first = working(world, 40)
    assert first.agent is not None
    first.program.status = 143
    first.agent.turn()
    world.now += 0.5
    first.agent.shut_down()
    first.turn_at = world.now
    world.run_for(3)
    assert not any(told["result"] == "failed" for told in world.told)


def test_owner_gives_signs_of_life() -> None:
    """An owner whose program reports no progress still writes every ten seconds that it is there."""
    world = World(reports_progress=False)
    world.launch()
    world.run(lambda world: world.job_now().percent_at is not None)
    world.run_for(95)
    percent_at = world.job_now().percent_at
    assert percent_at is not None
    assert world.now - percent_at <= 11
    assert 9 <= len([write for write in world.writes if write == ("agent1", "progress")]) <= 12


def test_program_that_ignores_the_signal_is_killed_before_the_deadline() -> None:
    """A program that ignores SIGTERM is killed before the deadline, and the last good checkpoint stays."""
    world = World(ignores_signals=True, attempts_allowed=1)
    first = working(world, 40)
    first.warn()
    deadline = world.now + 120
    world.run(lambda world: world.job_now().final == 1)
    assert deadline - 3 < world.now < deadline
    assert first.program.status == 137
    saved = world.job_now().checkpoint
    assert saved is not None
    assert saved.percent < 45.0


def test_deleted_item_is_a_clear_failure() -> None:
    """When the item is deleted under a running job, the program ends, the state machine is told why, and the instance is stopped."""
    world = World(attempts_allowed=1)
    first = working(world, 20)
    world.job = None
    world.run(finished)
    assert world.result is not None
    assert "does not exist in the jobs table" in str(world.result["cause"])
    assert not first.is_alive
    assert len(world.launches) == 1


def test_job_that_was_stopped_by_hand() -> None:
    """When the job's status says that it was stopped, the agent ends its program and its instance."""
    world = World()
    first = working(world, 20)
    world.job = replace(world.job_now(), status="stopped")
    world.run(lambda _: not first.is_alive, 5)
    assert first.program.status == 137


def test_finishing_before_the_replacement_takes_over() -> None:
    """A job that finishes after its notice is reported to the token that is waited for by then; the replacement does nothing."""
    world = World()
    working(world, 95).warn()
    world.run(finished)
    assert world.result == {"result": "finished"}
    world.run(lambda world: not any(instance.is_alive for instance in world.instances), 100)
    assert world.job_now().owner == 1


def test_hand_over_without_a_notice() -> None:
    """A replacement that comes without a notice (RebalanceResponse=replace) takes over as soon as it is ready."""
    world = World()
    first = working(world, 20)
    world.launch()
    world.run(lambda world: world.job_now().owner == 2, 60)
    assert not first.is_alive
    world.run(finished)
    assert done_twice(world) == 0.0


def test_hook_waits_for_a_durable_checkpoint() -> None:
    """The hook is answered when a checkpoint that is younger than its question is recorded, and its deadline counts as a notice."""
    world = World()
    first = working(world, 20)
    first.requests.ask("interruption", world.now + 120)
    first.turn_at = world.now
    world.run(lambda _: bool(first.requests.answers), 5)
    assert first.requests.answers[0][:2] == ("interruption", True)
    assert world.job_now().saved_percent >= 20
    assert {"result": "interrupted", "deadline": pytest.approx(world.now + 120, abs=5)} in world.told


def test_second_question_for_one_notice_saves_nothing_twice() -> None:
    """The second command for the same notice is answered by the checkpoint that the first one led to."""
    world = World()
    first = working(world, 20)
    deadline = world.now + 120
    first.requests.ask("interruption", deadline)
    first.turn_at = world.now
    world.run_for(5)
    saves = len(world.messages("checkpoint saved"))
    first.requests.ask("interruption", deadline)
    first.turn_at = world.now
    world.run_for(1)
    assert len(first.requests.answers) == 2
    assert len(world.messages("checkpoint saved")) == saves


def test_rebalance_takes_a_checkpoint_and_nothing_more() -> None:
    """The question of a rebalance recommendation leads to a checkpoint; the job goes on where it is."""
    world = World()
    first = working(world, 20)
    first.requests.ask("rebalance", world.now + 900)
    first.turn_at = world.now
    world.run(lambda _: bool(first.requests.answers), 5)
    assert first.requests.answers[0][1] is True
    world.run(finished)
    assert len(world.launches) == 1


def test_imds_deadline_beats_a_later_one_from_the_hook() -> None:
    """The earlier of two deadlines counts: IMDS is asked as soon as the hook speaks."""
    world = World(attempts_allowed=1)
    first = working(world, 20)
    first.deadline, first.dies_at = world.now + 12, world.now + 13
    first.requests.ask("interruption", world.now + 120)
    first.turn_at = world.now
    world.run_for(1)
    assert world.job_now().handover_until == first.deadline
    world.run(lambda _: not first.is_alive)
    assert world.job_now().final == 1


def test_shutdown_saves_the_work() -> None:
    """An operating system that goes down without a notice still leaves time for a last checkpoint."""
    world = World()
    first = working(world, 45)
    assert first.agent is not None
    first.agent.shut_down()
    first.turn_at = world.now
    world.run(lambda world: world.job_now().final == 1, 5)
    first.die()
    world.run(finished)
    assert done_twice(world) == 0.0


def test_replacement_of_a_finished_job_does_nothing() -> None:
    """An attempt whose job is finished reports it and stops its instance."""
    world = World()
    world.job = replace(world.job_now(), status="finished", owner=1, final=1)
    late = world.launch()
    world.run(lambda _: not late.is_alive, 60)
    assert world.result == {"result": "finished"}
    assert world.job_now().owner == 1


def test_resumed_job_goes_on_from_its_checkpoint() -> None:
    """A job id that is started again, after everything that worked on it has gone, goes on from the last checkpoint."""
    world = World()
    saved = Checkpoint("old", "sha", 55.0, 10, 0.0)
    world.job = replace(world.job_now(), attempt=7, owner=7, owner_id="gone", final=7, checkpoint=saved, saved_percent=55.0, percent=60.0)
    world.launch()
    world.run(finished)
    assert world.records[8]["resumed_percent"] == 55.0


def test_silent_owner_is_not_waited_for_for_ever() -> None:
    """An owner of whom nobody knows that it died is given up after half a minute without a sign of life."""
    world = World()
    world.job = replace(world.job_now(), attempt=3, owner=2, owner_id="gone", percent_at=world.now)
    late = world.launch()
    world.run(lambda world: world.job_now().owner == 4, 80)
    assert late.is_alive
    assert "silent" in world.messages("claimed")[0]
