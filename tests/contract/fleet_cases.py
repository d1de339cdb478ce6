"""What any fleet does: the fake, EC2 as moto knows it, EC2 in the sandbox.

A test class inherits the cases and brings the fixture ``known``: a fleet and what runs in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spot_responder.domain.instances import GONE_STATES
from tests.contract.notices_table_cases import fresh_id

if TYPE_CHECKING:
    from spot_responder.use_cases.ports import Fleet


@dataclass(frozen=True, slots=True)
class KnownFleet:
    """A fleet of which these instances are known: several that run, with the tag ``Name`` = ``contract``, and one that ended a moment ago."""

    fleet: Fleet
    running: list[str]
    ended: str


class FleetCases:
    """Describing."""

    def test_instances_are_described(self, known: KnownFleet) -> None:
        """Each instance comes with its state, type, zone and tags."""
        found = known.fleet.describe(known.running)
        assert found.keys() == set(known.running)
        for instance_id, instance in found.items():
            assert (instance.instance_id, instance.tags["Name"]) == (instance_id, "contract")
            assert instance.state in ("pending", "running")
            assert instance.instance_type
            assert instance.zone.startswith("us-east-1")

    def test_nothing_is_described(self, known: KnownFleet) -> None:
        """Without ids no instance comes back."""
        assert known.fleet.describe([]) == {}

    def test_an_instance_that_ended_is_still_known(self, known: KnownFleet) -> None:
        """EC2 knows an instance for a while after its end, and its state tells."""
        assert known.fleet.describe([known.ended])[known.ended].state in GONE_STATES

    def test_an_unknown_id_is_left_out(self, known: KnownFleet) -> None:
        """An id that EC2 does not know costs none of the others."""
        assert known.fleet.describe([*known.running, fresh_id()]).keys() == set(known.running)

    def test_many_unknown_ids_are_left_out(self, known: KnownFleet) -> None:
        """Ten unknown ids cost none of the others."""
        assert known.fleet.describe([fresh_id() for _ in range(10)] + known.running).keys() == set(known.running)

    def test_only_unknown_ids(self, known: KnownFleet) -> None:
        """Where EC2 knows none of them, there are none."""
        assert known.fleet.describe([fresh_id(), fresh_id()]) == {}
