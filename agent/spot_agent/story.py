"""The log: one JSON line for each thing that happened, on standard output, which the journal keeps.

The journal ends with the instance. So the latest warnings are kept for the attempt's record, too.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from spot_agent.knowledge import Me


KEPT_TROUBLES = 10
TROUBLE_CHARACTERS = 300


class StoryLog:
    """`spot_agent.ports.Story`. Every line has time, level, event, message and who wrote it; further facts come behind."""

    def __init__(self, me: Me, stream: TextIO = sys.stdout) -> None:
        self._who = {"job_id": me.job_id, "attempt": me.attempt, "instance_id": me.instance_id}
        self._stream = stream
        self._troubles: deque[str] = deque(maxlen=KEPT_TROUBLES)

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Write one line; ``trouble=True`` makes it a warning."""
        is_trouble = facts.pop("trouble", False)
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if is_trouble:
            self._troubles.append(f"{time} {message}"[:TROUBLE_CHARACTERS])
        line = {"timestamp": time, "level": "WARNING" if is_trouble else "INFO", "event": event, "message": message, **self._who, **facts}
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()

    def troubles(self) -> str:
        """Return the latest warnings, one a line, of at most some 3,000 characters."""
        return "\n".join(self._troubles)
