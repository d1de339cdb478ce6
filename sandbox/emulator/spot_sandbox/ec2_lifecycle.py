"""The life of instances and Spot requests: launch, boot, warning, end, and the events on the way.

`Lifecycle` holds all of them for all accounts and regions, under one lock. What it needs of the world comes in as `Ports`,
so that its rules are tested with a clock and machines that are none.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

import ipaddress
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from spot_sandbox import ec2_metadata, events
from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_capacity import Capacity, no_capacity
from spot_sandbox.ec2_endings import CRASHED, POWERED_OFF, STOPPED_BY_USER, STOPPED_ITSELF, TERMINATED_BY_USER, Ending, interruption
from spot_sandbox.ec2_instances import Instance, LaunchSpec, SpotRequest
from spot_sandbox.ec2_requests import check_ids
from spot_sandbox.events import Event, Place
from spot_sandbox.timers import Timer

type Json = dict[str, Any]

WARNING_SECONDS = 120
"""Two minutes from an interruption warning to the end."""
PENDING_SECONDS = 5
"""From the launch to the state ``running``, which comes long before the instance has booted."""
SHUTDOWN_SECONDS = 30
"""What the operating system gives its processes between SIGTERM and SIGKILL."""
EVALUATION_SECONDS = 3
"""From a Spot request to its instance, and between two looks for capacity."""
REMEMBERED = timedelta(hours=1)
"""How long a terminated instance is still described."""

ALIVE = ("pending", "running")


class Computer(Protocol):
    """The machine that an instance runs on; `ec2_machines.Machine` is the real one."""

    def order(self, do: str, **details: Any) -> None:
        """Tell the instance to do something."""

    def destroy(self) -> None:
        """Kill the instance with everything on it."""


@dataclass(frozen=True)
class Ports:
    """What the life of instances needs of the world.

    `environment` is what every instance has in its environment, `path` its search path behind its own folders.
    `scaled` turns true seconds into the sandbox's; `start` starts a machine from its configuration, with a function for
    what it says and one for its end; `credentials(instance)` returns what STS gives for the instance's role;
    `background` runs something in another thread.
    """

    now: Callable[[], datetime]
    scaled: Callable[[float], float]
    after: Callable[[float, Callable[[], None]], Timer]
    emit: Callable[[Event], None]
    start: Callable[[Json, Callable[[Json], None], Callable[[], None]], Computer]
    credentials: Callable[[Instance], Json | None]
    background: Callable[[Callable[[], None]], None]
    directory: Path
    environment: dict[str, str]
    path: str


def _hex(digits: int = 17) -> str:
    return f"{random.getrandbits(4 * digits):0{digits}x}"


class Lifecycle:
    """All instances and Spot requests of the sandbox, in the order of their launch.

    `watchers` are called with each instance whose state, boot or agent has changed, under the lock; `listeners` with each
    instance and what its machine has said, outside it.
    """

    def __init__(self, ports: Ports, boot_seconds: float) -> None:
        """`boot_seconds` of true time pass from the launch until the operating system answers."""
        self.ports = ports
        self.boot_seconds = boot_seconds
        self.capacity = Capacity()
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}
        self.requests: dict[str, SpotRequest] = {}
        self.watchers: list[Callable[[Instance], None]] = []
        self.listeners: list[Callable[[Instance, Json], None]] = []
        self._machines: dict[str, Computer] = {}
        self._endings: dict[str, Ending] = {}
        self._interruptions: dict[str, Timer] = {}
        self._plugs: dict[str, Timer] = {}
        self._where: dict[str, tuple[str, str]] = {}

    # Looking things up

    def of(self, account: str, region: str) -> list[Instance]:
        """Return the instances of an account and region that EC2 still describes."""
        with self.lock:
            self._drop_old()
            return [i for i in self.instances.values() if (i.account, i.region) == (account, region)]

    def requests_of(self, account: str, region: str) -> list[SpotRequest]:
        """Return the Spot requests of an account and region."""
        with self.lock:
            return [r for r in self.requests.values() if self._where[r.id] == (account, region)]

    def pick(self, account: str, region: str, ids: Iterable[str]) -> list[Instance]:
        """Return the instances with these ids; raise ApiError naming all ids that are malformed or unknown."""
        ids = list(dict.fromkeys(ids))
        known = {instance.id: instance for instance in self.of(account, region)}
        check_ids(ids, known)
        return [known[instance_id] for instance_id in ids]

    def _drop_old(self) -> None:
        limit = self.ports.now() - REMEMBERED
        for instance in [i for i in self.instances.values() if i.ended is not None and i.ended < limit]:
            del self.instances[instance.id]

    # Launch

    def launch(self, account: str, region: str, spec: LaunchSpec, count: int, **origin: Any) -> list[Instance]:
        """Launch `count` instances as one reservation, or raise ApiError when their pool does not have them.

        `origin` may give ``client_token`` and ``fleet_id``.
        """
        market = "spot" if spec.spot else "on-demand"
        with self.lock:
            if not self.capacity.take(market, spec.pool, count):
                raise no_capacity(market, spec.instance_type, spec.subnet.zone)
            reservation = f"r-{_hex()}"
            launched = [self._create(account, region, spec, reservation, index, origin) for index in range(count)]
            for instance in launched:
                self._request_for(instance)
                self._power_on(instance)
            return launched

    def _create(self, account: str, region: str, spec: LaunchSpec, reservation: str, index: int, origin: Json) -> Instance:
        instance = Instance(
            id=f"i-{_hex()}",
            account=account,
            region=region,
            reservation_id=reservation,
            index=index,
            spec=spec,
            private_ip=self._address(spec),
            launched=self._second(),
            tags=dict(spec.tags),
            **origin,
        )
        self.instances[instance.id] = instance
        return instance

    def _address(self, spec: LaunchSpec) -> str:
        """Return a free address of the subnet; AWS keeps the first four and the last."""
        taken = {i.private_ip for i in self.instances.values() if i.state != "terminated"}
        network = ipaddress.ip_network(spec.subnet.cidr)
        for _ in range(1000):
            address = str(network[random.randrange(4, network.num_addresses - 1)])
            if address not in taken:
                return address
        text = f"There are not enough free addresses in subnet '{spec.subnet.id}' to satisfy the requested number of instances."
        raise ApiError("InsufficientFreeAddressesInSubnet", text)

    def _request_for(self, instance: Instance) -> None:
        """Give a Spot Instance its request, unless it was launched for one."""
        if instance.spec.spot is None:
            return
        request = SpotRequest(f"sir-{_hex(8)}", instance.spec, self._second())
        self.requests[request.id] = request
        self._where[request.id] = (instance.account, instance.region)
        self._fulfil(request, instance)

    def _fulfil(self, request: SpotRequest, instance: Instance) -> None:
        instance.spot_request_id = request.id
        request.instance_id = instance.id
        request.turn("active", "fulfilled", self._second())
        self.ports.emit(events.spot_request_fulfilled(self._place(instance), self.ports.now(), request.id))

    def _power_on(self, instance: Instance) -> None:
        """Start the machine of a new or stopped instance."""
        self._turn(instance, "pending")
        instance.booted = False
        boot = min(PENDING_SECONDS, self.boot_seconds / 4)
        self.ports.after(self.ports.scaled(boot), lambda: self._running(instance))
        self.ports.background(lambda: self._start_machine(instance))

    def _running(self, instance: Instance) -> None:
        with self.lock:
            if instance.state == "pending":
                self._turn(instance, "running")

    def _start_machine(self, instance: Instance) -> None:
        """Start the process, outside the lock since it takes a while."""
        config = self._configuration(instance)
        credentials = self.ports.credentials(instance)
        if credentials is not None and instance.spec.profile and instance.spec.role_arn:
            role = instance.spec.role_arn.rpartition("/")[2]
            config["metadata"] |= ec2_metadata.role_entries(instance.spec.profile, role, credentials, self.ports.now())
        with self.lock:
            if instance.state not in ALIVE:
                self._ended(instance)
                return
            machine: list[Computer] = []
            machine.append(self.ports.start(config, lambda fact: self._heard(instance, fact), lambda: self._machine_ended(instance, machine)))
            self._machines[instance.id] = machine[0]

    def _configuration(self, instance: Instance) -> Json:
        root = self.ports.directory / "instances" / instance.id
        options = instance.spec.metadata_options
        return {
            "id": instance.id,
            "root": str(root),
            "mark": instance.id,
            "boot_seconds": self.ports.scaled(self.boot_seconds),
            "user_data": instance.spec.user_data,
            "metadata": ec2_metadata.entries(instance),
            "tokens_required": options.get("HttpTokens") == "required",
            "endpoint_enabled": options.get("HttpEndpoint", "enabled") == "enabled",
            "environment": self._environment(root),
        }

    def _environment(self, root: Path) -> dict[str, str]:
        """Return what root's environment is on the instance; nothing of the emulator's own gets in."""
        return self.ports.environment | {
            "PATH": f"{root}/usr/sbin:{self.ports.path}:/usr/local/bin:/usr/bin:/bin",
            "HOME": f"{root}/root",
            "TMPDIR": str(root / "tmp"),
            "LANG": "C.UTF-8",
            "SPOT_RESPONDER_CONFIG_DIR": f"{root}/etc/spot-responder",
            "SPOT_RESPONDER_HOME": f"{root}/opt/spot-responder",
            "SPOT_RESPONDER_STATE_DIR": f"{root}/run/spot-responder",
        }

    # What machines say

    def _heard(self, instance: Instance, fact: Json) -> None:
        with self.lock:
            match fact["say"]:
                case "listening":
                    instance.imds_port = fact["port"]
                case "booted":
                    instance.booted = True
                    # Without an instance profile the agent has no rights to register.
                    instance.registered |= instance.spec.profile is not None
                    self._announce(instance)
                case "poweroff" if instance.state in ALIVE:
                    self._end(instance, self._own_ending(instance))
        for listener in self.listeners:
            listener(instance, fact)

    def _own_ending(self, instance: Instance) -> Ending:
        """How an instance ends that shuts itself down; a one-time Spot request has nothing to start it again."""
        one_time = instance.spec.spot is not None and instance.spec.spot.kind == "one-time"
        return POWERED_OFF if one_time or instance.spec.shutdown_behavior == "terminate" else STOPPED_ITSELF

    def _machine_ended(self, instance: Instance, machine: list[Computer]) -> None:
        with self.lock:
            if machine and self._machines.get(instance.id) is not machine[0]:
                return
            self._machines.pop(instance.id, None)
            if plug := self._plugs.pop(instance.id, None):
                plug.cancel()
            if instance.state in ALIVE:
                self._end(instance, CRASHED)
            self._ended(instance)

    # The end

    def terminate(self, instances: Iterable[Instance], ending: Ending = TERMINATED_BY_USER) -> None:
        """End instances for good; those that have ended already stay as they are."""
        with self.lock:
            for instance in instances:
                if instance.state not in {"terminated", "shutting-down"}:
                    self._end(instance, ending)

    def stop(self, instances: Iterable[Instance], ending: Ending = STOPPED_BY_USER) -> None:
        """Stop instances; raise ApiError for those that cannot be stopped."""
        with self.lock:
            chosen = list(instances)
            for instance in chosen:
                _check_stop(instance)
            for instance in chosen:
                if instance.state in ALIVE:
                    self._end(instance, ending)

    def start(self, instances: Iterable[Instance]) -> None:
        """Start stopped instances again; raise ApiError for those in another state."""
        with self.lock:
            chosen = list(instances)
            for instance in chosen:
                _check_start(instance)
            for instance in chosen:
                if instance.state == "stopped":
                    self._start_again(instance)

    def _start_again(self, instance: Instance) -> None:
        instance.state_reason, instance.transition_reason, instance.warned = None, "", None
        instance.launched = self._second()
        if instance.spot_request_id:
            self.requests[instance.spot_request_id].turn("active", "fulfilled", self._second())
        self._power_on(instance)

    def reboot(self, instances: Iterable[Instance]) -> None:
        """Restart the machines of running instances; their state does not change."""
        with self.lock:
            for instance in [i for i in instances if i.state == "running"]:
                machine = self._machines.pop(instance.id, None)
                if machine:
                    machine.destroy()
                instance.booted = False
                self.ports.background(partial(self._start_machine, instance))

    def _end(self, instance: Instance, ending: Ending) -> None:
        """Begin the end: the state on the way, the reasons, and the machine told to go down."""
        was_stopped = instance.state == "stopped"
        self._endings[instance.id] = ending
        self._cancel_interruption(instance.id)
        instance.state_reason = ending.reason
        at = self.ports.now().strftime("%Y-%m-%d %H:%M:%S GMT")
        instance.transition_reason = f"{ending.note} ({at})" if ending.by_user else ending.note
        self._turn(instance, "stopping" if ending.to == "stopped" else "shutting-down")
        self._turn_request(instance, ending)
        if was_stopped or instance.id not in self._machines:
            self._ended(instance)
        else:
            self._shut_down(instance)

    def _shut_down(self, instance: Instance) -> None:
        machine = self._machines[instance.id]
        grace = self.ports.scaled(SHUTDOWN_SECONDS)
        machine.order("shutdown", grace=grace)
        # The machine ends itself after the grace; this is for one that does not even hear.
        self._plugs[instance.id] = self.ports.after(grace + 5, machine.destroy)

    def _ended(self, instance: Instance) -> None:
        """Reach the last state once the machine is gone."""
        ending = self._endings.pop(instance.id, None)
        if ending is None:
            return
        instance.booted = False
        if ending.to == "terminated":
            instance.ended = self.ports.now()
        self._turn(instance, ending.to)

    def _turn(self, instance: Instance, state: str) -> None:
        """Go into a state and say so."""
        instance.state = state
        if instance.id in self.instances:
            self.ports.emit(events.instance_state(self._place(instance), self.ports.now(), state))
        self._announce(instance)

    def _announce(self, instance: Instance) -> None:
        """Let everybody know who follows what becomes of instances."""
        for watcher in self.watchers:
            watcher(instance)

    def _turn_request(self, instance: Instance, ending: Ending) -> None:
        request = self.requests.get(instance.spot_request_id or "")
        if request is None:
            return
        state = "cancelled" if request.state == "cancelled" else ending.spot_state
        request.turn(state, ending.spot_status, self._second())
        reopens = request.options.kind == "persistent" and ending.to == "terminated" and state != "cancelled"
        if reopens:
            request.turn("open", ending.spot_status, self._second())
            self._evaluate_later(request)

    # Spot requests of their own

    def request_spot(self, account: str, region: str, spec: LaunchSpec, tags: dict[str, str]) -> SpotRequest:
        """Open a Spot request (RequestSpotInstances); it is fulfilled when there is capacity."""
        with self.lock:
            request = SpotRequest(f"sir-{_hex(8)}", spec, self._second(), tags=tags)
            self.requests[request.id] = request
            self._where[request.id] = (account, region)
            self._evaluate_later(request)
            return request

    def _evaluate_later(self, request: SpotRequest) -> None:
        self.ports.after(self.ports.scaled(EVALUATION_SECONDS), lambda: self._evaluate(request))

    def _evaluate(self, request: SpotRequest) -> None:
        with self.lock:
            if request.state != "open":
                return
            if not self.capacity.take("spot", request.spec.pool, 1):
                request.turn("open", "capacity-not-available", self._second())
                self._evaluate_later(request)
                return
            account, region = self._where[request.id]
            instance = self._create(account, region, request.spec, f"r-{_hex()}", 0, {})
            self._fulfil(request, instance)
            self._power_on(instance)

    def cancel_request(self, request: SpotRequest) -> None:
        """Cancel a request; its instance goes on running."""
        with self.lock:
            if request.state == "open":
                request.turn("cancelled", "canceled-before-fulfillment", self._second())
            elif request.state == "active":
                request.turn("cancelled", "request-canceled-and-instance-running", self._second())
            else:
                request.turn("cancelled", request.status, self._second())

    # Interruption

    def warn(self, instance: Instance, action: str, *, copies: int = 1, experiment: bool = False) -> None:
        """Give the two minutes' notice, `copies` times the same event, and end the instance after them.

        Hibernation begins at once. A second warning for the same instance changes nothing but repeats the event.
        """
        with self.lock:
            end = self._second() + timedelta(seconds=self.ports.scaled(WARNING_SECONDS))
            event = events.interruption_warning(self._place(instance), self._second(), action)
            for _ in range(copies):
                self.ports.emit(event)
            if instance.warned is not None or instance.state not in ALIVE:
                return
            instance.warned = action
            self._show(instance, ec2_metadata.warning_entries(action, end))
            self._mark_request(instance, action, experiment=experiment)
            delay = 0.0 if action == "hibernate" else self.ports.scaled(WARNING_SECONDS)
            ending = interruption(action, experiment=experiment)
            self._interruptions[instance.id] = self.ports.after(delay, lambda: self._interrupt(instance, ending))

    def warn_unknown(self, account: str, region: str, instance_id: str, action: str, copies: int) -> None:
        """Emit the warning of an instance that EC2 does not know (any more)."""
        event = events.interruption_warning(Place(account, region, "", instance_id), self._second(), action)
        for _ in range(copies):
            self.ports.emit(event)

    def recommend_rebalance(self, instance: Instance) -> None:
        """Recommend to rebalance: the event and the metadata."""
        with self.lock:
            self._show(instance, ec2_metadata.rebalance_entries(self.ports.now()))
            self.ports.emit(events.rebalance_recommendation(self._place(instance), self._second()))

    def _mark_request(self, instance: Instance, action: str, *, experiment: bool) -> None:
        request = self.requests.get(instance.spot_request_id or "")
        if request is not None:
            mark = "marked-for-termination" if action == "terminate" else "marked-for-stop"
            request.turn(request.state, f"{mark}-by-experiment" if experiment else mark, self._second())

    def _interrupt(self, instance: Instance, ending: Ending) -> None:
        with self.lock:
            if instance.state in ALIVE:
                self._end(instance, ending)

    def _cancel_interruption(self, instance_id: str) -> None:
        timer = self._interruptions.pop(instance_id, None)
        if timer:
            timer.cancel()

    # Everything else

    def forget(self, instance: Instance) -> None:
        """Let EC2 no longer know the instance, as long after its end; its process ends silently."""
        with self.lock:
            self.instances.pop(instance.id, None)
            self._cancel_interruption(instance.id)
            machine = self._machines.pop(instance.id, None)
            instance.state = "terminated"
            if machine:
                machine.destroy()
            self._announce(instance)

    def set_agent(self, instance: Instance, *, online: bool) -> None:
        """Cut the instance's SSM agent off, or bring it back."""
        with self.lock:
            instance.agent_online = online
            self._announce(instance)

    def tag(self, instance: Instance, tags: dict[str, str], removed: Iterable[str] = ()) -> None:
        """Set and remove tags, also in the instance's metadata where it shows them."""
        with self.lock:
            before = dict(instance.tags)
            instance.tags = {key: value for key, value in (before | tags).items() if key not in set(removed)}
            self._show(instance, ec2_metadata.tag_changes(instance, before))

    def order(self, instance: Instance, do: str, **details: Any) -> bool:
        """Pass an order on to the instance's machine; tell whether there is one."""
        with self.lock:
            machine = self._machines.get(instance.id)
        if machine is None:
            return False
        machine.order(do, **details)
        return True

    def console(self, instance: Instance) -> str:
        """Return what the instance has written to its console: the output of its user data."""
        log = self.ports.directory / "instances" / instance.id / "var/log/cloud-init-output.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def shut_down(self) -> None:
        """Pull every plug, at the end of the sandbox."""
        with self.lock:
            for instance_id, machine in list(self._machines.items()):
                del self._machines[instance_id]
                machine.destroy()

    def _show(self, instance: Instance, changes: dict[str, str | None]) -> None:
        if changes:
            self.order(instance, "metadata", set=changes)

    def _place(self, instance: Instance) -> Place:
        return Place(instance.account, instance.region, instance.zone, instance.id)

    def _second(self) -> datetime:
        """Return the time as AWS's APIs and events show it, in whole seconds."""
        return self.ports.now().replace(microsecond=0)


def _check_stop(instance: Instance) -> None:
    if instance.spec.spot is not None and instance.spec.spot.kind == "one-time":
        text = (
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance request. "
            "You can only stop Spot Instances associated with persistent Spot Instance requests."
        )
        raise ApiError("UnsupportedOperation", text)
    if instance.state in {"terminated", "shutting-down"}:
        raise ApiError("IncorrectInstanceState", f"This instance '{instance.id}' is not in a state from which it can be stopped.")


def _check_start(instance: Instance) -> None:
    if instance.state not in {"stopped", "pending", "running"}:
        text = f"The instance '{instance.id}' is not in a state from which it can be started."
        raise ApiError("IncorrectInstanceState", text)
