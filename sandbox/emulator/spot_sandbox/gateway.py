"""Who can reach the emulator: this machine alone.

LocalStack's server listens on every address, whatever ``GATEWAY_LISTEN`` says of the host (``TwistedRuntimeServer.register``). What
may call the emulator may run programs here.
"""

from typing import Any

from twisted.internet import endpoints

LOOPBACK = "127.0.0.1"


class InsideEndpoint(endpoints.TCP4ServerEndpoint):
    """A server's endpoint that is on the loopback address unless another is named."""

    def __init__(self, reactor: Any, port: int, backlog: int = 50, interface: str = LOOPBACK) -> None:
        super().__init__(reactor, port, backlog, interface)


def stay_inside() -> None:
    """Let servers be made so; to be called before the gateway's is."""
    endpoints.TCP4ServerEndpoint = InsideEndpoint
