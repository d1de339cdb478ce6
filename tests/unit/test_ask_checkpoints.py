"""Many instances, few commands, and no instance holds up another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_responder.domain.errors import InstancesRefused, Refused
from spot_responder.domain.notices import Action
from spot_responder.use_cases.ask_checkpoints import AskCheckpoints, Asked, NotAsked, PutOff
from tests.examples import NOW, instance_id, notice, rebalance, seconds
from tests.fakes.ports import THROTTLED, FakeClock, FakeCommands

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spot_responder.domain.notices import Notice

OFFLINE = "the SSM agent is offline (ConnectionLost)"
BROKEN = Refused("ssm:SendCommand: InvalidDocument: Document with name spot-responder-checkpoint does not exist.")


@dataclass
class World:
    """Commands and a clock; ``ask`` collects the results."""

    commands: FakeCommands = field(default_factory=FakeCommands)
    clock: FakeClock = field(default_factory=FakeClock)
    time: float = 140
    asked: dict[str, str] = field(default_factory=dict)
    not_asked: dict[str, str] = field(default_factory=dict)
    put_off: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def ask(self, notices: Iterable[Notice]) -> World:
        """Ask for these, with ``time`` seconds to the end of the invocation."""
        for result in AskCheckpoints(self.commands, self.clock, NOW + seconds(self.time))(notices):
            match result:
                case Asked(batch, command_id):
                    self.asked |= {one.instance_id: command_id for one in batch}
                    self.ended += [one.instance_id for one in batch]
                case NotAsked(one, reason):
                    self.not_asked[one.instance_id] = reason
                    self.ended.append(one.instance_id)
                case PutOff(batch):
                    self.put_off += [one.instance_id for one in batch]
                    self.ended += [one.instance_id for one in batch]
        return self


def many(count: int) -> list[Notice]:
    """Return warnings for so many instances."""
    return [notice(number) for number in range(count)]


@pytest.mark.parametrize(("instances", "commands"), [(0, 0), (1, 1), (50, 1), (51, 2), (100, 2), (1000, 20)])
def test_fifty_to_a_command(instances: int, commands: int) -> None:
    """One command for each fifty instances, and not one more."""
    world = World().ask(many(instances))
    assert (world.commands.tries, len(world.asked), world.clock.slept) == (commands, instances, [])


def test_the_most_urgent_first() -> None:
    """The commands go out in the order of the deadlines, whatever the order of the notices."""
    notices = [rebalance(1), notice(2, age=3), notice(3, age=60), notice(4, action=Action.STOP, age=30)]
    world = World(FakeCommands(batch_size=1)).ask(notices)
    assert world.commands.asked == [instance_id(number) for number in (3, 4, 2, 1)]


def test_results_come_as_they_are_known() -> None:
    """A result is out before the next call is made, so that it can be written down at once."""
    world = World()
    results = AskCheckpoints(world.commands, world.clock, NOW + seconds(60))(many(100))
    next(results)
    assert world.commands.tries == 1


@pytest.mark.parametrize("is_naming", [True, False])
def test_an_unmanaged_instance_holds_up_nobody(*, is_naming: bool) -> None:
    """Of fifty with two that SSM cannot reach, 48 are asked in one more call, and two carry SSM's reason."""
    commands = FakeCommands({instance_id(7): OFFLINE, instance_id(20): OFFLINE}, is_naming=is_naming)
    world = World(commands).ask(many(50))
    assert set(world.not_asked) == {instance_id(7), instance_id(20)}
    assert (len(world.asked), commands.tries) == (48, 2)
    expected = "InvalidInstanceId" if is_naming else OFFLINE
    assert all(expected in reason for reason in world.not_asked.values())


@pytest.mark.parametrize("told", ["no agent here", None])
def test_an_instance_alone(told: str | None) -> None:
    """One instance alone has the same plain reason as one of many; where SSM calls it Online, SSM's sentence of refusal is the reason."""
    world = World(FakeCommands({instance_id(1): told})).ask([notice(1)])
    assert (told or "InvalidInstanceId") in world.not_asked[instance_id(1)]


def test_a_batch_is_divided_where_ssm_names_nobody() -> None:
    """Where SSM refuses a batch though it calls every instance Online, halving finds the culprit, and the others are asked."""
    commands = FakeCommands({instance_id(13): None})
    world = World(commands).ask(many(50))
    assert set(world.not_asked) == {instance_id(13)}
    assert len(world.asked) == 49
    assert commands.tries <= 2 * 6 + 1


def test_an_instance_that_iam_denies_is_named() -> None:
    """AccessDenied that names an instance (its tag is gone) keeps that one out, one a call, and the others are asked."""
    world = World(FakeCommands(denied={instance_id(3), instance_id(4)})).ask(many(10))
    assert set(world.not_asked) == {instance_id(3), instance_id(4)}
    assert len(world.asked) == 8


def test_a_culprit_of_another_batch_is_no_culprit() -> None:
    """An id that SSM names and that is not in the batch changes nothing: the batch is looked into as if none were named."""
    commands = FakeCommands()
    commands.failures.plan("ask_checkpoint", InstancesRefused("ssm:SendCommand: InvalidInstanceId", ["i-ffffffffffffffff0"]))
    assert len(World(commands).ask(many(4)).asked) == 4


def test_a_refused_command_is_not_sent_again() -> None:
    """A refusal that is about no instance (a missing document) fails that batch with AWS's sentence, at once."""
    commands = FakeCommands()
    commands.failures.plan("ask_checkpoint", BROKEN)
    world = World(commands).ask(many(60))
    assert (len(world.not_asked), len(world.asked), commands.tries) == (50, 10, 2)
    assert set(world.not_asked.values()) == {str(BROKEN)}


def test_a_throttled_batch_waits_for_the_others() -> None:
    """A throttled batch is tried again after the other batches had their turn."""
    commands = FakeCommands()
    commands.failures.plan("ask_checkpoint", THROTTLED)
    world = World(commands).ask(many(100))
    assert (commands.tries, len(world.asked), world.clock.slept) == (3, 100, [0.2])
    assert commands.sent[0].instance_ids == [instance_id(number) for number in range(50, 100)]


def test_throttled_until_it_is_late() -> None:
    """What is throttled until its deadline is given up with the reason, and tried no longer."""
    commands = FakeCommands()
    commands.failures.plan("ask_checkpoint", *[THROTTLED] * 100)
    world = World(commands).ask([notice(1, age=110), rebalance(2)])
    assert world.not_asked == {instance_id(1): str(THROTTLED)}
    assert world.put_off == [instance_id(2)]


def test_what_is_throttled_to_the_end_is_put_off() -> None:
    """What still has time when the invocation has none left goes back to the stream."""
    commands = FakeCommands()
    commands.failures.plan("ask_checkpoint", *[THROTTLED] * 9)
    world = World(commands, time=5).ask(many(60))
    assert (len(world.put_off), world.asked, world.not_asked) == (50, {f"{instance_id(n)}": "command-1" for n in range(50, 60)}, {})
    assert NOW <= world.clock.now() < NOW + seconds(5)


def test_what_is_late_already_is_not_asked() -> None:
    """A notice whose deadline passed while others were asked is not asked for."""
    world = World().ask([notice(1, age=120), notice(2)])
    assert (world.not_asked, list(world.asked)) == ({instance_id(1): "there was no time left to ask"}, [instance_id(2)])


def test_looking_for_the_culprit_may_be_throttled() -> None:
    """If DescribeInstanceInformation is throttled too, the batch has another turn."""
    commands = FakeCommands({instance_id(2): OFFLINE})
    commands.failures.plan("unreachable", THROTTLED)
    world = World(commands).ask(many(5))
    assert (world.not_asked, len(world.asked)) == ({instance_id(2): OFFLINE}, 4)


def test_looking_for_the_culprit_may_be_refused() -> None:
    """If DescribeInstanceInformation is refused, halving finds the culprit without it, and nobody is held up."""
    commands = FakeCommands({instance_id(2): OFFLINE})
    commands.failures.plan("unreachable", *[Refused("ssm:DescribeInstanceInformation: AccessDeniedException: no")] * 9)
    world = World(commands).ask(many(5))
    assert (set(world.not_asked), len(world.asked)) == ({instance_id(2)}, 4)


FATES = st.sampled_from(["online", "online", "online", "unmanaged", "silent", "denied"])


@given(
    st.lists(st.tuples(FATES, st.sampled_from([3, 60, 118, 119.9, 130]), st.sampled_from(Action)), max_size=40),
    st.lists(st.sampled_from([None, THROTTLED, BROKEN]), max_size=12),
    st.lists(st.sampled_from([None, THROTTLED, BROKEN]), max_size=4),
    st.booleans(),
    st.integers(1, 7),
    st.sampled_from([0, 2, 140]),
)
def test_every_notice_ends_exactly_once(
    notices: list[tuple[str, float, Action]],
    troubles: list[Exception | None],
    more_troubles: list[Exception | None],
    is_naming: bool,  # noqa: FBT001  # drawn by Hypothesis
    batch_size: int,
    time: float,
) -> None:
    """In any mixture of instances and failures each notice is asked, not asked or put off exactly once.

    No command is larger than SSM takes; whoever SSM can reach, and for whom no call failed, is asked.
    """
    subjects = [notice(number, action=action, age=age) for number, (_, age, action) in enumerate(notices)]
    fates = {instance_id(number): fate for number, (fate, _, _) in enumerate(notices)}
    unmanaged = {one: OFFLINE if fate == "unmanaged" else None for one, fate in fates.items() if fate in ("unmanaged", "silent")}
    denied = {one for one, fate in fates.items() if fate == "denied"}
    commands = FakeCommands(unmanaged, denied, is_naming=is_naming, batch_size=batch_size)
    commands.failures.plan("ask_checkpoint", *troubles)
    commands.failures.plan("unreachable", *more_troubles)
    world = World(commands, time=time).ask(subjects)
    assert sorted(world.ended) == sorted(fates)
    assert all(len(sent.notices) <= batch_size for sent in commands.sent)
    assert sorted(commands.asked) == sorted(world.asked)
    assert all(fates[one] == "online" for one in world.asked)
    online = {one.instance_id for one in subjects if fates[one.instance_id] == "online" and not one.is_late(NOW)}
    if time == 140 and not any(troubles) and not any(more_troubles):
        assert set(world.asked) == online
