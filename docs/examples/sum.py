"""A Python program that saves itself: adds up the numbers below SUM_TO. Its state is one JSON file; see docs/job-contract.md."""

import json
import os
import signal
import sys
from pathlib import Path

STATE = Path(os.environ["SPOT_CHECKPOINT_DIR"]) / "sum.json"
TOTAL = int(os.environ.get("SUM_TO", "10000000"))
REPORT_EVERY = 100_000
asked = []


def write(file, text):
    """Write a file whole or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_text(text)
    part.replace(file)


def save(state):
    """Save the state, then say so and how much it holds."""
    write(STATE, json.dumps(state))
    write(Path(os.environ["SPOT_SAVED_FILE"]), str(100 * state["next"] / TOTAL))


def main():
    """Add up; save when asked, between two numbers."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {"next": 0, "sum": 0}
    # The handlers only take note. They are there before the agent is told that it may send signals.
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: asked.append(number))
    write(Path(os.environ["SPOT_READY_FILE"]), str(os.getpid()))
    while state["next"] < TOTAL:
        state["sum"] += state["next"]
        state["next"] += 1
        if state["next"] % REPORT_EVERY == 0:
            write(Path(os.environ["SPOT_PROGRESS_FILE"]), str(100 * state["next"] / TOTAL))
        if asked:
            save(state)
            if signal.SIGTERM in asked:
                return 143
            asked.clear()
    save(state)
    return 0


sys.exit(main())
