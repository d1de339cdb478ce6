"""The functions as Lambda calls them: `functions/<name>/app.py`, real clients, and an AWS at the end of botocore's HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any, cast

import pytest

from spot_responder.adapters.notices_table import to_item
from spot_responder.adapters.story_log import FIELDS
from spot_responder.domain.errors import ConfigurationError, Unavailable
from spot_responder.domain.notices import Action, Notice, NoticeKind
from spot_responder.wiring import parts, respond_to_notices
from tests.examples import ACCOUNT, COMMAND_ID, REGION, instance_id, interruption_event, result_event, state_event
from tests.fakes.aws import described, ec2_error, json_error, ok
from tests.fakes.ports import FakeClock
from tests.lambdas import FUNCTIONS, Context, forget_parts, invoke, job_item, serve, serve_jobs, start_cold, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.aws import AwsOverHttp, Call, Reply

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test as an execution environment starts."""
    start_cold(monkeypatch)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines that the function printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def fresh(number: int, *, age: float = 2, action: Action = Action.TERMINATE) -> Notice:
    """Return a warning of a moment ago."""
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=age)
    return Notice(NoticeKind.INTERRUPTION, action, instance_id(number), ACCOUNT, REGION, moment, f"event-{number}")


@pytest.mark.parametrize(("count", "commands"), [(1, 1), (100, 2), (1000, 20)])
def test_the_calls_of_a_batch(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str], count: int, commands: int) -> None:
    """A batch of opted-in notices makes one DescribeInstances, one SendCommand for each fifty, and no other call to EC2 or SSM."""
    notices = [fresh(number) for number in range(count)]
    serve(aws, notices)
    assert invoke("respond_to_notices", stream(notices)) == {"batchItemFailures": []}
    assert aws.counts("ec2", "ssm") == {"ec2:DescribeInstances": 1, "ssm:SendCommand": commands}
    assert sorted(one for call in aws.of("ssm:SendCommand") for one in call.parameters["InstanceIds"]) == sorted(one.instance_id for one in notices)
    lines = told(capsys)
    assert [line["event"] for line in lines] == ["checkpoint_asked"] * count
    assert all(2 <= line["seconds_since_event"] < 12 for line in lines)


def test_the_calls_to_the_table(aws: AwsOverHttp) -> None:
    """The answers of 100 notices go to the table in few calls: one read, and one write for each command's 25 items."""
    notices = [fresh(number) for number in range(100)]
    serve(aws, notices)
    invoke("respond_to_notices", stream(notices))
    assert aws.counts("dynamodb") == {"dynamodb:BatchExecuteStatement": 4, "dynamodb:BatchGetItem": 1}


def test_answers_are_written_beside(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The answers of a command are written by another thread while the next command is sent: here, neither ends without the other."""
    monkeypatch.setattr(respond_to_notices, "ThreadPoolExecutor", ThreadPoolExecutor)
    notices = [fresh(number) for number in range(100)]
    serve(aws, notices)
    both = Barrier(2, timeout=20)
    take, write = (cast("Callable[[Call], Reply]", aws.standing[operation]) for operation in ("ssm:SendCommand", "dynamodb:BatchExecuteStatement"))

    def met(call: Call) -> Reply:
        both.wait()
        return take(call) if call.operation == "ssm:SendCommand" else write(call)

    aws.once("ssm:SendCommand", take, met)
    aws.once("dynamodb:BatchExecuteStatement", met)
    assert invoke("respond_to_notices", stream(notices)) == {"batchItemFailures": []}
    assert aws.counts("dynamodb", "ssm") == {"dynamodb:BatchExecuteStatement": 4, "dynamodb:BatchGetItem": 1, "ssm:SendCommand": 2}
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    assert {(line["event"], line["request_id"]) for line in told(capsys)} == {("checkpoint_asked", "request-1")}


def test_the_calls_of_a_batch_of_jobs(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred interrupted jobs cost one describe, two commands, one read of the jobs, and a word to each."""
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    notices = [fresh(number) for number in range(100)]
    serve_jobs(aws, notices)
    invoke("respond_to_notices", stream(notices))
    assert aws.counts("ec2", "ssm", "sfn") == {"ec2:DescribeInstances": 1, "sfn:SendTaskSuccess": 100, "ssm:SendCommand": 2}
    reads = [list(call.parameters["RequestItems"]) for call in aws.of("dynamodb:BatchGetItem")]
    assert reads == [["notices"], ["jobs"]]
    told_of = [line for line in told(capsys) if line["event"] == "replacement_asked"]
    assert (len(told_of), {line["reason"] for line in told_of}) == (100, {None})


def test_jobs_of_another_stack(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """A stack without a job part asks another's worker for its checkpoint, makes no call about its job, and says why."""
    notices = [fresh(1)]
    serve_jobs(aws, notices)
    invoke("respond_to_notices", stream(notices))
    assert aws.counts("sfn", "ssm") == {"ssm:SendCommand": 1}
    (line,) = [line for line in told(capsys) if line["event"] == "replacement_asked"]
    assert "SubnetIds" in line["reason"]


def test_a_thousand_notices_cost_ten_times_a_hundred(aws: AwsOverHttp) -> None:
    """What a notice costs does not grow with their number. How much CPU that is, ``make bench`` measures."""
    serve(aws, [])
    invoke("respond_to_notices", stream([fresh(1)]))
    hundred = min(cpu_seconds(aws, 100) for _ in range(3))
    assert cpu_seconds(aws, 1000) < 25 * hundred


def cpu_seconds(aws: AwsOverHttp, count: int) -> float:
    """Return the CPU time of a batch of so many notices, AWS's side of the talk included."""
    notices = [fresh(number) for number in range(count)]
    serve(aws, notices)
    batch = stream(notices)
    aws.always("ec2:DescribeInstances", described(notice.instance_id for notice in notices))
    began = time.process_time()
    invoke("respond_to_notices", batch)
    return time.process_time() - began


def asked_for(call: Call) -> list[str]:
    """Return the ids of a describe, by id or by filter."""
    return call.listed("InstanceId") or call.listed("Filter.1.Value")


@pytest.mark.parametrize(("count", "describes", "sends"), [(100, 1, 2), (300, 2, 6)])
def test_a_vanished_instance(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str], count: int, describes: int, sends: int) -> None:
    """An unknown id costs nothing among 100 and one more describe among 300; the others are asked as if it were not there."""
    notices = [fresh(number) for number in range(count)]
    serve(aws, notices)
    aws.always("ec2:DescribeInstances", lambda call: described([each for each in asked_for(call) if each != instance_id(50)]))
    if describes > 1:
        aws.once("ec2:DescribeInstances", ec2_error("InvalidInstanceID.NotFound", f"The instance ID '{instance_id(50)}' does not exist"))
    assert invoke("respond_to_notices", stream(notices)) == {"batchItemFailures": []}
    assert aws.counts("ec2", "ssm") == {"ec2:DescribeInstances": describes, "ssm:SendCommand": sends}
    assert [line["instance_id"] for line in told(capsys) if line["outcome"] == "vanished"] == [instance_id(50)]


def test_what_is_unfinished_is_named(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to be delivered again is named by its first sequence number: Lambda delivers from there (ReportBatchItemFailures)."""
    # A tenth of a second is left, which a busy machine would take for anything.
    clock = FakeClock(datetime.now(UTC))
    monkeypatch.setattr(parts, "SystemClock", lambda: clock)
    notices = [fresh(0, action=Action.HIBERNATE), None, *(fresh(number) for number in range(2, 6))]
    serve(aws, [notice for notice in notices if notice])
    aws.always("ssm:SendCommand", json_error("ThrottlingException", "Rate exceeded"))
    assert invoke("respond_to_notices", stream(notices), Context(left=5_100)) == {"batchItemFailures": [{"itemIdentifier": "102"}]}


def test_a_bad_record_is_not_delivered_again(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that is no notice is one line and done with."""
    assert invoke("respond_to_notices", stream([None])) == {"batchItemFailures": []}
    assert [line["event"] for line in told(capsys)] == ["input_rejected"]
    assert aws.calls == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_event_at_all(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever is no event is one line, and no call to AWS; the function does not fail."""
    events: list[object] = [None, [], {}, "text", {"Records": 7}]
    for event in events:
        invoke(name, event)
    assert [line["event"] for line in told(capsys)] == ["input_rejected"] * len(events)
    assert aws.calls == []


def test_a_notice_is_recorded(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """record_notice makes one call, a conditional put, and prints one line that names its invocation."""
    aws.always("dynamodb:PutItem", ok())
    assert invoke("record_notice", interruption_event()) is None
    assert aws.counts("dynamodb", "ec2", "ssm") == {"dynamodb:PutItem": 1}
    assert aws.calls[0].parameters["Item"]["recorded_by"] == {"S": "request-1"}
    (line,) = told(capsys)
    assert list(line) == list(FIELDS)
    assert (line["event"], line["request_id"]) == ("notice_received", "request-1")


def test_a_warm_function_keeps_its_parts(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """A second invocation builds nothing again, and its line names its own request."""
    aws.always("dynamodb:PutItem", ok())
    invoke("record_notice", interruption_event())
    before = parts.notices()
    invoke("record_notice", interruption_event(2), Context("request-2"))
    assert parts.notices() is before
    assert [line["request_id"] for line in told(capsys)] == ["request-1", "request-2"]


def test_a_notice_costs_little(aws: AwsOverHttp) -> None:
    """Recording a notice takes less than 5 ms of CPU in a warm function, AWS's side of the talk included."""
    aws.always("dynamodb:PutItem", ok())
    events = [interruption_event(number) for number in range(31)]
    invoke("record_notice", events[0])
    began = time.process_time()
    for event in events[1:]:
        invoke("record_notice", event)
    assert (time.process_time() - began) / 30 < 0.005


def asked(number: int = 1) -> dict[str, Any]:
    """Return the item of a notice whose instance was asked."""
    subject = Notice(
        NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(number), ACCOUNT, REGION, datetime(2026, 11, 22, 9, 59, 50, tzinfo=UTC), "e"
    )
    return to_item(subject) | {"command_id": {"S": COMMAND_ID}}


def test_a_failed_checkpoint_is_recorded(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """record_checkpoint finds the notice, reads the output of what failed, and closes it with exit status and last lines."""
    aws.always("dynamodb:Query", ok(Items=[asked()]))
    aws.always("dynamodb:UpdateItem", ok())
    aws.always("ssm:GetCommandInvocation", ok(StatusDetails="Failed", ResponseCode=3, StandardErrorContent="disk full\n"))
    invoke("record_checkpoint", result_event(status="Failed"))
    assert aws.counts("dynamodb", "ssm") == {"dynamodb:Query": 1, "dynamodb:UpdateItem": 1, "ssm:GetCommandInvocation": 1}
    (line,) = told(capsys)
    assert (line["outcome"], line["reason"], line["seconds_since_event"]) == ("failed", "exit status 3: disk full", 10)


def test_an_end_is_recorded(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """record_instance_state closes the notice of an instance that ended unsaved, and tells both."""
    aws.always("dynamodb:Query", ok(Items=[asked()]))
    aws.always("dynamodb:UpdateItem", ok())
    invoke("record_instance_state", state_event())
    assert [line["event"] for line in told(capsys)] == ["notice_closed", "instance_gone"]
    assert aws.counts("dynamodb", "ec2", "ssm") == {"dynamodb:Query": 1, "dynamodb:UpdateItem": 2}


def test_an_instance_without_notices_costs_one_read(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """Instances end all the time: one that had no notice is one read and no line."""
    aws.always("dynamodb:Query", ok(Items=[]))
    invoke("record_instance_state", state_event())
    assert (told(capsys), aws.counts("dynamodb")) == ([], {"dynamodb:Query": 1})


def test_an_instance_of_no_job_costs_two_reads(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are jobs, an instance that had neither job nor notice is two reads at its end, one before, and no line."""
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    aws.always("dynamodb:Query", ok(Items=[]))
    for state, reads in (("shutting-down", ["jobs"]), ("terminated", ["jobs", "notices"])):
        aws.calls.clear()
        invoke("record_instance_state", state_event(state=state))
        assert [call.parameters["TableName"] for call in aws.calls] == reads
    assert told(capsys) == []


def test_a_lost_attempt_is_told(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A job's instance that shuts down without notice is one read, one word to the job and one line."""
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    aws.always("dynamodb:Query", ok(Items=[job_item(f"job-{instance_id()}")]))
    aws.always("sfn:SendTaskSuccess", ok())
    invoke("record_instance_state", state_event(state="shutting-down"))
    assert [line["event"] for line in told(capsys)] == ["attempt_lost"]
    assert aws.counts("dynamodb", "sfn") == {"dynamodb:Query": 1, "sfn:SendTaskSuccess": 1}


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("record_notice", interruption_event()),
        ("respond_to_notices", stream([fresh(1)])),
        ("record_checkpoint", result_event()),
        ("record_instance_state", state_event()),
    ],
)
def test_bad_configuration_is_named(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch, name: str, event: object) -> None:
    """A missing variable and a missing table fail the invocation with a sentence that says which."""
    for operation in ("PutItem", "BatchGetItem", "Query"):
        aws.always(f"dynamodb:{operation}", json_error("ResourceNotFoundException", "Requested resource not found"))
    with pytest.raises(ConfigurationError, match="NOTICES_TABLE is notices: there is no such table"):
        invoke(name, event)
    forget_parts()
    monkeypatch.delenv("NOTICES_TABLE")
    with pytest.raises(ConfigurationError, match="the environment variable NOTICES_TABLE is missing"):
        invoke(name, event)


def test_a_table_out_of_reach_fails_the_invocation(aws: AwsOverHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda is to try again fails, when this invocation's time is over: nothing is reported as done."""
    clock = FakeClock(datetime.now(UTC))
    monkeypatch.setattr(parts, "SystemClock", lambda: clock)
    aws.always("dynamodb:PutItem", json_error("InternalServerError", "oops", 500))
    with pytest.raises(Unavailable):
        invoke("record_notice", interruption_event(), Context(left=6_000))
    assert clock.slept == [0.2, 0.4]


SHARED = {"clients", "notices_table", "story_log", "system_clock"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("record_notice", set()),
        ("respond_to_notices", {"ec2_fleet", "jobs", "ssm_commands"}),
        ("record_checkpoint", {"ssm_commands"}),
        ("record_instance_state", {"jobs"}),
    ],
)
def test_a_cold_start_imports_only_what_it_uses(name: str, own: set[str]) -> None:
    """A function imports the adapters that it uses and no others, and botocore without boto3."""
    code = f"import json, sys, functions.{name}.app; print(json.dumps(sorted(sys.modules)))"
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/responder'}"}
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=path).stdout)
    prefix = "spot_responder.adapters."
    assert {module.removeprefix(prefix) for module in modules if module.startswith(prefix)} == SHARED | own
    assert "boto3" not in modules
    assert "pydantic" not in modules
