"""What takes real seconds, since the sandbox scales no time-out: four plays, on the stage side by side, and judged one by one."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.statemachine.stage import Stage

TIMEOUT_SECONDS = 9.0
TIMEOUT_MINUTES = TIMEOUT_SECONDS / 60


def a_silent_agent_is_replaced(stage: Stage) -> None:
    """An attempt whose agent sends no heartbeat is given up: its instance is ended, the next is launched."""
    execution = stage.start(HeartbeatSeconds=4)
    first = execution.attempt(1)
    second = execution.attempt(2)
    assert stage.living(execution.job_id) == [second["instance_id"]] != [first["instance_id"]]
    execution.send(2, result="finished")
    assert execution.end().status == "SUCCEEDED"


def a_heartbeat_keeps_an_attempt(stage: Stage) -> None:
    """As long as heartbeats come, the attempt goes on; a token that was sent back takes none any more."""
    execution = stage.start(HeartbeatSeconds=4)
    until = time.monotonic() + 7
    while time.monotonic() < until:
        execution.beat()
        time.sleep(0.5)
    token = execution.send(result="finished")["token"]
    sfn = stage.client("stepfunctions")
    with pytest.raises(sfn.exceptions.TaskTimedOut):
        sfn.send_task_heartbeat(taskToken=token)
    with pytest.raises(sfn.exceptions.TaskTimedOut):
        sfn.send_task_success(taskToken=token, output="{}")
    assert execution.end().status == "SUCCEEDED"


def a_job_ends_in_its_time(stage: Stage) -> None:
    """A job that is not finished within its Timeout fails, though heartbeats come."""
    execution = stage.start({"Timeout": TIMEOUT_MINUTES}, HeartbeatSeconds=8)
    token = execution.attempt()["token"]
    until = time.monotonic() + 3 * TIMEOUT_SECONDS
    while is_open(stage, token) and time.monotonic() < until:
        time.sleep(0.5)
    ended = execution.end()
    assert (ended.error, ended.cause) == ("TimedOut", "the job is not finished within its Timeout")
    assert execution.entered().count("Launch") == 1
    assert stage.living(execution.job_id) == []


def no_attempt_begins_after_the_time(stage: Stage) -> None:
    """After its Timeout a job begins no further attempt."""
    execution = stage.start({"Timeout": str(round(TIMEOUT_MINUTES, 6))}, RetentionDays=1)
    over = execution.attempt(1)["expires_at"] - 86400  # the execution's own reckoning, rounded up
    while time.time() <= over:
        time.sleep(0.1)
    execution.send(1, result="gone", state="terminated")
    assert execution.end().error == "TimedOut"
    assert execution.entered().count("Launch") == 1


PLAYS: tuple[Callable[[Stage], None], ...] = (
    a_silent_agent_is_replaced,
    a_heartbeat_keeps_an_attempt,
    a_job_ends_in_its_time,
    no_attempt_begins_after_the_time,
)


@pytest.fixture(scope="module")
def played(theatre: Stage) -> dict[str, Future[None]]:
    """The plays, all over."""
    with ThreadPoolExecutor(len(PLAYS)) as pool:
        futures = {play.__name__: pool.submit(play, theatre) for play in PLAYS}
        wait(futures.values())
    return futures


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_in_real_time(played: dict[str, Future[None]], play: Callable[[Stage], None]) -> None:
    """What the play's own sentence says is true."""
    played[play.__name__].result()


def is_open(stage: Stage, token: str) -> bool:
    """Send a heartbeat; tell whether the attempt still takes one."""
    sfn = stage.client("stepfunctions")
    try:
        sfn.send_task_heartbeat(taskToken=token)
    except sfn.exceptions.TaskTimedOut:
        return False
    return True
