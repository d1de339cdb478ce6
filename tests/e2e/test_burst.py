"""Ten interruptions at once: how long from the event to the command, functions warm."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.deployment import PLAIN, unknown_id, warning

if TYPE_CHECKING:
    from tests.e2e.deployment import Deployed

INSTANCES = 10
GOAL_SECONDS = 5.0
NOISE = 2.0
"""The machines of a CI service share their cores and stall for seconds. The goal is what is reported; twice the goal is a fault."""


def test_seconds_to_command(deployed: Deployed) -> None:
    """Ten at once are all asked within the goal of 5 s, in at most two describes and two commands; the figure is reported."""
    _warm(deployed)
    instance_ids = [one.instance_id for one in deployed.take(PLAIN, INSTANCES)]
    story, began = deployed.story(), time.time()
    deployed.remote.interrupt(instance_ids)
    story.wait(lambda told: len(told.find(event="checkpoint_asked")) >= INSTANCES, 60, "ten commands")
    seconds = sorted(line.fields["seconds_since_event"] for line in story.find(event="checkpoint_asked"))
    describes, commands = (len(deployed.calls(began, name)) for name in ("ec2:DescribeInstances", "ssm:SendCommand"))
    _report({"instances": INSTANCES, "median": seconds[INSTANCES // 2], "worst": seconds[-1], "describes": describes, "commands": commands})
    assert (describes <= 2, commands <= 2) == (True, True), (describes, commands)
    assert seconds[-1] < GOAL_SECONDS * NOISE


def _warm(deployed: Deployed) -> None:
    """Run notices of the same number through the functions that lead to no call of EC2 or SSM."""
    story = deployed.story()
    deployed.put(*(warning(unknown_id(), "hibernate") for _ in range(INSTANCES)))
    story.wait(lambda told: len(told.find(event="notice_closed")) >= INSTANCES, 60, "warm functions")


def _report(figures: dict[str, float]) -> None:
    """Print the figures and keep them in ``out/e2e.json``."""
    print("event to command, seconds:", figures)  # noqa: T201  shown by `pytest -s` and `-rP`
    out = Path("out")
    out.mkdir(exist_ok=True)
    (out / "e2e.json").write_text(json.dumps({"event_to_command_seconds": figures}, indent=2) + "\n")
