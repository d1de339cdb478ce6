"""The way from a container to the sandbox: what `sam local invoke` needs.

The sandbox listens on 127.0.0.1, which inside a container is the container itself. This relay listens on the address that
this machine has on Docker's own bridge, under the sandbox's port, and passes connections on; those that do not come
from that bridge's network are closed. In a container the machine bears the name ``host.docker.internal``
(``--add-host`` in samconfig.toml). Docker Desktop leads that name to 127.0.0.1 by itself and needs no relay.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.control import REPOSITORY, SandboxError, State, running
from sandbox.environment import RUN_VARIABLE
from sandbox.waiting import wait_for

NAME = "host.docker.internal"
START_SECONDS = 10.0
CHUNK = 65536


@dataclass(frozen=True)
class Bridge:
    """Docker's bridge: this machine's address on it, and its network."""

    address: str
    network: str


def find_bridge() -> Bridge:
    """Ask Docker for its bridge; raise `SandboxError` where it does not answer."""
    try:
        shown = subprocess.run(["docker", "network", "inspect", "bridge"], check=True, capture_output=True, text=True)  # noqa: S607  found on the PATH
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise SandboxError(f"Docker does not answer: {detail.strip()}") from error
    config = json.loads(shown.stdout)[0]["IPAM"]["Config"][0]
    network = ipaddress.ip_network(config["Subnet"])
    return Bridge(config.get("Gateway") or str(network[1]), str(network))


def open_to_containers(directory: Path) -> str:
    """Let containers reach the sandbox of `directory`, until it stops; return the endpoint that they have to use."""
    state = running(directory)
    if state is None:
        raise SandboxError("The sandbox is not running; start it with `python -m sandbox start`.")
    bridge = find_bridge()
    if _is_ours(bridge.address) and not _answers(bridge, state):
        _start(bridge, state, directory)
    return f"http://{NAME}:{state.port}"


def _is_ours(address: str) -> bool:
    """Whether the address is one of this machine's; Docker Desktop's bridge is in a machine of its own."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _answers(bridge: Bridge, state: State) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((bridge.address, state.port), timeout=1):
        return True
    return False


def _start(bridge: Bridge, state: State, directory: Path) -> None:
    """Start the relay as a process of the sandbox's run: `stop` ends it with the others."""
    with (directory / "relay.log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "sandbox.relay", bridge.address, bridge.network, str(state.port)],
            cwd=REPOSITORY, env={**os.environ, RUN_VARIABLE: state.run}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    wait_for(lambda: _answers(bridge, state), START_SECONDS, f"the start of the relay on {bridge.address}:{state.port}")


async def relay(bridge: Bridge, port: int) -> None:
    """Pass connections from the bridge's network on to the sandbox, for ever."""
    network = ipaddress.ip_network(bridge.network)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = ipaddress.ip_address(writer.get_extra_info("peername")[0])
        if peer not in network:
            writer.close()
            return
        await _join(reader, writer, port)

    server = await asyncio.start_server(serve, bridge.address, port)
    await server.serve_forever()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until the one side ends or the other is gone."""
    with contextlib.suppress(ConnectionError):  # a client that goes away is an end like any other
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(relay(Bridge(sys.argv[1], sys.argv[2]), int(sys.argv[3])))
