"""An hour's outage, and what is done again after it: the archive replayed, the dead letters given again, by the command of the guide."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox.control import REPOSITORY
from sandbox.deploy import STACK, client_process_environment
from sandbox.waiting import wait_for
from tests.e2e.deployment import unknown_id, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.deployment import Deployed

HOUR = 3600
UNRECORDED, UNANSWERED = 12, 3
"""How many notices come while record_notice is broken, and while respond_to_notices is."""


def test_outage_and_replay(deployed: Deployed) -> None:
    """Notices that two broken functions failed on are each recorded once and closed as late, and nobody is asked for anything."""
    story, began = deployed.story(), time.time()
    unanswered = [unknown_id() for _ in range(UNANSWERED)]
    unrecorded = [unknown_id() for _ in range(UNRECORDED)]
    with _broken(deployed, "RespondToNotices"):
        deployed.put(*(warning(each, age=HOUR - 60) for each in unanswered))
        story.wait(lambda told: _told(told.find(event="notice_received")) >= set(unanswered), 30, "the records of notices")
        with _broken(deployed, "RecordNotice"):
            # One every five minutes of the last hour, by the events' own times; all are late by now.
            for some in (unrecorded[:10], unrecorded[10:]):  # PutEvents takes ten
                deployed.put(*(warning(each, age=300 * (1 + unrecorded.index(each))) for each in some))
            wait_for(lambda: deployed.dead_letters() > UNRECORDED, 90, "a dead letter for each event and each batch")
            assert not any(deployed.items(each) for each in unrecorded)
    said = _replay(deployed)

    everything = {*unanswered, *unrecorded}
    story.wait(lambda told: _told(told.find(event="notice_closed")) >= everything, 60, "an outcome for every notice")
    received = Counter(line.fields["instance_id"] for line in story.find(event="notice_received"))
    assert {each: received[each] for each in everything} == dict.fromkeys(everything, 1)
    assert {item["outcome"]["S"] for each in everything for item in deployed.items(each)} == {"late"}
    assert {len(deployed.items(each)) for each in everything} == {1}
    assert not deployed.calls(began, "ec2:DescribeInstances", "ssm:SendCommand")
    assert deployed.dead_letters() == 0, said


def _told(lines: list[Any]) -> set[str]:
    return {line.fields["instance_id"] for line in lines}


@contextmanager
def _broken(deployed: Deployed, function: str) -> Iterator[None]:
    """Let a function lack its handler, as after a deployment that went wrong."""
    client, name = deployed.remote.client("lambda"), deployed.functions[function]
    handler = client.get_function_configuration(FunctionName=name)["Handler"]
    _set_handler(client, name, "app.absent")
    try:
        yield
    finally:
        _set_handler(client, name, handler)


def _set_handler(client: Any, name: str, handler: str) -> None:
    client.update_function_configuration(FunctionName=name, Handler=handler)
    wait_for(lambda: client.get_function_configuration(FunctionName=name).get("LastUpdateStatus") == "Successful", 30, f"the update of {name}")


def _replay(deployed: Deployed) -> str:
    """Run the command as a person does; return what it said."""
    since = datetime.now(UTC) - timedelta(seconds=HOUR + 120)
    line = [sys.executable, "-m", "replay", "--stack", STACK, "--from", since.isoformat()]
    environment = client_process_environment(deployed.remote.endpoint)
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment, cwd=REPOSITORY, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
