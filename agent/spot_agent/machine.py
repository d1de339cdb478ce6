"""The instance's power switch."""

from __future__ import annotations

import subprocess


class Machine:
    """`spot_agent.ports.Machine`.

    Under systemd the agent has no right to shut the machine down: its unit does so after the agent has ended with exit status 0
    (``ExecStopPost``). Elsewhere the agent calls ``shutdown`` itself. The instance's shutdown behaviour is ``terminate``.
    """

    def __init__(self, *, is_supervised: bool) -> None:
        self._is_supervised = is_supervised

    def stop(self) -> None:
        """Shut the machine down now; raise OSError or CalledProcessError where that is not permitted."""
        if not self._is_supervised:
            subprocess.run(["shutdown", "-h", "now"], check=True)  # noqa: S607  # wherever the distribution has it
