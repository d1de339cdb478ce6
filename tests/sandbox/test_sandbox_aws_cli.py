"""The `aws` that a shell gets for the sandbox, and its `logs tail`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import aws_cli
from sandbox.cli.spot_logs_tail import FORMATS, LOOK_BACK_MILLISECONDS, POLL_SECONDS, Tailing, milliseconds_since_1970
from sandbox.control import SandboxError
from sandbox.deploy import client_process_environment
from tests.control_c import hearing_control_c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.control import State

OURS = Path(sys.executable).parent
NOON = 1_795_348_800_000
"""2026-11-22T12:00:00Z in milliseconds."""
GROUP = "/tests/tail"


def event(name: str, timestamp: int = NOON, message: str = "m") -> dict[str, Any]:
    """Return a log event as FilterLogEvents does."""
    return {"eventId": name, "timestamp": timestamp, "message": message, "logStreamName": "s"}


def named(events: Iterator[dict[str, Any]]) -> list[str]:
    """Return the ids of events."""
    return [one["eventId"] for one in events]


class Logs:
    """FilterLogEvents with a page for each event; remembers what it was asked."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, operation: str) -> Logs:
        """Return the paginator: itself."""
        assert operation == "filter_log_events"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        """Return the events from `startTime` on."""
        self.asked.append(asked)
        return [{"events": [one]} for one in self.events if one["timestamp"] >= asked["startTime"]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the PATH's only `aws` one that says this version."""

    def make(said: str) -> None:
        aws = tmp_path / "bin" / "aws"
        aws.parent.mkdir()
        aws.write_text(f"#!/bin/sh\necho '{said}'\n")
        aws.chmod(0o755)
        monkeypatch.setenv("PATH", str(aws.parent))

    return make


@pytest.mark.parametrize("said", ["aws-cli/2.13.0 Python/3.11.4", "aws-cli/2.36.12 Python/3.14.6"])
def test_version_2_stays(program: Callable[[str], None], tmp_path: Path, said: str) -> None:
    """A shell whose `aws` knows AWS_ENDPOINT_URL and `logs tail` keeps it, and the user's configuration."""
    program(said)
    assert aws_cli.aws_exports(tmp_path) == []


@pytest.mark.parametrize("said", ["aws-cli/1.46.3 Python/3.13.0", "aws-cli/2.12.9 Python/3.11.4", "not found"])
def test_any_other_is_replaced(program: Callable[[str], None], tmp_path: Path, said: str) -> None:
    """Version 1, a version 2 that does not know AWS_ENDPOINT_URL, and what is no `aws` are behind ours on the PATH."""
    program(said)
    assert f'export PATH={OURS}:"$PATH"' in aws_cli.aws_exports(tmp_path)


def test_a_shell_without_gets_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any `aws`, too, a shell gets ours, with the plugin."""
    monkeypatch.setenv("PATH", str(tmp_path))
    configuration = tmp_path / "aws-config"
    assert aws_cli.aws_exports(tmp_path) == [f'export PATH={OURS}:"$PATH"', f"export AWS_CONFIG_FILE={configuration}"]
    assert "[plugins]" in configuration.read_text()


def test_the_path_stays_where_ours_is_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the activated virtual environment only the plugin is missing."""
    monkeypatch.setenv("PATH", str(OURS))
    assert aws_cli.aws_exports(tmp_path) == [f"export AWS_CONFIG_FILE={tmp_path / 'aws-config'}"]


def test_a_missing_plugin_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where `aws` could not import the plugin, it is not told to: the sentence says what to run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(aws_cli, "PLUGINS", ("no_such_plugin",))
    with pytest.raises(SandboxError, match="make"):
        aws_cli.aws_exports(tmp_path)


@pytest.mark.parametrize(
    ("since", "meant"),
    [
        ("30s", NOON - 30_000),
        ("10m", NOON - 600_000),
        ("2h", NOON - 7_200_000),
        ("1d", NOON - 86_400_000),
        ("1w", NOON - 604_800_000),
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22T13:00:00.5+01:00", NOON + 500),
        ("2026-11-22T12:00:00", NOON),
    ],
)
def test_since(since: str, meant: int) -> None:
    """`--since` is so long ago, or an ISO 8601 time, in UTC where it does not say."""
    assert milliseconds_since_1970(since, NOON / 1000) == meant


def test_since_nonsense() -> None:
    """What is no time is named."""
    with pytest.raises(ValueError, match="yesterday"):
        milliseconds_since_1970("yesterday", NOON / 1000)


@pytest.mark.parametrize(
    ("chosen", "message", "shown"),
    [
        ("detailed", '{"a": 1}', '2026-11-22T12:00:00.007000+00:00 s {"a": 1}'),
        ("short", '{"a": 1}', '2026-11-22T12:00:00 {"a": 1}'),
        ("json", '{"a": 1}', '2026-11-22T12:00:00.007000+00:00 s \n{\n    "a": 1\n}'),
        ("json", "plain", "2026-11-22T12:00:00.007000+00:00 s plain"),
    ],
)
def test_formats(chosen: str, message: str, shown: str) -> None:
    """The three formats are version 2's, to the letter."""
    assert FORMATS[chosen](event("e", NOON + 7, message), lambda _, text: text) == shown


def test_each_event_once() -> None:
    """What is shown is not shown again; a new event is, though it bears the same time."""
    logs = Logs(event("a"), event("b"))
    tailing = Tailing(logs, {"logGroupName": "g"}, NOON - 1)
    assert named(tailing.new_events()) == ["a", "b"]
    logs.events.append(event("c"))
    assert named(tailing.new_events()) == ["c"]
    assert {asked["logGroupName"] for asked in logs.asked} == {"g"}


def test_a_late_event_is_shown() -> None:
    """An event that comes after a newer one is shown, and what is older than the look back is no longer asked for."""
    logs = Logs(event("old", NOON - LOOK_BACK_MILLISECONDS - 1), event("new"))
    tailing = Tailing(logs, {}, 0)
    assert named(tailing.new_events()) == ["old", "new"]
    logs.events.insert(0, event("late", NOON - LOOK_BACK_MILLISECONDS))
    assert named(tailing.new_events()) == ["late"]
    assert [asked["startTime"] for asked in logs.asked] == [0, NOON - LOOK_BACK_MILLISECONDS]


def test_nothing_before_since() -> None:
    """The look back does not reach behind `--since`."""
    logs = Logs(event("a"))
    tailing = Tailing(logs, {}, NOON - 1)
    assert named(tailing.new_events()) == ["a"]
    assert named(tailing.new_events()) == []
    assert [asked["startTime"] for asked in logs.asked] == [NOON - 1, NOON - 1]


def test_follow() -> None:
    """Following goes on after the last event, with a pause between two looks."""
    logs = Logs(event("a"))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        logs.events.append(event(f"after pause {len(pauses)}"))

    following = Tailing(logs, {}, NOON).follow(pause)
    assert named(next(following) for _ in range(3)) == ["a", "after pause 1", "after pause 2"]
    assert pauses == [POLL_SECONDS] * 2


@pytest.fixture
def tail(
    sandbox: State, aws: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `aws logs tail` of a log group with one line, in a shell without an `aws` of its own and in a folder elsewhere."""
    monkeypatch.setenv("PATH", str(tmp_path))
    script = "\n".join([*aws_cli.aws_exports(tmp_path), 'exec aws logs tail "$@"'])
    environment = client_process_environment(sandbox.endpoint) | {"PATH": "/usr/bin:/bin"}
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = ["/bin/bash", "-c", script, "tail", GROUP, *arguments]
        with hearing_control_c():
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    aws("logs").create_log_group(logGroupName=GROUP)
    for stream in ("stream", "other"):
        aws("logs").create_log_stream(logGroupName=GROUP, logStreamName=stream)
    put(aws("logs"), "first")
    yield start
    for process in started:
        with process:
            process.kill()
    aws("logs").delete_log_group(logGroupName=GROUP)


def put(logs: Any, told: str) -> None:
    """Write a line of JSON, now."""
    line = {"timestamp": int(time.time() * 1000), "message": json.dumps({"told": told})}
    logs.put_log_events(logGroupName=GROUP, logStreamName="stream", logEvents=[line])


def test_tail(tail: Callable[..., subprocess.Popen[str]]) -> None:
    """`aws logs tail` shows what the log group holds, and ends."""
    shown, complaints = tail().communicate(timeout=60)
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}000\+00:00 stream {"told": "first"}\n', shown), complaints


def test_tail_follows(tail: Callable[..., subprocess.Popen[str]], aws: Callable[[str], Any]) -> None:
    """With `--follow` a line is shown as it comes, also to a pipe; Control-C ends it with status 0."""
    process = tail("--follow", "--format", "short")
    assert process.stdout is not None
    assert "first" in process.stdout.readline()
    put(aws("logs"), "second")
    assert "second" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_tail_of_streams(tail: Callable[..., subprocess.Popen[str]]) -> None:
    """The pattern and the streams that were asked for reach FilterLogEvents."""
    shown = [
        process.communicate(timeout=60)[0].count("first")
        for process in [
            tail("--filter-pattern", '{ $.told = "first" }', "--log-stream-names", "stream", "other"),
            tail("--filter-pattern", '{ $.told = "other" }'),
            tail("--log-stream-names", "other"),
            tail("--log-stream-name-prefix", "str"),
        ]
    ]
    assert shown == [1, 0, 0, 1]


def test_queues_are_looked_for_here(sandbox: State, aws: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aws sqs`, for which version 1 has an address of its own, speaks to the sandbox as well; version 2's option about the pager is known."""
    url = aws("sqs").create_queue(QueueName="asked-for")["QueueUrl"]
    monkeypatch.setenv("PATH", str(tmp_path))
    script = "\n".join(
        [*aws_cli.aws_exports(tmp_path), "exec aws sqs list-queues --queue-name-prefix asked-for --no-cli-pager --query QueueUrls --output text"]
    )
    environment = client_process_environment(sandbox.endpoint) | {"PATH": "/usr/bin:/bin"}
    asked = subprocess.run(["/bin/bash", "-c", script], cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=60, check=False)
    assert asked.stdout == f"{url}\n", asked.stderr
