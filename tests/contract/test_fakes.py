"""The fakes keep the contracts that AWS keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.contract.commands_cases import CommandsCases, Reach, RefusalCases
from tests.contract.fleet_cases import FleetCases, KnownFleet
from tests.contract.notices_table_cases import AnswerCases, NoticesTableCases
from tests.examples import instance, instance_id
from tests.fakes.ports import FakeCommands, FakeFleet, FakeNoticesTable

if TYPE_CHECKING:
    from spot_responder.use_cases.ports import NoticesTable


class TestFakeNoticesTable(NoticesTableCases, AnswerCases):
    """``FakeNoticesTable``."""

    @pytest.fixture
    def table(self) -> NoticesTable:
        """Return an empty table."""
        return FakeNoticesTable()


class TestFakeFleet(FleetCases):
    """``FakeFleet``."""

    @pytest.fixture
    def known(self) -> KnownFleet:
        """Return a fleet of four, one of which has ended."""
        fleet = FakeFleet()
        fleet.run(*(replace(instance(number, state="terminated" if number == 4 else "running"), tags={"Name": "contract"}) for number in range(1, 5)))
        return KnownFleet(fleet, [instance_id(number) for number in (1, 2, 3)], instance_id(4))


@pytest.mark.parametrize("is_naming", [True, False], ids=["naming", "silent"])
class TestFakeCommands(CommandsCases, RefusalCases):
    """``FakeCommands``, whether SSM names the ids that it refuses or not."""

    @pytest.fixture
    def reach(self, *, is_naming: bool) -> Reach:
        """Return commands that reach three instances."""
        online = [instance_id(number) for number in range(1, 4)]
        return Reach(FakeCommands({instance_id(9): "not managed"}, is_naming=is_naming, online=set(online)), online, instance_id(9))
