"""A long stream of notices through the sandbox: all recorded, all answered, and no function that grows (``make soak``)."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.deployment import PLAIN, REBALANCE, event, unknown_id, warning

if TYPE_CHECKING:
    from sandbox.story import Story
    from tests.e2e.deployment import Deployed

NOTICES = 2_000
WAVE = 50
INSTANCES = 25
"""How many instances are asked for a checkpoint in each wave; the rest of a wave is of instances that are gone."""
WARM = 8
"""Waves after which a function's memory may not grow any more."""
ENTRIES = 10
"""Entries of one PutEvents."""
GROWTH = 1.05
ENDED = "EC2 Instance State-change Notification"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_thousand_notices(deployed: Deployed) -> None:
    """Each of 2,000 notices is recorded and answered once, and the memory of every function is flat over all waves but the first few."""
    instance_ids = [one.instance_id for one in deployed.take(PLAIN, INSTANCES)]
    story, began = deployed.story(), time.time()
    sizes: list[dict[str, int]] = []
    gone: list[str] = []
    for wave in range(NOTICES // WAVE):
        # A recommendation of its own for each instance and wave: the time is part of a notice's key.
        again = [event(REBALANCE, instance_id=each) for each in instance_ids]
        # EC2 says so of those that were gone in the wave before: their notices are closed already.
        ended = [event(ENDED, instance_id=each, state="terminated") for each in gone]
        gone = [unknown_id() for _ in range(WAVE - INSTANCES)]
        for some in batched([*again, *map(warning, gone), *ended], ENTRIES, strict=False):
            deployed.put(*some)
        due = (wave + 1) * WAVE
        story.wait(partial(_has, due, "notice_closed"), 120, f"{due} answers")
        story.wait(partial(_has, wave * (WAVE - INSTANCES), "instance_gone"), 120, "The word of each instance's end")
        sizes.append(_resident(deployed))
        print(f"{due} notices after {time.time() - began:.0f} s: {sizes[-1]} MB")  # noqa: T201  shown by `pytest -s`: it takes minutes
        _await_another_second(again[0]["Time"])
    outcomes = Counter(line.fields["outcome"] for line in story.find(event="notice_closed"))
    _report({"notices": NOTICES, "seconds": round(time.time() - began), "outcomes": outcomes, "warm_mb": sizes[WARM], "end_mb": sizes[-1]})
    assert len(story.find(event="notice_received")) == len(story.find(event="notice_closed")) == NOTICES
    assert outcomes == {"saved": NOTICES * INSTANCES // WAVE, "vanished": NOTICES * (WAVE - INSTANCES) // WAVE}
    assert deployed.dead_letters() == 0
    assert sizes[WARM].keys() == sizes[-1].keys() == deployed.functions.keys()
    for name, size in sizes[-1].items():
        assert size <= GROWTH * sizes[WARM][name], (name, [each.get(name) for each in sizes])


def _has(due: int, happened: str, story: Story) -> bool:
    return len(story.find(event=happened)) >= due


def _resident(deployed: Deployed) -> dict[str, int]:
    """Return the resident memory of each function's process in this sandbox, in MB; of several, the largest."""
    names = {physical: logical for logical, physical in deployed.functions.items()}
    found: dict[str, int] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes().decode(errors="replace").split("\0")
            status = (directory / "status").read_text()
        except OSError:  # ended meanwhile, or another user's
            continue
        settings = dict(entry.partition("=")[::2] for entry in environment)
        name = names.get(settings.get("AWS_LAMBDA_FUNCTION_NAME", ""))
        if name and settings.get("AWS_ENDPOINT_URL") == deployed.remote.endpoint and "VmRSS" in status:
            size = int(status.partition("VmRSS:")[2].split()[0]) // 1024
            found[name] = max(size, found.get(name, 0))
    return found


def _await_another_second(second: datetime) -> None:
    """Events have whole seconds: the next wave's recommendations are to be others than this one's."""
    while datetime.now(UTC) < second + timedelta(seconds=1):
        time.sleep(0.05)


def _report(figures: dict[str, Any]) -> None:
    out = Path("out")
    out.mkdir(exist_ok=True)
    (out / "soak.json").write_text(json.dumps(figures, indent=2) + "\n")
