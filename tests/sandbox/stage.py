"""A stage for the rules of the sandbox: a clock that is turned by hand, machines that only remember, and instances on it."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spot_sandbox.ec2_instances import Instance, LaunchSpec, SpotOptions, Subnet
from spot_sandbox.ec2_lifecycle import Lifecycle, Ports
from spot_sandbox.ec2_requests import METADATA_DEFAULTS
from spot_sandbox.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spot_sandbox.events import Event

ACCOUNT = "123456789012"
REGION = "us-east-1"
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SUBNET = Subnet("subnet-1", "vpc-1", "us-east-1a", "172.31.0.0/20")
PROFILE = {"Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/p", "Id": "AIPA1"}


class Clock:
    """Time that passes only when `pass_seconds` says so."""

    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[datetime, int, Timer]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do something later."""
        timer = Timer(action)
        heapq.heappush(self._queue, (self.now + timedelta(seconds=seconds), next(self._numbers), timer))
        return timer

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        end = self.now + timedelta(seconds=seconds)
        while self._queue and self._queue[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._queue)
            if not timer.cancelled:
                timer.action()
        self.now = end


@dataclass
class PretendMachine:
    """A machine that remembers its orders and ends when it is told to."""

    config: dict[str, Any]
    on_fact: Callable[[dict[str, Any]], None]
    on_end: Callable[[], None]
    orders: list[dict[str, Any]] = field(default_factory=list)
    deaf: bool = False
    destroyed: bool = False

    def order(self, do: str, **details: Any) -> None:
        """Remember the order; a shutdown ends the machine at once."""
        self.orders.append({"do": do, **details})
        if do == "shutdown" and not self.deaf:
            self.on_end()

    def destroy(self) -> None:
        """Remember that the plug was pulled."""
        if not self.destroyed:
            self.destroyed = True
            self.on_end()


class Stage:
    """A `Lifecycle` on a stage: `clock`, the `events` it emits and the `machines` it starts."""

    def __init__(self, directory: Path, *, scale: float = 1.0, boot_seconds: float = 40.0) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.machines: dict[str, PretendMachine] = {}
        ports = Ports(
            now=lambda: self.clock.now,
            scaled=lambda seconds: seconds * scale,
            after=self.clock.after,
            emit=self.events.append,
            start=self._start,
            credentials=lambda _: None,
            background=lambda action: action(),
            directory=directory,
            environment={},
            path="/usr/bin",
        )
        self.life = Lifecycle(ports, boot_seconds)

    def _start(self, config: dict[str, Any], on_fact: Callable[[dict[str, Any]], None], on_end: Callable[[], None]) -> PretendMachine:
        machine = PretendMachine(config, on_fact, on_end)
        self.machines[config["id"]] = machine
        return machine

    def run(self, count: int = 1, **changes: Any) -> list[Instance]:
        """Launch instances and let them boot."""
        instances = self.life.launch(ACCOUNT, REGION, spec(**changes), count)
        self.clock.pass_seconds(60)
        for instance in instances:
            self.machines[instance.id].on_fact({"say": "booted"})
        self.events.clear()
        return instances

    def told(self) -> list[tuple[str, Any]]:
        """Return the events so far, each as its kind and the one fact in it."""
        short = {
            "EC2 Instance State-change Notification": "state",
            "EC2 Spot Instance Interruption Warning": "instance-action",
            "EC2 Command Invocation Status-change Notification": "status",
            "EC2 Command Status-change Notification": "status",
        }
        return [(event.detail_type, event.detail.get(short.get(event.detail_type, ""))) for event in self.events]


def spec(**changes: Any) -> LaunchSpec:
    """Return the specification of an opted-in Spot Instance with a profile, with `changes`."""
    usual: dict[str, Any] = {
        "image_id": "ami-12345678",
        "instance_type": "m5.large",
        "subnet": SUBNET,
        "groups": ({"GroupId": "sg-1", "GroupName": "default"},),
        "profile": PROFILE,
        "spot": SpotOptions(),
        "metadata_options": dict(METADATA_DEFAULTS),
        "tags": {"Name": "Fis/Spot"},
    }
    return LaunchSpec(**{**usual, **changes})


def instance(instance_id: str = "i-0123456789abcdef0", *, state: str = "running", tags: dict[str, str] | None = None, **changes: Any) -> Instance:
    """Return an instance that never was launched."""
    return Instance(
        id=instance_id,
        account=ACCOUNT,
        region=REGION,
        reservation_id="r-1",
        index=0,
        spec=spec(**changes),
        private_ip="172.31.0.10",
        launched=START,
        tags={"Name": "Fis/Spot"} if tags is None else tags,
        state=state,
    )
