"""Inspection of the sandbox over HTTP, under ``/_sandbox/``."""

from typing import Any

from rolo import Request, Response, route
from rolo.routing import Router

from spot_sandbox.calls import call_log
from spot_sandbox.settings import change_time_scale, settings


def register(router: Router[Any]) -> None:
    """Add the routes to LocalStack's router."""
    router.add([show_settings, change_settings, show_calls, forget_calls])


@route("/_sandbox/settings", methods=["GET"])
def show_settings(_request: Request) -> Response:
    """Answer the sandbox's settings: ``{"directory", "time_scale", "boot_seconds"}``."""
    current = settings()
    return Response.for_json(
        {
            "directory": str(current.directory),
            "time_scale": current.time_scale,
            "boot_seconds": current.boot_seconds,
        }
    )


@route("/_sandbox/settings", methods=["POST"])
def change_settings(request: Request) -> Response:
    """Let time run at another pace: ``{"time_scale": 0.1}``; answer the settings as they are then."""
    try:
        change_time_scale(float(request.get_json(force=True)["time_scale"]))
    except (ValueError, KeyError, TypeError):
        return Response.for_json({"error": "time_scale must be a number of 0 or more"}, status=400)
    return show_settings(request)


@route("/_sandbox/calls", methods=["GET"])
def show_calls(request: Request) -> Response:
    """Answer the AWS API calls, oldest first; ``?since=<epoch seconds>`` leaves out the earlier ones."""
    try:
        since = float(request.args.get("since", "0"))
    except ValueError:
        return Response.for_json({"error": "since must be a number of seconds since 1970"}, status=400)
    return Response.for_json(call_log().since(since))


@route("/_sandbox/calls", methods=["DELETE"])
def forget_calls(_request: Request) -> Response:
    """Forget the calls so far."""
    call_log().clear()
    return Response(status=204)
