"""Control of the instances over HTTP, under ``/_sandbox/``: what no caller of AWS can do.

All bodies are JSON objects; ``account`` and ``region`` may be given beside the rest. A wrong one is answered with status
400 and a sentence under ``error``.
"""

import json
from collections.abc import Callable
from typing import Any

from localstack.constants import DEFAULT_AWS_ACCOUNT_ID
from localstack.http import Request, Response
from rolo.routing import Router

from spot_sandbox import faults
from spot_sandbox.ec2_instances import Instance
from spot_sandbox.wiring import lifecycle

type Json = dict[str, Any]
type Control = Callable[[Json], Json]

DEFAULT_REGION = "us-east-1"
ACTIONS = ("terminate", "stop", "hibernate")


def register(router: Router) -> None:
    """Add the routes to LocalStack's router, and the faults that can be switched on to its gateway."""
    controls: dict[str, Control] = {
        "/_sandbox/ec2/interrupt": interrupt,
        "/_sandbox/ec2/rebalance": rebalance,
        "/_sandbox/ec2/forget": forget,
        "/_sandbox/ec2/capacity": capacity,
        "/_sandbox/ec2/boot": boot,
        "/_sandbox/ssm/offline": lambda body: agent(body, online=False),
        "/_sandbox/ssm/online": lambda body: agent(body, online=True),
        "/_sandbox/faults": faults.switch_on,
    }
    for path, control in controls.items():
        router.add(path, endpoint=_endpoint(control), methods=["POST"])
    router.add("/_sandbox/faults", endpoint=lambda request, **_: _answer(faults.clear(request.args.get("session"))), methods=["DELETE"])
    router.add("/_sandbox/faults", endpoint=lambda _request, **_: _answer(faults.show()), methods=["GET"])
    faults.install()


def shutdown() -> None:
    """End every instance's process."""
    lifecycle().shut_down()


def _endpoint(control: Control) -> Callable[..., Response]:
    def serve(request: Request, **_: Any) -> Response:
        try:
            body = json.loads(request.get_data() or b"{}")
            return _answer(control(body))
        except (ValueError, KeyError, TypeError) as error:
            sentence = f"missing key {error}" if isinstance(error, KeyError) else str(error)
            return _answer({"error": sentence}, status=400)

    return serve


def _answer(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, mimetype="application/json")


def _instances(body: Json) -> tuple[list[Instance], list[str]]:
    """Return the instances that a body names, and the ids that EC2 does not know."""
    known = {instance.id: instance for instance in lifecycle().of(*_where(body))}
    ids = body["instanceIds"]
    return [known[i] for i in ids if i in known], [i for i in ids if i not in known]


def _where(body: Json) -> tuple[str, str]:
    return body.get("account", DEFAULT_AWS_ACCOUNT_ID), body.get("region", DEFAULT_REGION)


def interrupt(body: Json) -> Json:
    """Warn Spot Instances and end them two minutes later.

    ``{"instanceIds": [..], "action": "terminate|stop|hibernate", "copies": 1}``; without an action each instance's own.
    An id that EC2 does not know gets its event all the same: that is how a vanished instance is shown.
    """
    action = body.get("action")
    if action is not None and action not in ACTIONS:
        raise ValueError(f"action must be one of {', '.join(ACTIONS)}, not {action!r}")
    known, unknown = _instances(body)
    on_demand = [instance.id for instance in known if instance.spec.spot is None]
    if on_demand:
        raise ValueError(f"only Spot Instances are interrupted, and these are not: {', '.join(on_demand)}")
    copies = int(body.get("copies", 1))
    for instance in known:
        own = instance.spec.spot.interruption_behavior if instance.spec.spot else "terminate"
        lifecycle().warn(instance, action or own, copies=copies)
    for instance_id in unknown:
        lifecycle().warn_unknown(*_where(body), instance_id, action or "terminate", copies)
    return {"warned": [instance.id for instance in known], "unknown": unknown}


def rebalance(body: Json) -> Json:
    """Recommend a rebalance for instances: ``{"instanceIds": [..]}``."""
    known, unknown = _instances(body)
    for instance in known:
        lifecycle().recommend_rebalance(instance)
    return {"recommended": [instance.id for instance in known], "unknown": unknown}


def forget(body: Json) -> Json:
    """Let EC2 no longer know instances, as long after their end: ``{"instanceIds": [..]}``."""
    known, unknown = _instances(body)
    for instance in known:
        lifecycle().forget(instance)
    return {"forgotten": [instance.id for instance in known], "unknown": unknown}


def capacity(body: Json) -> Json:
    """Make capacity scarce: ``{"pools": {"m5.large:us-east-1a": 0, "*": null}, "market": "spot"}``; null is plenty."""
    pools = body["pools"]
    for pool, left in pools.items():
        if left is not None and (not isinstance(left, int) or left < 0):
            raise ValueError(f"the capacity of {pool} must be a number of 0 or more, or null, not {left!r}")
    lifecycle().capacity.limit(body.get("market", "spot"), pools)
    return {"pools": pools}


def boot(body: Json) -> Json:
    """Set how many seconds of true time instances take to boot that are launched from now on: ``{"seconds": 40}``."""
    seconds = float(body["seconds"])
    if seconds < 0:
        raise ValueError(f"seconds must be 0 or more, not {seconds}")
    lifecycle().boot_seconds = seconds
    return {"seconds": seconds}


def agent(body: Json, *, online: bool) -> Json:
    """Cut the SSM agents of instances off, or bring them back: ``{"instanceIds": [..]}``."""
    known, unknown = _instances(body)
    for instance in known:
        lifecycle().set_agent(instance, online=online)
    return {"online" if online else "offline": [instance.id for instance in known], "unknown": unknown}
