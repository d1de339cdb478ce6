"""What holds whatever happens: random histories of the small world."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spot_agent.decisions import decide
from spot_agent.job import Job
from spot_agent.knowledge import Do, Known, Me, Notice, Phase
from tests.unit.agent.world import World

MISHAPS = ("warn", "die", "freeze", "table", "store", "wait")
histories = st.lists(st.tuples(st.sampled_from(MISHAPS), st.integers(1, 150)), max_size=8)
calm_histories = st.lists(st.integers(1, 200), max_size=6)


def befall(world: World, what: str, seconds: int) -> None:
    """Let a mishap befall the newest instance, or the world, and some time pass."""
    alive = [instance for instance in world.instances if instance.is_alive]
    world.table_is_down, world.store_is_down = what == "table", what == "store"
    if alive and what == "warn":
        alive[-1].warn()
    elif alive and what == "die":
        alive[-1].die()
    elif alive and what == "freeze":
        alive[0].freeze(seconds * 2.0)
    world.run_for(float(seconds))
    world.table_is_down = world.store_is_down = False


def owners_in_order(world: World) -> list[int]:
    """Return the attempts that wrote progress, in the order in which they did."""
    return [int(agent.removeprefix("agent")) for agent, what in world.writes if what in {"progress", "mark", "final", "claim", "deadline"}]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_job_always_finishes_and_no_earlier_attempt_writes(history: list[tuple[str, int]]) -> None:
    """Whatever befalls its instances, the job finishes, and an attempt never writes progress after a later one has."""
    world = World()
    world.launch()
    for what, seconds in history:
        befall(world, what, seconds)
    world.run(lambda world: world.job_now().status == "finished", 7200)
    assert world.job_now().saved_percent == 100.0
    owners = owners_in_order(world)
    assert owners == sorted(owners)
    world.run(lambda world: not any(instance.is_alive for instance in world.instances), 1200)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calm_histories)
def test_notices_alone_never_cost_work(waits: list[int]) -> None:
    """However often instances are interrupted, also while they boot: with the notice in time, nothing is done twice."""
    world = World()
    world.launch()
    for seconds in waits:
        befall(world, "warn", seconds)
    world.run(lambda world: world.job_now().status == "finished", 7200)
    for record in world.records.values():
        assert record.get("previous_percent", 0.0) <= record.get("resumed_percent", 0.0)


WRITES = {
    Do.ANNOUNCE_READY, Do.CLAIM, Do.RECORD_DEADLINE, Do.WRITE_PROGRESS, Do.SAVE, Do.SAVE_FINAL, Do.MARK, Do.MARK_STOPPED,
    Do.RECORD_ATTEMPT, Do.TELL_INTERRUPTED, Do.MEASURE,
}  # fmt: skip
ME = Me("job", 2, "i-2", "me")
jobs = st.builds(
    Job,
    job_id=st.just("job"),
    status=st.sampled_from(["running", "finished", "stopped"]),
    attempt=st.integers(0, 4),
    token=st.sampled_from(["", "t"]),
    instance_id=st.sampled_from(["i-1", "i-2"]),
    owner=st.integers(0, 4),
    owner_id=st.sampled_from(["", "me", "other"]),
    ready=st.integers(0, 4),
    final=st.integers(0, 4),
    previous_dead=st.booleans(),
    handover_until=st.one_of(st.none(), st.floats(0, 200)),
)
knowns = st.builds(
    Known,
    me=st.just(ME),
    phase=st.sampled_from(Phase),
    since=st.floats(0, 100),
    job=st.one_of(st.none(), jobs),
    is_missing=st.booleans(),
    looked_at=st.floats(0, 100),
    notice=st.one_of(st.none(), st.builds(Notice, st.just("terminate"), st.floats(0, 200), st.floats(0, 100))),
    is_shutting_down=st.booleans(),
    exit_status=st.one_of(st.none(), st.integers(0, 255)),
    is_restored=st.booleans(),
)


@given(knowns, st.floats(100, 300))
def test_nothing_is_written_blindly(known: Known, now: float) -> None:
    """An agent that has not looked at the item for ten seconds looks before it writes anything."""
    before_the_end = known.phase not in {Phase.LEAVING, Phase.OVER}
    steps = {step.do for step in decide(known, now)}
    if before_the_end and now - known.last_look >= 10.0:
        assert not steps & WRITES


@given(st.floats(0, 9), st.floats(0, 5))
def test_last_checkpoint_comes_before_any_call(since_the_look: float, late: float) -> None:
    """In the last moment nothing is waited for, not even the look at the item that is due: the final checkpoint begins."""
    job = Job("job", attempt=2, token="t", instance_id="i-2", owner=2, owner_id="me", checkpoint_seconds=2.0)
    known = Known(ME, Phase.WORKING, job=job, looked_at=100.0 - since_the_look, notice=Notice("terminate", 106.0 - late, 0.0))
    assert decide(known, 100.0)[0].do is Do.SAVE_FINAL


@given(knowns, st.floats(0, 300))
def test_every_knowledge_has_an_answer(known: Known, now: float) -> None:
    """`decide` answers everything, and never works for a job that belongs to somebody else."""
    steps = {step.do for step in decide(known, now)}
    works = known.phase in {Phase.CLAIMED, Phase.WORKING, Phase.HANDING_OVER, Phase.FINISHING}
    if works and known.job is not None and (known.job.owner, known.job.owner_id) != (2, "me"):
        assert steps <= {Do.LEAVE}
