"""The log: one JSON line for each thing that happened, on standard output, which the journal keeps."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from spot_agent.knowledge import Me


class StoryLog:
    """`spot_agent.ports.Story`. Every line has time, level, event, message and who wrote it; further facts come behind."""

    def __init__(self, me: Me, stream: TextIO = sys.stdout) -> None:
        self._who = {"job_id": me.job_id, "attempt": me.attempt, "instance_id": me.instance_id}
        self._stream = stream

    def tell(self, event: str, message: str, **facts: object) -> None:
        """Write one line; ``trouble=True`` makes it a warning."""
        level = "WARNING" if facts.pop("trouble", False) else "INFO"
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"timestamp": time, "level": level, "event": event, "message": message, **self._who, **facts}
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()
