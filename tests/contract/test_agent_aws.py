"""The agent's adapters against moto: the table's conditions above all, which are the fence."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from urllib3 import HTTPResponse

sys.path.insert(0, str(Path(__file__).parents[2] / "agent"))

from spot_agent.checkpoint_store import Place, S3CheckpointStore
from spot_agent.clients import Clients, calling
from spot_agent.errors import Misconfigured, NotSaved, Overtaken, Refused, Unavailable, Unusable
from spot_agent.job import Checkpoint, Job
from spot_agent.jobs_table import DynamoJobsTable
from spot_agent.knowledge import Me
from spot_agent.ports import Mark
from spot_agent.tasks import StepFunctionsTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest

REGION = "us-east-1"
TABLE = "spot-responder-jobs"
PLACE = Place("checkpoints", "jobs")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS of our own, with the jobs table and a bucket."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        boto3.client("dynamodb", REGION).create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "job_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        boto3.client("s3", REGION).create_bucket(Bucket=PLACE.bucket)
        yield


def put_job(**attributes: dict[str, str]) -> None:
    """Put the job's item as the state machine does."""
    item: dict[str, Any] = {"job_id": {"S": "job"}, "job_status": {"S": "running"}, "attempt": {"N": "2"}, "owner": {"N": "0"}, **attributes}
    boto3.client("dynamodb", REGION).put_item(TableName=TABLE, Item=item)


def item(job_id: str = "job") -> dict[str, Any]:
    """Return an item."""
    found = boto3.client("dynamodb", REGION).get_item(TableName=TABLE, Key={"job_id": {"S": job_id}})
    return dict(found.get("Item", {}))


def jobs(attempt: int = 2, agent_id: str = "me") -> DynamoJobsTable:
    """Return the table as one agent has it."""
    return DynamoJobsTable(Clients(REGION).client("dynamodb"), TABLE, Me("job", attempt, f"i-{attempt}", agent_id))


def checkpoint(key: str = "k", percent: float = 10.0) -> Checkpoint:
    """Return a checkpoint."""
    return Checkpoint(key, "ab", percent, 10, 1.0)


def test_missing_item(aws: None) -> None:
    """A job without an item is none; a write to it creates nothing."""
    assert jobs().read() is None
    with pytest.raises(Overtaken):
        jobs().write_progress(1.0, 2.0)
    assert item() == {}


def test_claim_is_for_one(aws: None) -> None:
    """Of two that saw the same owner, the first gets the job; the deadline of the one before goes."""
    put_job(owner={"N": "1"}, handover_until={"N": "5"})
    job = jobs(2).claim(1)
    assert (job.owner, job.owner_id, job.handover_until) == (2, "me", None)
    with pytest.raises(Overtaken):
        jobs(3, "other").claim(1)


def test_first_claim_needs_no_owner_attribute(aws: None) -> None:
    """An item that has no owner yet can be claimed."""
    put_job()
    boto3.client("dynamodb", REGION).update_item(
        TableName=TABLE, Key={"job_id": {"S": "job"}}, UpdateExpression="REMOVE #o", ExpressionAttributeNames={"#o": "owner"}
    )
    assert jobs().claim(0).owner == 2


@pytest.mark.parametrize("attributes", [{"job_status": {"S": "stopped"}}, {"attempt": {"N": "1"}}])
def test_claim_of_a_job_that_is_over_or_not_launched(aws: None, attributes: dict[str, dict[str, str]]) -> None:
    """A job that is over, or an attempt that was never launched, cannot be claimed."""
    put_job(**attributes)
    with pytest.raises(Overtaken):
        jobs(2).claim(0)


def test_fence_stops_every_write_of_an_earlier_owner(aws: None) -> None:
    """After the next attempt's claim, nothing that the earlier owner writes takes effect."""
    put_job()
    old, new = jobs(1, "old"), jobs(2, "new")
    old.claim(0)
    new.claim(1)
    before = item()
    writes: list[Callable[[], object]] = [
        lambda: old.write_progress(99.0, 1.0),
        lambda: old.record_deadline(1.0),
        lambda: old.mark(Mark(checkpoint(), None, 1.0, is_final=True, is_finished=True)),
    ]
    for write in writes:
        with pytest.raises(Overtaken):
            write()
    assert item() == before


def test_fence_stops_a_second_agent_of_the_same_attempt(aws: None) -> None:
    """The attempt's number alone does not make an owner: the agent's id counts as well."""
    put_job()
    first, second = jobs(2, "first"), jobs(2, "second")
    first.claim(0)
    second.claim(2)
    with pytest.raises(Overtaken):
        first.write_progress(1.0, 2.0)
    assert second.write_progress(1.0, 2.0).percent == 1.0


def test_ready_only_rises(aws: None) -> None:
    """The latest attempt that is ready stays; an earlier one cannot come back."""
    put_job(attempt={"N": "3"})
    assert jobs(2).announce_ready().ready == 2
    assert jobs(3).announce_ready().ready == 3
    with pytest.raises(Overtaken):
        jobs(2).announce_ready()


def test_earlier_deadline_wins(aws: None) -> None:
    """Of two deadlines the earlier one stays."""
    put_job()
    table = jobs()
    table.claim(0)
    assert table.record_deadline(100.5).handover_until == 100.5
    assert table.record_deadline(90.0).handover_until == 90.0
    with pytest.raises(Overtaken):
        table.record_deadline(95.0)


def test_marks(aws: None) -> None:
    """A save is recorded beside the one before it; the final one says who has stopped and when; the result finishes the job."""
    put_job()
    table = jobs()
    table.claim(0)
    table.mark(Mark(checkpoint("a", 10.0), None, 1.5))
    job = table.mark(Mark(checkpoint("b", 20.0), checkpoint("a", 10.0), 2.5, 20.0, is_final=True, stopped_at=7.5))
    assert job.checkpoint is not None
    assert job.checkpoint_before is not None
    assert (job.checkpoint.key, job.checkpoint_before.key, job.saved_percent, job.percent) == ("b", "a", 20.0, 20.0)
    assert (job.checkpoint_seconds, job.final, job.stopped_at, job.status) == (2.5, 2, 7.5, "running")
    assert table.mark(Mark(is_final=True, is_finished=True)).status == "finished"
    assert item()["checkpoint"]["S"] == checkpoint("b", 20.0).to_json()


def test_attempt_record_is_an_item_of_its_own(aws: None) -> None:
    """An attempt's record is added to, expires with the job, and leaves the job's item alone."""
    put_job(expires_at={"N": "1900000000"})
    table = jobs()
    table.read()
    before = item()
    table.record_attempt({"started_at": 1.5})
    table.record_attempt({"stopped_at": 2.5, "troubles": "10:00 it rained"})
    record = item("job#2")
    assert {name: record[name]["N"] for name in ("attempt", "started_at", "stopped_at", "expires_at")} == {
        "attempt": "2", "started_at": "1.5", "stopped_at": "2.5", "expires_at": "1900000000",
    }  # fmt: skip
    assert (record["instance_id"], record["troubles"]) == ({"S": "i-2"}, {"S": "10:00 it rained"})
    assert item() == before


def test_writes_ask_for_nothing_in_return(aws: None) -> None:
    """No write has the item returned, since a role that lists what may be written need not let all of it be returned; the item is read instead."""
    put_job(job_minutes={"N": "7"})
    client = Clients(REGION).client("dynamodb")
    asked: list[dict[str, Any]] = []
    client.meta.events.register("provide-client-params.dynamodb.UpdateItem", lambda params, **_: asked.append(params))
    table = DynamoJobsTable(client, TABLE, Me("job", 2, "i-2", "me"))
    assert table.claim(0).job_minutes == 7.0
    assert table.write_progress(1.0, 2.0).percent == 1.0
    table.record_attempt({"started_at": 1.5})
    assert [params.get("ReturnValues", "NONE") for params in asked] == ["NONE"] * 3


class Faulty:
    """A client whose next reads fail, as told."""

    def __init__(self) -> None:
        self.client = Clients(REGION).client("dynamodb")
        self.errors: list[ClientError] = []

    def fail(self, code: str) -> None:
        """Fail the next read."""
        self.errors.append(ClientError({"Error": {"Code": code, "Message": "..."}}, "GetItem"))

    def get_item(self, **asked: object) -> object:
        """Read, or fail."""
        if self.errors:
            raise self.errors.pop()
        return self.client.get_item(**asked)

    def update_item(self, **asked: object) -> object:
        """Write."""
        return self.client.update_item(**asked)


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_write_whose_read_fails_is_written(aws: None, code: str) -> None:
    """A write does not fail with the read behind it: the job is what was known with what was written, and says so until it is read."""
    put_job(job_minutes={"N": "7"})
    client = Faulty()
    table = DynamoJobsTable(client, TABLE, Me("job", 2, "i-2", "me"))
    table.claim(0)
    final = Mark(checkpoint("b", 20.0), checkpoint("a", 10.0), 2.5, 20.0, is_final=True, is_finished=True, stopped_at=7.5)
    writes: list[Callable[[], Job]] = [
        table.announce_ready,
        lambda: table.record_deadline(100.5),
        lambda: table.write_progress(33.0, 7.5),
        lambda: table.mark(final),
    ]
    for write in writes:
        client.fail(code)
        assumed = write()
        assert not client.errors
        assert assumed.is_assumed
        assert table.read() == replace(assumed, is_assumed=False)


def test_claim_whose_read_fails_is_repeated(aws: None) -> None:
    """A claim ends with what the owner before saved last, or fails: the item as it was seen before will not do. It can be repeated."""
    put_job(owner={"N": "1"})
    client = Faulty()
    table = DynamoJobsTable(client, TABLE, Me("job", 2, "i-2", "me"))
    table.read()
    put_job(owner={"N": "1"}, checkpoint={"S": checkpoint("last").to_json()})
    client.fail("ThrottlingException")
    with pytest.raises(Unavailable):
        table.claim(1)
    with pytest.raises(Overtaken):
        table.claim(1)
    job = table.claim(2)
    assert (job.owner, job.owner_id, job.checkpoint) == (2, "me", checkpoint("last"))


def test_first_write_whose_read_fails_assumes_nothing(aws: None) -> None:
    """Where the item was never read, a read that fails is a failure."""
    put_job()
    client = Faulty()
    client.fail("ThrottlingException")
    with pytest.raises(Unavailable):
        DynamoJobsTable(client, TABLE, Me("job", 2, "i-2", "me")).announce_ready()


def test_missing_table_is_refused(aws: None) -> None:
    """A table that does not exist is not tried again and again: AWS's own sentence says which."""
    table = DynamoJobsTable(Clients(REGION).client("dynamodb"), "elsewhere", Me("job", 1, "i-1", "me"))
    with pytest.raises(Refused, match="ResourceNotFoundException"):
        table.read()


def test_no_connection_is_unavailable() -> None:
    """No connection means: a little later."""
    with pytest.raises(Unavailable, match="dynamodb:GetItem"), calling("dynamodb:GetItem"):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


# S3


def saved(tmp_path: Path, data: bytes) -> tuple[S3CheckpointStore, Checkpoint]:
    """Store an archive, and return the store and its checkpoint."""
    store = S3CheckpointStore(Clients(REGION).client("s3"))
    archive = tmp_path / "archive.tar"
    archive.write_bytes(data)
    key = PLACE.key("job", "1-a-000001.tar")
    store.put(archive, PLACE, key)
    return store, Checkpoint(key, hashlib.sha256(data).hexdigest(), 1.0, len(data), 0.0)


def test_what_is_put_is_fetched(aws: None, tmp_path: Path) -> None:
    """A checkpoint comes back to the byte, from under its prefix."""
    store, put = saved(tmp_path, b"x" * 3_000_000)
    store.fetch(put, PLACE, tmp_path / "fetched", lambda: False)
    assert (tmp_path / "fetched").read_bytes() == b"x" * 3_000_000
    assert put.key == "jobs/job/1-a-000001.tar"


def test_large_archives_go_in_parts(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive over the limit of a single put is sent in parts, and is there whole."""
    monkeypatch.setattr("spot_agent.checkpoint_store.SINGLE_PUT_BYTES", 24 * 1024 * 1024)
    store, put = saved(tmp_path, b"0123456789abcdef" * (25 * 65536))
    store.fetch(put, PLACE, tmp_path / "fetched", lambda: False)
    assert "-" in boto3.client("s3", REGION).head_object(Bucket=PLACE.bucket, Key=put.key)["ETag"]


def test_part_that_fails_is_sent_again_alone(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part that S3 turns away is sent again, by a client that tries more than once; the others are not."""
    monkeypatch.setattr("spot_agent.checkpoint_store.SINGLE_PUT_BYTES", 24 * 1024 * 1024)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda _self, _context: 0.0)
    sent: list[str] = []

    def turned_away_once(request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        sent.append(request.url)
        body = BytesIO(b"<Error><Code>SlowDown</Code></Error>")
        return AWSResponse(request.url, 503, HTTPHeaders(), HTTPResponse(body, preload_content=False)) if sent.count(request.url) == 1 else None

    clients = Clients(REGION)
    patient = clients.client("s3", tries=5)
    patient.meta.events.register_first("before-send.s3.UploadPart", turned_away_once)
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"0123456789abcdef" * (25 * 65536))
    S3CheckpointStore(clients.client("s3"), patient).put(archive, PLACE, "jobs/job/large")
    assert boto3.client("s3", REGION).head_object(Bucket=PLACE.bucket, Key="jobs/job/large")["ContentLength"] == archive.stat().st_size
    assert sorted(sent.count(url) for url in set(sent)) == [2] * 5


@pytest.mark.parametrize("limit", [64, 24])
def test_bytes_are_checked_on_arrival(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """S3 is given a checksum of what is sent, whole or in parts, and refuses what does not match: not at the restore, but while there is time."""
    monkeypatch.setattr("spot_agent.checkpoint_store.SINGLE_PUT_BYTES", limit * 1024 * 1024)
    _, put = saved(tmp_path, b"0123456789abcdef" * (25 * 65536))
    head = boto3.client("s3", REGION).head_object(Bucket=PLACE.bucket, Key=put.key, ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"]


def test_damage_on_the_way_is_sent_again(aws: None) -> None:
    """What S3 calls damaged is no fault of the checkpoint: it is worth another try."""
    response: Any = {"Error": {"Code": "BadDigest", "Message": "The SHA256 you specified did not match"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    with pytest.raises(Unavailable), calling("s3:PutObject"):
        raise ClientError(response, "PutObject")


def test_changed_object_is_unusable(aws: None, tmp_path: Path) -> None:
    """An object whose bytes are not those that were saved is unusable, and the sentence says so."""
    store, put = saved(tmp_path, b"right")
    boto3.client("s3", REGION).put_object(Bucket=PLACE.bucket, Key=put.key, Body=b"wrong")
    with pytest.raises(Unusable, match="expected 5 bytes with SHA-256"):
        store.fetch(put, PLACE, tmp_path / "fetched", lambda: False)


def test_missing_object_is_unusable(aws: None, tmp_path: Path) -> None:
    """An object that is not there is unusable."""
    store, put = saved(tmp_path, b"right")
    store.delete(PLACE, put.key)
    with pytest.raises(Unusable, match="no such object"):
        store.fetch(put, PLACE, tmp_path / "fetched", lambda: False)


def test_missing_bucket_is_refused(aws: None, tmp_path: Path) -> None:
    """A bucket that does not exist is a fault of the set-up, not of the checkpoint."""
    store, put = saved(tmp_path, b"right")
    with pytest.raises(Refused, match="NoSuchBucket"):
        store.fetch(put, Place("elsewhere", ""), tmp_path / "fetched", lambda: False)


def test_abandoned_fetch_ends(aws: None, tmp_path: Path) -> None:
    """A fetch that nobody needs any more stops in the middle."""
    store, put = saved(tmp_path, b"right")
    with pytest.raises(NotSaved):
        store.fetch(put, PLACE, tmp_path / "fetched", lambda: True)


@pytest.mark.parametrize(("uri", "place"), [("s3://b/p/q/", Place("b", "p/q")), ("s3://b", Place("b", ""))])
def test_checkpoint_uri(uri: str, place: Place) -> None:
    """Bucket and prefix come from the URI, with or without slashes at the end."""
    assert Place.of(uri) == place


@pytest.mark.parametrize("uri", ["", "http://b/p", "s3://", "/tmp"])  # noqa: S108  # no file is made
def test_wrong_checkpoint_uri(uri: str) -> None:
    """What is no S3 URI is named."""
    with pytest.raises(Misconfigured, match="checkpoint_uri"):
        Place.of(uri)


# Step Functions


class Task:
    """A Run state that answers with an error code, or takes everything."""

    def __init__(self, code: str | None) -> None:
        self.code = code

    def send_task_heartbeat(self, **_: str) -> None:
        """Answer."""
        if self.code:
            from botocore.exceptions import ClientError  # noqa: PLC0415  # this class alone

            raise ClientError({"Error": {"Code": self.code, "Message": "..."}}, "SendTaskHeartbeat")

    send_task_success = send_task_heartbeat


@pytest.mark.parametrize(("code", "taken"), [(None, True), ("TaskTimedOut", False), ("TaskDoesNotExist", False), ("InvalidToken", False)])
def test_token_that_is_not_waited_for_is_an_answer(code: str | None, taken: bool) -> None:  # noqa: FBT001  # the expected answer
    """The codes that mean "not waited for" are answers and no errors."""
    tasks = StepFunctionsTasks(Task(code))
    assert tasks.heartbeat("t") is taken
    assert tasks.succeed("t", {"result": "finished"}) is taken


def test_other_errors_of_the_task_are_errors() -> None:
    """A refusal of another kind is told, throttling is tried again."""
    with pytest.raises(Refused, match="AccessDeniedException"):
        StepFunctionsTasks(Task("AccessDeniedException")).heartbeat("t")
    with pytest.raises(Unavailable):
        StepFunctionsTasks(Task("ThrottlingException")).heartbeat("t")
