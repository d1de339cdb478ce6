"""Inspection of the sandbox over HTTP, under ``/_sandbox/``."""

from rolo import Request, Response, route
from rolo.routing import Router

from spot_sandbox.settings import settings


def register(router: Router) -> None:  # type: ignore[type-arg]
    """Add the routes to LocalStack's router."""
    router.add(show_settings)


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
