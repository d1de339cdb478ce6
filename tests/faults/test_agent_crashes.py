"""The agent's process is killed at each of its calls to AWS: the next agent goes on from the last good checkpoint."""

from __future__ import annotations

import itertools

import pytest

from tests.faults.agents import AgentsWorld, At

WARNED_AFTER = 20.0
MOST_SECONDS = 1200.0


def live(at: At | None = None, *, is_restarted: bool = True) -> AgentsWorld:
    """Let a job of half a minute pass, interrupted in the middle, and all its instances end."""
    world = AgentsWorld(at, is_restarted=is_restarted)
    first = world.launch()
    world.run_for(WARNED_AFTER)
    if first.is_alive:
        first.warn()
    world.run(lambda world: world.result is not None and not any(instance.is_alive for instance in world.instances), MOST_SECONDS)
    return world


def all_is_well(world: AgentsWorld) -> None:
    """The job is done; what is saved never went back; each agent began with what was saved last; no attempt wrote after a later one."""
    job = world.job_now()
    # Killed between the item's last write and the last word, the state machine learns it from the item.
    assert world.result is not None
    assert world.result["result"] in ("finished", "gone")
    assert (job.status, job.saved_percent) == ("finished", 100.0)
    assert world.saved == sorted(world.saved)
    for checkpoint, item in world.resumes:
        assert checkpoint == item.checkpoint
        assert (checkpoint.percent if checkpoint else 0.0) == item.saved_percent
    assert world.owners == sorted(world.owners)
    assert not world.messages("checkpoint unusable")
    assert [output["result"] for output in world.told].count("finished") == (world.result["result"] == "finished")


def points(calls: list[tuple[str, str]], *, is_whole: bool) -> list[int]:
    """Return the calls to be killed at: of those that are alike the last, or all."""
    last = {call: number for number, call in enumerate(calls)}
    return list(range(len(calls))) if is_whole else sorted(last.values())


def test_without_a_crash() -> None:
    """The undisturbed job is handed over once, without work done twice, and makes every kind of call that the agent knows."""
    world = live()
    all_is_well(world)
    assert (len(world.launches), world.crashes) == (2, [])
    assert [record["resumed_percent"] - record.get("previous_percent", 0.0) for record in world.records_told()] == [0.0, 0.0]
    assert {operation for operation, _ in world.aws.calls} == {
        "dynamodb:GetItem",
        "dynamodb:UpdateItem",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:PutObject",
        "sfn:SendTaskHeartbeat",
        "sfn:SendTaskSuccess",
    }


@pytest.mark.parametrize(
    ("is_after", "is_restarted", "is_whole"),
    [
        pytest.param(False, True, False, id="before, started again, each kind of call"),
        pytest.param(True, False, False, id="after, instance gone, each kind of call"),
        *(
            pytest.param(*how, True, id=f"after={how[0]}, restarted={how[1]}, all calls", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])
            for how in itertools.product((False, True), (False, True))
        ),
    ],
)
def test_a_crash_at_every_call(is_after: bool, is_restarted: bool, is_whole: bool) -> None:  # noqa: FBT001  # pytest's choices
    """Wherever the agent is killed, alone or with its instance, the job goes on from the last good checkpoint and finishes."""
    calls = live().aws.calls
    for number in points(calls, is_whole=is_whole):
        world = live(At(number, is_after), is_restarted=is_restarted)
        assert [operation for _, operation in world.crashes] == [calls[number][0]]
        all_is_well(world)


def test_the_fence_holds_against_a_zombie() -> None:
    """An agent that stands still while its replacement takes over writes nothing when it wakes up: what is saved stays."""
    world = AgentsWorld()
    first = world.launch()
    world.run_for(WARNED_AFTER)
    first.freeze(100.0)
    world.instance_ended(first)
    world.run(lambda world: world.result is not None and not any(instance.is_alive for instance in world.instances), MOST_SECONDS)
    all_is_well(world)
    assert world.owners[-1] == 2
