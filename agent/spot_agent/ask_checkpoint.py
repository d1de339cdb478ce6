"""What the hook ``50-spot-agent`` runs: ask the agent on this instance for a checkpoint and wait until it is durable.

The SSM document tells of the notice in SPOT_RESPONDER_KIND, SPOT_RESPONDER_ACTION and SPOT_RESPONDER_DEADLINE (ISO 8601, UTC).
Exit status: 0 saved, 1 not saved, 69 no agent there, 75 no answer before the deadline; one sentence on standard error says why.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from spot_agent.requests import LINE_BYTES, connected

if TYPE_CHECKING:
    from collections.abc import Mapping

SAVED, NOT_SAVED, NO_AGENT, NO_ANSWER = 0, 1, os.EX_UNAVAILABLE, os.EX_TEMPFAIL
MARGIN_SECONDS = 1.0
"""Kept back, so that the reason is still heard."""
PATIENCE_SECONDS = 600.0
"""How long to wait where no deadline is given."""


def main(environment: Mapping[str, str]) -> int:
    """Ask, and return the exit status."""
    deadline = _deadline(environment.get("SPOT_RESPONDER_DEADLINE"))
    question = {
        "kind": environment.get("SPOT_RESPONDER_KIND", "request"),
        "action": environment.get("SPOT_RESPONDER_ACTION", "none"),
        "deadline": deadline,
    }
    folder = Path(environment.get("SPOT_RESPONDER_STATE_DIR", "/run/spot-responder")) / "agent"
    patience = PATIENCE_SECONDS if deadline is None else max(deadline - MARGIN_SECONDS - time.time(), 0.1)
    status, text = ask(folder, question, patience)
    (sys.stdout if status == SAVED else sys.stderr).write(text + "\n")
    return status


def ask(folder: Path, question: Mapping[str, object], patience: float) -> tuple[int, str]:
    """Ask the agent whose socket is in ``folder``; wait ``patience`` seconds for its answer."""
    try:
        with connected(folder, patience) as connection:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LINE_BYTES)
    except TimeoutError:
        return NO_ANSWER, "the agent did not save a checkpoint before the deadline"
    except OSError as error:
        if isinstance(error.__cause__, TimeoutError) or str(error) == "timed out":
            return NO_ANSWER, "the agent did not save a checkpoint before the deadline"
        return NO_AGENT, f"no agent answers in {folder}: {error}"
    if not line:
        return NOT_SAVED, "the agent ended before the checkpoint was saved"
    answer = json.loads(line)
    return (SAVED if answer["saved"] else NOT_SAVED), str(answer["text"])


def _deadline(text: str | None) -> float | None:
    if not text:
        return None
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()


if __name__ == "__main__":
    sys.exit(main(os.environ))
