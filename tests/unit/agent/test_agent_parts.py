"""The small parts: the item, the settings, the metadata service, the log, the demonstration job's metrics, the user data."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from spot_agent.errors import Misconfigured, Refused, Unavailable
from spot_agent.job import Checkpoint, Job
from spot_agent.knowledge import Me
from spot_agent.loop import cause_of
from spot_agent.measures import CloudWatchMeasures
from spot_agent.metadata import InstanceMetadata
from spot_agent.settings import Settings
from spot_agent.story import StoryLog
from spot_agent.wiring import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


# The job's item


def test_item_becomes_a_job() -> None:
    """Every attribute of the item is read in its type; what is missing has its default."""
    checkpoint = Checkpoint("k", "ab", 12.5, 10240, 1.5)
    item = {"job_id": {"S": "j"}, "owner": {"N": "2"}, "previous_dead": {"BOOL": True}, "handover_until": {"N": "12.5"}}
    item |= {"checkpoint": {"S": checkpoint.to_json()}, "environment": {"S": '{"A": "b"}'}, "job_minutes": {"N": "6"}}
    job = Job.from_item(item)
    assert (job.owner, job.previous_dead, job.handover_until, job.checkpoint) == (2, True, 12.5, checkpoint)
    assert (job.environment, job.job_minutes, job.checkpoint_minutes, job.status) == ({"A": "b"}, 6.0, 2.0, "running")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint", {"S": "{}"}),
        ("checkpoint", {"S": "nonsense"}),
        ("environment", {"S": "[1]"}),
        ("environment", {"S": '{"A": 1}'}),
        ("owner", {"S": "2"}),
        ("checkpoint_minutes", {"N": "0"}),
    ],
)
def test_wrong_attribute_is_named(name: str, value: dict[str, str]) -> None:
    """An attribute that is not what it must be is named in one sentence."""
    with pytest.raises(Misconfigured, match=name):
        Job.from_item({"job_id": {"S": "j"}, name: value})


# Settings


def test_settings_from_the_file(tmp_path: Path) -> None:
    """Table and Region come from agent.json, the directories from the environment."""
    (tmp_path / "agent.json").write_text('{"jobs_table": "jobs", "region": "us-east-2"}')
    settings = Settings.from_env({"SPOT_RESPONDER_CONFIG_DIR": str(tmp_path), "SPOT_RESPONDER_HOME": "/opt/x", "SPOT_RESPONDER_STATE_DIR": "/run/x"})
    assert (settings.jobs_table, settings.region, str(settings.work), str(settings.state)) == ("jobs", "us-east-2", "/opt/x/work", "/run/x/agent")


@pytest.mark.parametrize("text", [None, "", "[]", '{"region": "us-east-2"}'])
def test_missing_settings_are_named(tmp_path: Path, text: str | None) -> None:
    """A file that is missing or wrong is named, with what it must have."""
    if text is not None:
        (tmp_path / "agent.json").write_text(text)
    with pytest.raises(Misconfigured, match=r"agent\.json: expected a JSON object with jobs_table and region"):
        Settings.from_env({"SPOT_RESPONDER_CONFIG_DIR": str(tmp_path)})


def test_one_agent_to_an_instance(tmp_path: Path) -> None:
    """A second agent on the same instance ends with a clear sentence."""
    with locked(tmp_path), pytest.raises(Misconfigured, match="another agent"):
        locked(tmp_path)


# The metadata service


class Imds(BaseHTTPRequestHandler):
    """A metadata service, version 2 only."""

    shown: ClassVar[dict[str, str]] = {}
    tokens: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Give a token."""
        self.tokens.append(f"token{len(self.tokens)}")
        self._answer(200, self.tokens[-1])

    def do_GET(self) -> None:
        """Show an item to who has the last token."""
        if self.headers.get("X-aws-ec2-metadata-token") != self.tokens[-1]:
            self._answer(401, "")
        else:
            text = self.shown.get(self.path.removeprefix("/latest/meta-data/"))
            self._answer(404 if text is None else 200, text or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@pytest.fixture
def imds() -> Iterator[InstanceMetadata]:
    """A client of a metadata service that shows what `Imds.shown` says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Imds)
    server.daemon_threads = True
    Imds.shown = {"instance-id": "i-1", "placement/region": "us-east-2"}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    metadata = InstanceMetadata(f"http://127.0.0.1:{server.server_port}/")
    yield metadata
    if metadata._connection is not None:
        metadata._connection.close()
    server.shutdown()
    server.server_close()


def test_metadata_says_who_we_are(imds: InstanceMetadata) -> None:
    """Instance, Region, and the tags with the job and the attempt."""
    Imds.shown |= {"tags/instance/spot-responder:job": "j", "tags/instance/spot-responder:attempt": "3"}
    assert (imds.instance_id(), imds.region(), imds.job_and_attempt()) == ("i-1", "us-east-2", ("j", 3))


def test_missing_tags_are_named(imds: InstanceMetadata) -> None:
    """A tag that is not shown is named, with what it takes."""
    with pytest.raises(Misconfigured, match=r"spot-responder:job.*instance metadata tags"):
        imds.job_and_attempt()


def test_wrong_attempt_is_named(imds: InstanceMetadata) -> None:
    """An attempt that is no number is named."""
    Imds.shown |= {"tags/instance/spot-responder:job": "j", "tags/instance/spot-responder:attempt": "last"}
    with pytest.raises(Misconfigured, match=r"spot-responder:attempt.*'last'"):
        imds.job_and_attempt()


def test_notice_is_read(imds: InstanceMetadata) -> None:
    """No notice, then one: the action and the time in seconds since the epoch."""
    assert imds.notice() is None
    Imds.shown["spot/instance-action"] = '{"action": "terminate", "time": "2026-11-22T10:02:00Z"}'
    assert imds.notice() == ("terminate", 1795341720.0)


@pytest.mark.parametrize("text", ["{}", "soon", '{"action": "stop", "time": "soon"}'])
def test_notice_that_cannot_be_read(imds: InstanceMetadata, text: str) -> None:
    """A notice in another form is told, and does not end the agent."""
    Imds.shown["spot/instance-action"] = text
    with pytest.raises(Refused, match="expected action and time"):
        imds.notice()


def test_expired_token_is_renewed(imds: InstanceMetadata) -> None:
    """A token that is no longer valid is replaced without anybody noticing."""
    imds.instance_id()
    Imds.tokens.append("newer")
    assert imds.instance_id() == "i-1"


def test_metadata_out_of_reach() -> None:
    """A service that does not answer is worth another try."""
    with pytest.raises(Unavailable, match="IMDS"):
        InstanceMetadata("http://127.0.0.1:9/").notice()


# The log


def test_story_is_one_json_line() -> None:
    """One line of JSON for each thing that happened, with who wrote it."""
    stream = io.StringIO()
    StoryLog(Me("j", 2, "i-1", "a"), stream).tell("ready", "Ready", trouble=True, owner=1)
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert {key: line[key] for key in ("level", "event", "message", "job_id", "attempt", "instance_id", "owner")} == {
        "level": "WARNING", "event": "ready", "message": "Ready", "job_id": "j", "attempt": 2, "instance_id": "i-1", "owner": 1,
    }  # fmt: skip


def test_troubles_are_few_and_short() -> None:
    """Of the warnings, the latest ten are kept, each cut: the attempt's record stays small whatever goes wrong."""
    log = StoryLog(Me("j", 2, "i-1", "a"), io.StringIO())
    log.tell("ready", "Ready")
    assert log.troubles() == ""
    for number in range(1000):
        log.tell("call failed", f"Trouble {number} " + "x" * 5000, trouble=True)
    lines = log.troubles().splitlines()
    assert len(lines) == 10
    assert "Trouble 990" in lines[0]
    assert len(log.troubles()) <= 3010


def test_cause_of_a_failure_is_bounded() -> None:
    """However much a program wrote, the cause has its status and the end of its output."""
    assert cause_of(3, []) == "exit status 3: no output"
    cause = cause_of(137, ["x" * 1000] * 50)
    assert cause.startswith("exit status 137 (killed; out of memory, as a rule): ")
    assert len(cause) < 4100


# Metrics


class CloudWatch:
    """Takes metrics, or refuses them."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def put_metric_data(self, **call: Any) -> None:
        """Take one call."""
        self.calls.append(json.loads(json.dumps(call, default=str)))


def test_metrics_are_published_a_few_at_a_time() -> None:
    """Samples of a second go out every five, with their own times, under the workshop's names."""
    client = CloudWatch()
    measures = CloudWatchMeasures(lambda: client)
    for second in range(11):
        measures.sample(1000.0 + second, 10.0 + second, 10.0)
    assert len(client.calls) == 3
    first = client.calls[1]["MetricData"][0]
    assert (client.calls[1]["Namespace"], first["MetricName"], first["Unit"], first["StorageResolution"]) == (
        "fisworkshop",
        "checkpointed",
        "Percent",
        1,
    )
    assert [len(call["MetricData"]) for call in client.calls] == [2, 10, 10]
