"""What any Run Command does: the fake, SSM as moto knows it, SSM in the sandbox.

A test class inherits the cases and brings the fixture ``reach``: the commands, and instances that they reach or do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from spot_responder.domain.errors import CallFailed, InstancesRefused, Refused
from tests.contract.notices_table_cases import fresh_id
from tests.examples import COMMAND_ID, NOW, notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spot_responder.domain.notices import Notice
    from spot_responder.use_cases.ports import Commands


@dataclass(frozen=True, slots=True)
class Reach:
    """``commands`` by a document with the parameter ``Notices``; instances that SSM reaches, and one that it does not manage."""

    commands: Commands
    online: list[str]
    unmanaged: str


def notices(instance_ids: Iterable[str]) -> list[Notice]:
    """Return a notice for each instance."""
    return [replace(notice(), instance_id=instance_id) for instance_id in instance_ids]


class CommandsCases:
    """Asking instances that can be reached."""

    def test_a_command_is_sent(self, reach: Reach) -> None:
        """Each command has an id of its own."""
        ids = [reach.commands.ask_checkpoint(notices(reach.online), NOW) for _ in range(2)]
        assert len(set(ids)) == 2
        assert all(ids)

    def test_an_unknown_command_went_nowhere(self, reach: Reach) -> None:
        """How a command went that nobody sent, SSM refuses to say."""
        with pytest.raises(Refused):
            reach.commands.invocation(COMMAND_ID, reach.online[0])


class RefusalCases:
    """What SSM refuses. Plain moto refuses nothing, so these do not run on it."""

    def test_one_unmanaged_instance_fails_the_whole_call(self, reach: Reach) -> None:
        """An instance that SSM does not manage fails the command for all, and may or may not be named."""
        with pytest.raises(InstancesRefused) as caught:
            reach.commands.ask_checkpoint(notices([*reach.online, reach.unmanaged]), NOW)
        assert caught.value.instance_ids <= {reach.unmanaged}

    def test_one_unknown_instance_fails_the_whole_call(self, reach: Reach) -> None:
        """So does an id that nobody knows."""
        unknown = fresh_id()
        with pytest.raises(InstancesRefused) as caught:
            reach.commands.ask_checkpoint(notices([*reach.online, unknown]), NOW)
        assert caught.value.instance_ids <= {unknown}

    def test_who_cannot_be_reached(self, reach: Reach) -> None:
        """SSM tells who is not Online, with a reason, and says nothing of the others."""
        unknown = fresh_id()
        reasons = reach.commands.unreachable([*reach.online, reach.unmanaged, unknown])
        assert reasons.keys() == {reach.unmanaged, unknown}
        assert all(reasons.values())

    def test_an_instance_twice_is_refused(self, reach: Reach) -> None:
        """The same instance twice in a command is refused (DuplicateInstanceId), and it is not about that instance."""
        with pytest.raises(Refused) as caught:
            reach.commands.ask_checkpoint(notices([reach.online[0]] * 2), NOW)
        assert not isinstance(caught.value, InstancesRefused)

    def test_more_than_a_command_takes(self, reach: Reach) -> None:
        """More instances than a command takes are not asked, whichever error SSM has for it."""
        too_many = [*reach.online, *(fresh_id() for _ in range(reach.commands.batch_size))]
        with pytest.raises(CallFailed):
            reach.commands.ask_checkpoint(notices(too_many), NOW)
