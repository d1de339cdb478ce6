"""The product: its own use cases, on ports that live in simulated time.

``RecordNotice``, ``RespondToNotices`` and ``RecordCheckpoint`` are the real ones, with the real patience. What is simulated is what
lies behind the ports: services with their limits and latencies, EventBridge, Lambda, and the table's stream.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from bench.burst.account import Asynchronous, Function
from bench.burst.engine import Beside
from bench.burst.limits import about
from bench.burst.table import DESCRIBING, OUR_RETRIES, TELLING, Lane, SimulatedTable
from bench.burst.warnings import Commanded, envelope, moment
from spot_responder.adapters.ec2_fleet import IDS_PER_CALL, IDS_PER_FILTER
from spot_responder.adapters.jobs import NoJobs
from spot_responder.adapters.ssm_commands import INSTANCES_PER_COMMAND
from spot_responder.domain.instances import Instance, OptInTag
from spot_responder.domain.plans import Policy, RebalanceResponse
from spot_responder.use_cases.patience import keep_trying
from spot_responder.use_cases.record_checkpoint import RecordCheckpoint
from spot_responder.use_cases.record_notice import RecordNotice
from spot_responder.use_cases.respond_to_notices import RespondToNotices
from spot_responder.wiring.parts import TIME_TO_FINISH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from bench.burst.account import Account
    from bench.burst.engine import Engine
    from bench.burst.warnings import Warned
    from spot_responder.domain.lines import Happened, Line
    from spot_responder.domain.notices import Notice, NoticeKey
    from spot_responder.use_cases.ports import Invocation

RECORD_TIMEOUT = 60.0
RESPOND_TIMEOUT = 150.0
LONGEST_AGE = 3600.0
"""template.yaml: ``Globals``, ``RespondToNotices``, ``EventInvokeConfig``; a test compares them."""
OPT_IN = OptInTag("spot-responder:checkpoint", "enabled")


@dataclass(frozen=True, slots=True)
class SimulatedClock:
    """``Clock`` of the simulated time."""

    account: Account

    def now(self) -> datetime:
        """Return the simulated present."""
        return moment(self.account.engine.now)

    def sleep(self, seconds: float) -> None:
        """Let the others go on meanwhile."""
        self.account.engine.sleep(seconds)


@dataclass(slots=True)
class CountingStory:
    """``Story`` that counts. A line takes so many seconds."""

    engine: Engine
    takes: float = 0.0
    told: Counter[Happened] = field(default_factory=Counter)

    def tell(self, line: Line) -> None:
        """Count one line."""
        self.told[line.event] += 1
        self.engine.sleep(self.takes)


@dataclass(frozen=True, slots=True)
class SimulatedFleet:
    """``Fleet`` in simulated time: all run and opted in. Asks EC2 as ``Ec2Fleet`` does."""

    account: Account

    def describe(self, instance_ids: Collection[str]) -> Mapping[str, Instance]:
        """See ``Fleet.describe``."""
        found: dict[str, Instance] = {}
        for ids in batched(sorted(instance_ids), IDS_PER_CALL, strict=False):
            bucket = self.account.describe_filtered if len(ids) <= IDS_PER_FILTER else self.account.describe_by_id
            takes = self.account.seconds.describe + len(ids) * (self.account.seconds.each_instance + DESCRIBING * self.account.seconds.notice)
            self.account.request("ec2:DescribeInstances", takes, partial(self.account.takes_from, bucket), OUR_RETRIES)
            found |= {instance_id: Instance(instance_id, "running", "m5.large", "us-east-1a", {OPT_IN.key: OPT_IN.value}) for instance_id in ids}
        return found


@dataclass(slots=True)
class SimulatedCommands:
    """``Commands`` in simulated time: every instance saves, and SSM says so on the bus."""

    account: Account
    commanded: Commanded
    saved: Callable[[str, Notice, float], None]
    batch_size: int = INSTANCES_PER_COMMAND

    def ask_checkpoint(self, notices: Sequence[Notice], now: datetime) -> str:
        """See ``Commands.ask_checkpoint``."""
        del now
        account = self.account
        account.request("ssm:SendCommand", account.seconds.send_command, partial(account.takes_from, account.send_command), OUR_RETRIES)
        self.commanded.note((notice.instance_id for notice in notices), account.engine.now)
        command_id = f"00000000-0000-4000-8000-{account.calls['ssm:SendCommand']:012x}"
        for notice in notices:
            saved_at = account.engine.now + about(account.seconds.checkpoint, account.chance)
            account.engine.at(saved_at, partial(self.saved, command_id, notice, saved_at))
        return command_id

    def unreachable(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """See ``Commands.unreachable``; SSM reaches them all."""
        raise NotImplementedError

    def invocation(self, command_id: str, instance_id: str) -> Invocation:
        """See ``Commands.invocation``; nothing fails on an instance."""
        raise NotImplementedError


class Ours:
    """The stack, deployed into a simulated account."""

    def __init__(self, account: Account, shards: int = 1) -> None:
        self.account = account
        self.commanded = Commanded()
        self.story = CountingStory(account.engine)  # the time of one event's line is in that of its function
        self.recording = Asynchronous(Function(account, account.seconds.event), LONGEST_AGE)
        self.results = Asynchronous(Function(account, account.seconds.event), LONGEST_AGE)
        self._lanes: list[Lane] = []
        self._responding = Function(account, 0.0)
        self.table = SimulatedTable(account, self._lane, shards)
        self._clock = SimulatedClock(account)
        commands = SimulatedCommands(account, self.commanded, self._saved)
        policy = Policy(OPT_IN, RebalanceResponse.CHECKPOINT)
        self._record_notice = RecordNotice(self.table, self.story, self._clock)
        fleet, beside = SimulatedFleet(account), partial(Beside, account.engine)
        story = replace(self.story, takes=TELLING * account.seconds.notice)
        self._respond = RespondToNotices(self.table, fleet, commands, NoJobs(), story, self._clock, policy, beside)
        self._record_checkpoint = RecordCheckpoint(self.table, commands, self.story, self._clock)

    def warn(self, warned: Warned) -> None:
        """Put a warning on the bus."""
        event, by = warned.event(), f"warning of {warned.instance_id}"
        self.recording.deliver(warned.at, lambda: self._patiently(lambda: self._record_notice(event, by)))

    @property
    def dead_letters(self) -> int:
        """How many events and records were given up."""
        return self.recording.dead_letters + self.results.dead_letters + sum(lane.dead_letters for lane in self._lanes)

    def _lane(self) -> Lane:
        self._lanes.append(Lane(self._responding, self._answer))
        return self._lanes[-1]

    def _answer(self, batch: Sequence[Notice]) -> set[NoticeKey]:
        """As ``wiring.respond_to_notices`` does."""
        return self._respond(batch, self._end_of(RESPOND_TIMEOUT))

    def _saved(self, command_id: str, notice: Notice, at: float) -> None:
        """Put SSM's word on the bus (Systems Manager User Guide, "Monitoring Systems Manager events")."""
        detail = {"command-id": command_id, "document-name": "checkpoint", "instance-id": notice.instance_id, "status": "Success"}
        event = envelope("aws.ssm", "EC2 Command Invocation Status-change Notification", at, notice.instance_id, detail)
        by = f"result of {command_id} on {notice.instance_id}"
        self.results.deliver(at, lambda: self._patiently(lambda: self._record_checkpoint(event, by)))

    def _patiently(self, act: Callable[[], None]) -> None:
        """As ``wiring.parts.patiently`` does."""
        keep_trying(act, self._end_of(RECORD_TIMEOUT), self._clock)

    def _end_of(self, timeout: float) -> datetime:
        """Return when an invocation that begins now has to end, as ``wiring.parts.until`` does."""
        return moment(self.account.engine.now + timeout) - TIME_TO_FINISH
