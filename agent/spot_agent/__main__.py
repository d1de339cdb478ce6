"""``python3 -m spot_agent``: be the agent of this instance until its attempt has ended.

Exit status 0: the attempt has ended and the instance is to be stopped. 143: ended from outside. Anything else: something that nobody
expected; the service starts the agent again.
"""

from __future__ import annotations

import os
import sys

from spot_agent.errors import Misconfigured
from spot_agent.settings import Settings
from spot_agent.wiring import Waiter, build, locked

MISCONFIGURED = 78
ENDED_FROM_OUTSIDE = 143


def main() -> int:
    """Run, and return the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        lock = locked(settings.state)
        waiter = Waiter()
        agent = build(settings, waiter)
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return MISCONFIGURED
    with lock:
        waiter.catch_signals(agent)
        while not agent.is_over:
            waiter.wait(agent.turn())
    return ENDED_FROM_OUTSIDE if agent.known.is_shutting_down else 0


if __name__ == "__main__":
    sys.exit(main())
