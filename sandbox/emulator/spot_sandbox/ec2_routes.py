"""Control of the instances over HTTP, under ``/_sandbox/ec2/``. None so far."""

from rolo.routing import Router


def register(router: Router) -> None:
    """Add the routes to LocalStack's router."""


def shutdown() -> None:
    """End every instance's process."""
