"""Inspection of the sandbox over HTTP, under ``/_sandbox/``."""

from rolo.routing import Router


def register(router: Router) -> None:
    """Add the routes to LocalStack's router."""
