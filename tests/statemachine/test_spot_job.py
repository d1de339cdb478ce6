"""The job's state machine, run as it is: each choice, each catch and each retry is taken by a test."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.waiting import wait_for
from tests.statemachine.definitions import SPOT_JOB, definition
from tests.statemachine.histories import attempts_per_execution
from tests.statemachine.stage import Stage, seconds_from_now

if TYPE_CHECKING:
    from tests.statemachine.stage import Execution

WORKSHOP = {"JobDuration": "6", "CheckpointDuration": "2"}
WORKSHOP_LAB = {"JobDuration": "2", "CheckpointDuration": "0.2", "WaitForJobFinish": {"Percentage": 100}}
DENIED = "AccessDeniedException"


def test_a_job_finishes(stage: Stage) -> None:
    """A job whose agent says that it is finished ends well, closed in the table, with no instance left."""
    execution = stage.start(WORKSHOP)
    execution.send(result="finished")
    ended = execution.end()
    assert (ended.status, ended.output) == ("SUCCEEDED", {"JobId": execution.name, "Percentage": 100})
    assert (execution.item()["job_status"], "token" in execution.item()) == ("finished", False)
    assert stage.living(execution.name) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"job_minutes": 5, "checkpoint_minutes": 5, "command": "", "environment": "{}", "checkpoint_uri": "s3://bucket/jobs"}),
        (WORKSHOP, {"job_minutes": 6, "checkpoint_minutes": 2, "command": ""}),
        (WORKSHOP_LAB, {"job_minutes": 2, "checkpoint_minutes": 0.2}),
        (
            {"Command": "echo 'a \"b\"' $X", "CheckpointUri": "s3://bucket/mine/", "Environment": {"X": "1", "_Y2": ""}, "JobDuration": 0.5},
            {"command": "echo 'a \"b\"' $X", "checkpoint_uri": "s3://bucket/mine", "environment": '{"X":"1","_Y2":""}', "job_minutes": 0.5},
        ),
    ],
    ids=["nothing", "workshop", "workshop's lab", "a real job"],
)
def test_the_input_reaches_the_job(stage: Stage, given: dict[str, Any], expected: dict[str, Any]) -> None:
    """What the input says is on the job's item for the agent, with defaults for the rest; keys that nobody knows are ignored."""
    execution = stage.start(given)
    item = execution.send(result="finished")
    assert {name: item[name] for name in expected} == expected
    assert (item["job_status"], item["attempt"], item["owner"]) == ("running", 1, 0)
    assert execution.end().status == "SUCCEEDED"


DAY = 86400


def test_a_record_outlives_its_job(stage: Stage) -> None:
    """The record does not expire before the time that the job has, however long, and is kept as long as all else after its end."""
    execution = stage.start({"Timeout": 90 * 24 * 60}, RetentionDays=1)
    item = execution.send(result="finished")
    assert item["expires_at"] == pytest.approx(time.time() + 91 * DAY, abs=60)
    assert execution.end().status == "SUCCEEDED"
    assert execution.item()["expires_at"] == pytest.approx(time.time() + DAY, abs=60)


PLACE = "CheckpointUri: expected s3://bucket or a prefix in it, at most 800 characters"
INVALID: dict[str, tuple[object, list[str]]] = {
    "no object": ([1], ["input: expected a JSON object"]),
    "a text": ("6", ["input: expected a JSON object"]),
    "too large": ({"Notes": "x" * 60001}, ["input: expected at most 60000 characters"]),
    "JobId": ({"JobId": "a b"}, ["JobId: expected 1 to 80 letters, digits, - or _"]),
    "JobId, a number": ({"JobId": 7}, ["JobId: expected 1 to 80 letters, digits, - or _"]),
    "JobDuration": ({"JobDuration": "soon"}, ["JobDuration: expected minutes, a number above 0"]),
    "JobDuration 0": ({"JobDuration": 0}, ["JobDuration: expected minutes, a number above 0"]),
    "CheckpointDuration": ({"CheckpointDuration": "-1"}, ["CheckpointDuration: expected minutes, a number above 0"]),
    "Timeout": ({"Timeout": 1e9}, ["Timeout: expected minutes, a number above 0"]),
    "Command": ({"Command": ""}, ["Command: expected a shell command of at most 8192 characters, none of them NUL"]),
    "Command, too long": ({"Command": "x" * 8193}, ["Command: expected a shell command of at most 8192 characters, none of them NUL"]),
    "CheckpointUri": ({"CheckpointUri": "s3://another/x"}, [PLACE]),
    "CheckpointUri, climbing": ({"CheckpointUri": "s3://bucket//x y"}, [PLACE]),
    "CheckpointUri, too long": ({"CheckpointUri": f"s3://bucket/{'x' * 800}"}, [PLACE]),
    "Environment": ({"Environment": ["A=1"]}, ["Environment: expected an object of names and texts without NUL"]),
    "Environment, a name": ({"Environment": {"A-B": "1"}}, ["Environment: expected an object of names and texts without NUL"]),
    "Environment, a number": ({"Environment": {"A": 1}}, ["Environment: expected an object of names and texts without NUL"]),
    "Environment, too long": ({"Environment": {"A": "x" * 32768}}, ["Environment: expected at most 32768 characters"]),
    "InstanceTypes": ({"InstanceTypes": "m5.large"}, ['InstanceTypes: expected a list such as ["m5.large"]']),
    "InstanceTypes, empty": ({"InstanceTypes": []}, ['InstanceTypes: expected a list such as ["m5.large"]']),
    "InstanceTypes, a word": ({"InstanceTypes": ["large"]}, ['InstanceTypes: expected a list such as ["m5.large"]']),
    "several": (
        {"JobId": "", "Command": 3, "Timeout": "1e3"},
        [
            "JobId: expected 1 to 80 letters, digits, - or _",
            "Timeout: expected minutes, a number above 0",
            "Command: expected a shell command of at most 8192 characters, none of them NUL",
        ],
    ),
}


@pytest.mark.parametrize(("given", "sentences"), INVALID.values(), ids=INVALID)
def test_invalid_input_is_named(stage: Stage, given: object, sentences: list[str]) -> None:
    """Input that cannot be a job's fails at the first state, with a sentence for each key that is wrong; nothing was begun."""
    execution = stage.start(given)
    ended = execution.end()
    assert (ended.status, ended.error, ended.cause.split("; ")) == ("FAILED", "InvalidInput", sentences)
    assert execution.entered() == ["ReadInput", "IsInputValid", "InvalidInput"]


def test_a_name_that_is_no_job_id(stage: Stage) -> None:
    """An execution whose name cannot be a job's id needs a JobId."""
    assert stage.start(name="job.with.dots").end().cause.startswith("JobId: expected one, because the name of the execution cannot be one")
    named = stage.start({"JobId": "dotted"}, name="another.one")
    named.send(result="finished")
    assert named.end().output == {"JobId": "dotted", "Percentage": 100}


def test_an_instance_is_launched_as_the_workshop_knows_it(stage: Stage) -> None:
    """The instance is a Spot Instance of the input's types, bears name, job, attempt and opt-in tag, and is of the launch template."""
    execution = stage.start({"InstanceTypes": ["c5.large", "c5a.large"]})
    instance = stage.instance(execution.send(result="finished")["instance_id"])
    assert {tag["Key"]: tag["Value"] for tag in instance["Tags"] if not tag["Key"].startswith("aws:")} == {
        "Name": "Fis/Spot",
        "spot-responder:job": execution.name,
        "spot-responder:attempt": "1",
        "spot-responder:checkpoint": "enabled",
    }
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["InstanceType"] in ("c5.large", "c5a.large")
    execution.end()


def test_the_opt_in_tag_may_be_the_name(stage: Stage) -> None:
    """Where the operator opts in by Name=Fis/Spot, the instance bears that tag once."""
    execution = stage.start(OptInTagKey="Name", OptInTagValue="Fis/Spot")
    instance = stage.instance(execution.send(result="finished")["instance_id"])
    assert [tag["Value"] for tag in instance["Tags"] if tag["Key"] == "Name"] == ["Fis/Spot"]
    assert execution.end().status == "SUCCEEDED"


# Interruptions and losses


def test_an_interruption_launches_the_next_at_once(stage: Stage) -> None:
    """At an interruption the next attempt is launched while the old instance works on, and knows until when to wait for it."""
    execution = stage.start()
    deadline = seconds_from_now(120)
    first = execution.attempt(1)
    stage.change_job(execution.job_id, owner=1, saved_percent=10)
    execution.send(1, result="interrupted", deadline=deadline)
    second = execution.attempt(2)
    assert (second["previous_dead"], second["handover_until"]) == (False, deadline)
    assert sorted(stage.living(execution.job_id)) == sorted([first["instance_id"], second["instance_id"]])
    execution.send(2, result="finished")
    assert execution.end().status == "SUCCEEDED"
    assert stage.living(execution.job_id) == []


@pytest.mark.parametrize("result", [{"result": "gone", "state": "terminated"}, {"result": "failed", "cause": "exit status 3: no disk"}])
def test_a_lost_attempt_keeps_no_instance(stage: Stage, result: dict[str, str]) -> None:
    """An attempt that is gone or failed ends its instance; the next is launched and need not wait."""
    execution = stage.start()
    first = execution.attempt(1)
    stage.change_job(execution.job_id, owner=1)
    execution.send(1, **result)
    second = execution.attempt(2)
    assert second["previous_dead"] is True
    assert "handover_until" not in second
    assert stage.living(execution.job_id) == [second["instance_id"]] != [first["instance_id"]]
    execution.send(2, result="finished")
    assert execution.end().status == "SUCCEEDED"


def test_the_dead_and_the_living_owner(stage: Stage) -> None:
    """The next attempt waits for the owner of the work as long as that lives, whatever became of attempts that never owned it."""
    execution = stage.start()
    execution.attempt(1)
    stage.change_job(execution.job_id, owner=1, saved_percent=1)
    execution.send(1, result="interrupted", deadline=seconds_from_now(120))
    execution.send(2, result="gone", state="terminated")
    assert execution.attempt(3)["previous_dead"] is False, "attempt 1 works on, though attempt 2 is dead"
    stage.change_job(execution.job_id, owner=3, saved_percent=2)
    execution.send(3, result="gone", state="terminated")
    assert execution.attempt(4)["previous_dead"] is True
    execution.send(4, result="interrupted", deadline=seconds_from_now(120))
    assert execution.attempt(5)["previous_dead"] is True, "attempt 4 was interrupted before it owned anything; the owner is dead as before"
    stage.change_job(execution.job_id, owner=5)
    execution.send(5, result="interrupted", deadline=seconds_from_now(120))
    assert execution.send(6, result="finished")["previous_dead"] is False
    assert execution.end().status == "SUCCEEDED"


def test_a_failing_program_is_tried_and_given_up(stage: Stage) -> None:
    """A program that fails without progress is tried as often as allowed; then its exit status and last lines are the cause."""
    execution = stage.start(BarrenAttempts=1)
    for number in (1, 2):
        stage.change_job(
            execution.send(number, result="failed", cause=f"exit status {number}: no disk")["job_id"], checkpoint=f'{{"sha256":"{number}"}}'
        )
    ended = execution.end()
    assert (ended.status, ended.error) == ("FAILED", "NoProgress")
    assert ended.cause == "2 attempts in a row without progress; the last one: exit status 2: no disk"
    assert execution.item()["job_status"] == "failed"
    assert stage.living(execution.job_id) == []


@pytest.mark.parametrize("saved", [{"saved_percent": 1}, {"checkpoint": '{"sha256":"b"}'}], ids=["percent", "work without percent"])
def test_progress_is_no_barren_attempt(stage: Stage, saved: dict[str, Any]) -> None:
    """An attempt that saved something new is not barren, though its program may tell no percentage."""
    execution = stage.start(BarrenAttempts=1)
    execution.send(1, result="gone", state="terminated")
    execution.attempt(2)
    stage.change_job(execution.job_id, **saved)
    execution.send(2, result="gone", state="terminated")
    execution.send(3, result="gone", state="terminated")
    execution.send(4, result="finished")
    assert execution.end().status == "SUCCEEDED"


def test_an_instance_that_is_gone_is_named(stage: Stage) -> None:
    """Where instances end before their agents can say anything, the cause names the last one, and where it may have said why."""
    execution = stage.start(BarrenAttempts=0)
    attempt = execution.send(result="gone", state="terminated")
    last = f"{attempt['instance_id']}: gone; within an hour, aws ec2 get-console-output may say why"
    assert execution.end().cause == f"1 attempts in a row without progress; the last one: {last}"


def test_a_long_cause_is_cut(stage: Stage) -> None:
    """However much a program says at its end, the cause is one that Step Functions takes."""
    execution = stage.start(BarrenAttempts=0)
    execution.send(result="failed", cause="x" * 40_000)
    assert len(execution.end().cause) == 32_000


def test_a_result_of_nobodys(stage: Stage) -> None:
    """A result that none of ours sends fails the job with a sentence that names it."""
    execution = stage.start()
    execution.send(result="perhaps")
    ended = execution.end()
    assert (ended.error, ended.cause) == ("UnknownResult", "the task token came back with a result that nobody of ours sends: perhaps")


# Capacity


def test_no_capacity_waits(stage: Stage) -> None:
    """Without capacity the launch is tried again after a pause, and the job goes on when there is some."""
    stage.capacity()
    execution = stage.start(LaunchAttempts=1000)
    execution.reaches("WaitForCapacity")
    stage.plenty()
    execution.send(result="finished")
    assert execution.end().status == "SUCCEEDED"


def test_no_capacity_at_all(stage: Stage) -> None:
    """Without capacity for as long as is allowed, the job fails with EC2's reasons, and nothing is left running."""
    stage.capacity()
    execution = stage.start()
    ended = execution.end()
    assert (ended.error, ended.cause.split(":")[0]) == ("NoCapacity", "EC2 launched no spot instance")
    assert "InsufficientInstanceCapacity" in ended.cause
    assert execution.entered().count("Launch") == 3
    assert (stage.living(execution.job_id), execution.item()["job_status"]) == ([], "failed")


def test_on_demand_is_the_way_out(stage: Stage) -> None:
    """Where the operator allows it, a job without Spot capacity runs On-Demand; the next attempt tries Spot again."""
    stage.capacity()
    execution = stage.start(OnDemandFallback="true", LaunchAttempts=1)
    first = stage.instance(execution.attempt(1)["instance_id"])
    assert "InstanceLifecycle" not in first
    stage.plenty()
    execution.send(1, result="gone", state="terminated")
    assert stage.instance(execution.send(2, result="finished")["instance_id"])["InstanceLifecycle"] == "spot"
    assert execution.end().status == "SUCCEEDED"


def test_no_capacity_of_either_kind(stage: Stage) -> None:
    """A job that finds neither Spot nor On-Demand capacity fails with EC2's reasons for the latter."""
    for market in ("spot", "on-demand"):
        stage.capacity(market)
    execution = stage.start(OnDemandFallback="true", LaunchAttempts=1)
    ended = execution.end()
    assert (ended.error, ended.cause.split(":")[0]) == ("NoCapacity", "EC2 launched no on-demand instance")
    assert execution.entered().count("Launch") == 4


def test_a_refused_launch(stage: Stage) -> None:
    """What EC2 refuses it would refuse again: no capacity is waited for, and the job fails with EC2's own words."""
    stage.remote.fail("ec2", "CreateFleet", "UnauthorizedOperation")
    execution = stage.start()
    ended = execution.end()
    assert (ended.status, ended.error) == ("FAILED", "LaunchRefused")
    assert "EC2 launches nothing: UnauthorizedOperation" in ended.cause
    assert "WaitForCapacity" not in execution.entered()


def test_a_launch_that_cannot_be_written_down(stage: Stage) -> None:
    """What fails before EC2 is even asked fails the job with Step Functions' own words, under a name that may be ours."""
    ended = stage.start(OptInTagValue="' & $error('broken') & '").end()
    assert (ended.status, ended.error, "broken" in ended.cause) == ("FAILED", "StepFunctions.QueryEvaluationError", True)


def test_two_subnets_in_one_zone(stage: Stage) -> None:
    """EC2 refuses a fleet over two subnets in one Availability Zone; the cause names the parameter to mend."""
    zone = stage.client("ec2").describe_subnets()["Subnets"][0]
    block = f"{zone['CidrBlock'].rsplit('.', 2)[0]}.240.0/24"
    other = stage.client("ec2").create_subnet(VpcId=zone["VpcId"], CidrBlock=block, AvailabilityZone=zone["AvailabilityZone"])["Subnet"]
    ended = stage.start(SubnetIds=f"{zone['SubnetId']},{other['SubnetId']}").end()
    assert ended.error == "LaunchRefused"
    assert ended.cause.endswith("Give the parameter SubnetIds one subnet for each Availability Zone.")


def test_an_instance_type_named_twice(stage: Stage) -> None:
    """The same instance type twice is one."""
    execution = stage.start({"InstanceTypes": ["m5.large", "m5.large"]})
    execution.send(result="finished")
    assert execution.end().status == "SUCCEEDED"


def test_ec2_in_trouble_is_waited_for(stage: Stage) -> None:
    """Throttled or failing calls of EC2 are waited out like a lack of capacity, longer than a call's own retries last."""
    stage.remote.fail("ec2", "CreateFleet", "RequestLimitExceeded", count=10)
    execution = stage.start(LaunchAttempts=8)
    execution.send(result="finished")
    assert execution.end().status == "SUCCEEDED"
    assert execution.entered().count("WaitForCapacity") == 3


def test_ec2_in_trouble_for_too_long(stage: Stage) -> None:
    """Trouble that does not end fails the job after as many tries as capacity gets, with EC2's words."""
    stage.remote.fail("ec2", "CreateFleet", "RequestLimitExceeded")
    ended = stage.start().end()
    assert (ended.error, "EC2 launches nothing: Request limit exceeded." in ended.cause) == ("NoCapacity", True)


def test_a_recommendation_without_a_replacement(stage: Stage) -> None:
    """Where nothing can be launched after a recommendation, the attempt goes on where it is, and may still finish the job."""
    execution = stage.start()
    before = execution.attempt(1)
    stage.capacity()
    execution.send(1, result="interrupted", kind="rebalance")
    execution.reaches("NoCapacity")
    wait_for(lambda: execution.item()["token"] != before["token"], 30, "another token for the same attempt")
    after = execution.item()
    assert (after["attempt"], after["instance_id"], "handover_until" in after) == (1, before["instance_id"], False)
    assert stage.living(execution.name) == [before["instance_id"]]
    execution.send(1, result="finished")
    assert execution.end().status == "SUCCEEDED"


def test_the_one_before_a_lost_replacement_goes_on(stage: Stage) -> None:
    """Where the replacement is lost before it took over, and no other can be launched, the recommended attempt goes on; no number comes twice."""
    execution = stage.start()
    instance = execution.attempt(1)["instance_id"]
    stage.change_job(execution.job_id, owner=1)
    execution.send(1, result="interrupted", kind="rebalance")
    execution.attempt(2)
    stage.capacity()
    execution.send(2, result="gone", state="terminated")
    execution.reaches("NoCapacity")
    assert execution.attempt(1)["instance_id"] == instance
    stage.plenty()
    execution.send(1, result="interrupted", kind="interruption", deadline=seconds_from_now(100))
    execution.send(3, result="finished")
    assert execution.end().status == "SUCCEEDED"


@pytest.mark.parametrize("happened", ["took over", "handed over", "ended"])
def test_a_recommendation_that_is_over(stage: Stage, happened: str) -> None:
    """Once another attempt has the work, or the recommended one's instance has ended, there is no going back to it."""
    execution = stage.start()
    instance = execution.attempt(1)["instance_id"]
    execution.send(1, result="interrupted", kind="rebalance")
    execution.attempt(2)
    if happened == "ended":
        stage.client("ec2").terminate_instances(InstanceIds=[instance])
    else:
        stage.change_job(execution.job_id, **({"owner": 2} if happened == "took over" else {"owner": 1, "final": 1}))
    stage.capacity()
    execution.send(2, result="gone", state="terminated")
    assert execution.end().error == "NoCapacity"
    assert ("LookAtOldOne" in execution.entered()) == (happened == "ended")


def test_an_old_instance_that_cannot_be_looked_at(stage: Stage) -> None:
    """Where EC2 does not say whether the recommended instance works, the job fails for want of capacity, after some tries."""
    execution = stage.start()
    execution.attempt(1)
    stage.capacity()
    stage.remote.fail("ec2", "DescribeInstances", "RequestLimitExceeded", count=3)
    execution.send(1, result="interrupted", kind="rebalance")
    assert execution.end().error == "NoCapacity"


def test_an_interruption_without_a_replacement(stage: Stage) -> None:
    """After an interruption there is no going back: the job fails, though not before its instance had its two minutes."""
    execution, late = stage.start(), stage.start()
    instance = execution.attempt(1)["instance_id"]
    late.attempt(1)
    stage.remote.fail("ec2", "CreateFleet", "UnauthorizedOperation")
    execution.send(1, result="interrupted", kind="interruption", deadline=seconds_from_now(100_000))
    late.send(1, result="interrupted", kind="interruption", deadline=seconds_from_now(15))
    execution.reaches("WaitForDeadline")
    assert stage.living(execution.name) == [instance]
    execution.stop()
    assert late.end().error == "LaunchRefused"
    assert "WaitForDeadline" in late.entered()


def test_spot_is_refused_where_on_demand_is_allowed(stage: Stage) -> None:
    """What is refused as Spot, such as an account's first, may run On-Demand; nothing is waited for in between."""
    stage.remote.fail("ec2", "CreateFleet", "AuthFailure.ServiceLinkedRoleCreationNotPermitted", status=403, count=3)
    execution = stage.start(OnDemandFallback="true")
    assert "InstanceLifecycle" not in stage.instance(execution.send(1, result="finished")["instance_id"])
    assert execution.end().status == "SUCCEEDED"
    assert "WaitForCapacity" not in execution.entered()


def test_a_recommendation_sets_no_deadline(stage: Stage) -> None:
    """The replacement of an instance that may go on for ever waits until that one hands over."""
    execution = stage.start()
    execution.send(1, result="interrupted", kind="rebalance", deadline=seconds_from_now(600))
    assert "handover_until" not in execution.send(2, result="finished")
    assert execution.end().status == "SUCCEEDED"


# The job's record


def test_a_stopped_job_is_resumed(stage: Stage) -> None:
    """A job that was stopped goes on under its id, from its progress, with the next attempt."""
    first = stage.start({"JobId": "resumed"})
    first.send(1, result="interrupted")
    first.attempt(2)
    first.stop()
    stage.change_job("resumed", job_status="stopped", owner=1, saved_percent=40)
    second = stage.start({"JobId": "resumed"})
    item = second.send(3, result="finished")
    assert (item["execution"], item["saved_percent"], item["previous_dead"]) == (second.arn, 40, True)
    assert second.end().status == "SUCCEEDED"


def test_a_resumed_job_does_what_its_new_input_says(stage: Stage) -> None:
    """A mended command takes the place of the old one, from the same checkpoint; what the new input does not say stays."""
    given = {"JobId": "mended", "Command": "./sum --wrong", "Environment": {"TO": "9"}, "JobDuration": 7, "CheckpointDuration": 3}
    first = stage.start(given)
    first.attempt()
    first.stop()
    stage.change_job("mended", saved_percent=40)
    second = stage.start({"JobId": "mended", "Command": "./sum", "CheckpointDuration": "2"})
    item = second.attempt(2)
    assert (item["command"], item["environment"]) == ("./sum", '{"TO":"9"}')
    assert (item["job_minutes"], item["checkpoint_minutes"], item["saved_percent"]) == (7, 2, 40)
    second.send(2, result="finished")
    assert second.end().status == "SUCCEEDED"


def test_a_finished_job_is_finished(stage: Stage) -> None:
    """A job that is finished is not run again: the execution ends well at once, and launches nothing."""
    stage.put_job("done", job_status="finished", execution="an earlier one")
    execution = stage.start({"JobId": "done"})
    assert execution.end().output == {"JobId": "done", "Percentage": 100}
    assert "Launch" not in execution.entered()


def test_a_job_runs_once(stage: Stage) -> None:
    """A second execution of a job that runs fails with a sentence that names the first, and leaves it alone."""
    first = stage.start({"JobId": "twice"})
    item = first.attempt()
    ended = stage.start({"JobId": "twice"}).end()
    assert ended.error == "AlreadyRunning"
    assert ended.cause == f"JobId: the job twice is run by the execution {first.arn}; stop that first, or choose another JobId"
    assert stage.living("twice") == [item["instance_id"]]
    first.send(result="finished")
    assert first.end().status == "SUCCEEDED"


def test_a_job_whose_execution_is_over_is_taken_over(stage: Stage) -> None:
    """A job that its table calls running, but whose execution was stopped or is long forgotten, is resumed."""
    first = stage.start({"JobId": "orphan"})
    first.attempt()
    first.stop()
    second = stage.start({"JobId": "orphan"})
    second.attempt(2)
    second.stop()
    stage.change_job("orphan", execution=second.arn + "-forgotten")
    third = stage.start({"JobId": "orphan"})
    third.send(3, result="finished")
    assert third.end().status == "SUCCEEDED"
    second.end()


def test_a_record_that_comes_and_goes(stage: Stage) -> None:
    """If the record is gone when it is looked at, it is created."""
    stage.remote.fail("dynamodb", "PutItem", "ConditionalCheckFailedException", count=1)
    execution = stage.start()
    execution.send(result="finished")
    assert execution.end().status == "SUCCEEDED"
    assert execution.entered().count("CreateJob") == 2


def test_another_execution_was_quicker(stage: Stage) -> None:
    """If another execution changes the record while this one takes it over, this one looks again."""
    stage.put_job("contended", job_status="failed", execution="an earlier one")
    stage.remote.fail("dynamodb", "UpdateItem", "ConditionalCheckFailedException", count=1)
    execution = stage.start({"JobId": "contended"})
    execution.send(result="finished")
    assert execution.end().status == "SUCCEEDED"
    assert execution.entered().count("ReadJob") == 2


def test_a_record_that_cannot_be_taken_over(stage: Stage) -> None:
    """A record that is not a job's is looked at some times, never for ever."""
    stage.put_job("strange", job_status="failed")
    ended = stage.start({"JobId": "strange"}).end()
    assert (ended.error, "cannot be taken over: failed, run by nobody" in ended.cause) == ("JobRecordUnclear", True)
    assert stage.item("strange") == {"job_id": "strange", "job_status": "failed"}


def test_a_record_deleted_between_attempts(stage: Stage) -> None:
    """A record that is deleted while the job runs fails it clearly, with no further attempt and no instance left."""
    execution = stage.start()
    token = execution.attempt()["token"]
    stage.delete_job(execution.job_id)
    stage.client("stepfunctions").send_task_success(taskToken=token, output='{"result": "interrupted"}')
    ended = execution.end()
    assert ended.error == "JobRecordMissing"
    assert ended.cause == f"the record of the job {execution.job_id} was deleted from the table jobs while the job ran"
    assert (stage.living(execution.job_id), execution.item()) == ([], {})


def test_a_record_deleted_before_its_attempt(stage: Stage) -> None:
    """A record that is deleted while an instance is sought fails the job clearly, and the instance is ended."""
    stage.capacity()
    execution = stage.start(LaunchAttempts=1000)
    execution.reaches("WaitForCapacity")
    stage.delete_job(execution.job_id)
    stage.plenty()
    assert execution.end().error == "JobRecordMissing"
    assert "Run" in execution.entered()
    assert (stage.living(execution.job_id), execution.item()) == ([], {})


def test_the_old_instance_may_finish_the_job(stage: Stage) -> None:
    """If the job is finished when the next attempt would be launched, it is not."""
    execution = stage.start()
    token = execution.attempt()["token"]
    stage.change_job(execution.job_id, job_status="finished")
    stage.client("stepfunctions").send_task_success(taskToken=token, output='{"result": "interrupted"}')
    assert execution.end().status == "SUCCEEDED"
    assert execution.entered().count("Launch") == 1


def finished_without_capacity(stage: Stage) -> Execution:
    """Let a job be interrupted, find no capacity, and be finished meanwhile by the old instance."""
    execution = stage.start()
    execution.attempt(1)
    stage.capacity()
    execution.send(1, result="interrupted")
    execution.reaches("WaitForCapacity")
    stage.change_job(execution.job_id, job_status="finished")
    return execution


def test_the_old_instance_may_finish_the_job_that_is_given_up(stage: Stage) -> None:
    """If the job is finished while no other instance can be launched, it is, and its record stays so, though the table is busy."""
    execution = finished_without_capacity(stage)
    stage.remote.fail("dynamodb", "GetItem", "ThrottlingException", count=1)
    assert execution.end().status == "SUCCEEDED"
    assert "NoCapacity" in execution.entered()
    assert execution.item()["job_status"] == "finished"


def test_how_a_job_ended_that_nobody_can_read(stage: Stage) -> None:
    """If it cannot be read whether the job that is given up was finished all the same, the execution fails for the reason that it had."""
    execution = finished_without_capacity(stage)
    stage.remote.fail("dynamodb", "GetItem", DENIED)
    execution.reaches("Failed")
    stage.plenty()
    assert execution.end().error == "NoCapacity"
    assert execution.item()["job_status"] == "finished"


def test_a_job_that_another_execution_runs_now(stage: Stage) -> None:
    """A job that was taken over is left to the other: this one fails, and ends no instance."""
    execution = stage.start()
    item = execution.attempt()
    stage.change_job(execution.job_id, execution="another one")
    stage.client("stepfunctions").send_task_success(taskToken=item["token"], output='{"result": "interrupted"}')
    ended = execution.end()
    assert (ended.error, ended.cause) == ("TakenOver", f"the job {execution.job_id} is run by the execution another one now")
    assert stage.living(execution.job_id) == [item["instance_id"]]
    stage.client("ec2").terminate_instances(InstanceIds=[item["instance_id"]])


def test_a_record_that_somebody_changed(stage: Stage) -> None:
    """A job whose record says that it does not run is not run on."""
    execution = stage.start()
    token = execution.attempt()["token"]
    stage.change_job(execution.job_id, job_status="stopped")
    stage.client("stepfunctions").send_task_success(taskToken=token, output='{"result": "interrupted"}')
    ended = execution.end()
    assert ended.error == "JobRecordChanged"
    assert ended.cause.endswith("says that it is stopped while it runs")
    assert stage.living(execution.job_id) == []


# The history


def test_a_long_history_is_continued(stage: Stage) -> None:
    """Before the history is full another execution goes on with the job, again and again, and each ends as the next one does."""
    interruptions = 7
    execution = stage.start({"Command": "work"}, RoundsPerExecution=4)
    stage.change_job(execution.attempt(1)["job_id"], owner=1)
    runners = [execution.arn]
    for number in range(1, interruptions + 1):
        stage.change_job(execution.job_id, saved_percent=10 * number)
        runners.append(execution.send(number, result="interrupted", deadline=seconds_from_now(120))["execution"])
        if number > 1:
            assert execution.attempt(number + 1)["previous_dead"] is False
    last = execution.send(interruptions + 1, result="finished")
    assert (last["command"], last["saved_percent"]) == ("work", 10 * interruptions)
    assert execution.end().output == {"JobId": execution.job_id, "Percentage": 100}
    machine = definition(SPOT_JOB, stage.values | {"RoundsPerExecution": 4})
    assert len({*runners, last["execution"]}) == math.ceil((interruptions + 1) / attempts_per_execution(machine)) == 4
    assert execution.entered().count("ContinueElsewhere") == 1


def test_the_other_executions_failure_is_ours(stage: Stage) -> None:
    """If the execution that goes on fails, this one fails for the same reason."""
    execution = stage.start(RoundsPerExecution=2)
    execution.send(1, result="interrupted")
    execution.send(2, result="perhaps")
    ended = execution.end()
    assert (ended.error, ended.cause) == ("UnknownResult", "the task token came back with a result that nobody of ours sends: perhaps")


def test_a_continuation_that_cannot_begin(stage: Stage) -> None:
    """If no other execution can be started, the job fails with the reason, and nothing is left running."""
    execution = stage.start(RoundsPerExecution=2)
    execution.attempt(1)
    stage.remote.fail("stepfunctions", "StartExecution", DENIED)
    execution.send(1, result="interrupted")
    ended = execution.end()
    assert ended.status == "FAILED"
    assert DENIED in f"{ended.error}{ended.cause}"
    assert (stage.living(execution.job_id), execution.item()["job_status"]) == ([], "failed")


# AWS out of order


@pytest.mark.parametrize(
    ("service", "operation", "state", "code"),
    [
        ("dynamodb", "PutItem", "CreateJob", "ThrottlingException"),
        ("dynamodb", "GetItem", "ReadProgress", "ProvisionedThroughputExceededException"),
        ("ec2", "CreateFleet", "Launch", "RequestLimitExceeded"),
        ("dynamodb", "UpdateItem", "Run", "ThrottlingException"),
        ("ec2", "DescribeInstances", "CleanUp", "RequestLimitExceeded"),
        ("ec2", "TerminateInstances", "EndInstances", "InternalError"),
    ],
)
def test_a_throttled_call_is_made_again(stage: Stage, service: str, operation: str, state: str, code: str) -> None:
    """A call that AWS does not take at once is made again, and the job finishes."""
    stage.remote.fail(service, operation, code, count=1)
    execution = stage.start()
    execution.reaches("Run")  # the test's own reading would be throttled in its stead
    _finish(execution)
    assert execution.end().status == "SUCCEEDED"
    assert (state, "Retry 0", state) in stage.ways[SPOT_JOB]


def test_closing_is_tried_again(stage: Stage) -> None:
    """The end of a job is written down though the table is busy; and an instance's end is asked for again, too."""
    execution = stage.start()
    execution.attempt(1)
    stage.remote.fail("ec2", "TerminateInstances", "RequestLimitExceeded", count=1)
    execution.send(1, result="gone", state="terminated")
    execution.attempt(2)
    stage.remote.fail("dynamodb", "UpdateItem", "ThrottlingException", count=1)
    _finish(execution, 2)
    assert execution.end().status == "SUCCEEDED"
    assert execution.item()["job_status"] == "finished"


def test_taking_over_is_tried_again(stage: Stage) -> None:
    """A job is taken over though the table, or Step Functions, is busy."""
    first = stage.start({"JobId": "busy"})
    first.attempt()
    first.stop()
    stage.remote.fail("dynamodb", "GetItem", "ThrottlingException", count=1)
    stage.remote.fail("dynamodb", "UpdateItem", "ThrottlingException", count=1)
    stage.remote.fail("stepfunctions", "DescribeExecution", "ThrottlingException", count=1)
    second = stage.start({"JobId": "busy"})
    second.reaches("Run")
    _finish(second, 2)
    assert second.end().status == "SUCCEEDED"


def test_continuing_is_tried_again(stage: Stage) -> None:
    """Another execution goes on with the job though Step Functions has too many of them at first."""
    execution = stage.start(RoundsPerExecution=2)
    execution.attempt(1)
    stage.remote.fail("stepfunctions", "StartExecution", "ExecutionLimitExceeded", count=1)
    execution.send(1, result="interrupted")
    _finish(execution, 2)
    assert execution.end().status == "SUCCEEDED"


def _finish(execution: Execution, number: int = 1) -> None:
    execution.send(number, result="finished")


@pytest.mark.parametrize(
    ("service", "operation", "error"),
    [
        ("dynamodb", "PutItem", "DynamoDB.AmazonDynamoDBException"),
        ("dynamodb", "GetItem", "DynamoDB.AmazonDynamoDBException"),
        ("dynamodb", "UpdateItem", "DynamoDb.DynamoDbException"),
    ],
)
def test_a_refused_call_fails_the_job(stage: Stage, service: str, operation: str, error: str) -> None:
    """What AWS refuses for good fails the job with AWS's reason, and leaves nothing running."""
    stage.remote.fail(service, operation, DENIED)
    execution = stage.start()
    ended = execution.end()
    assert (ended.status, ended.error) == ("FAILED", error)
    stage.plenty()
    assert stage.living(execution.job_id) == []


@pytest.mark.parametrize(("service", "operation"), [("dynamodb", "GetItem"), ("stepfunctions", "DescribeExecution"), ("dynamodb", "UpdateItem")])
def test_a_job_that_may_not_be_taken_over(stage: Stage, service: str, operation: str) -> None:
    """If a job's record cannot be read or changed, the execution fails with the reason, and leaves the job alone."""
    job_id = f"denied-{operation}"
    stage.put_job(job_id, job_status="failed" if service == "dynamodb" else "running", execution="an earlier one")
    stage.remote.fail(service, operation, DENIED)
    execution = stage.start({"JobId": job_id})
    execution.reaches("Failed")
    stage.plenty()  # the test's own looks would be refused, too
    ended = execution.end()
    assert (ended.status, DENIED in f"{ended.error}{ended.cause}") == ("FAILED", True)
    assert "CleanUp" not in execution.entered()


def test_an_instance_that_cannot_be_ended_stops_nothing(stage: Stage) -> None:
    """If an attempt's instance cannot be ended, the next one is launched all the same."""
    execution = stage.start()
    execution.attempt(1)
    stage.remote.fail("ec2", "TerminateInstances", "UnauthorizedOperation")
    execution.send(1, result="gone", state="terminated")
    execution.attempt(2)
    stage.plenty()
    _finish(execution, 2)
    assert execution.end().status == "SUCCEEDED"


@pytest.mark.parametrize("operation", ["DescribeInstances", "TerminateInstances"])
def test_cleaning_up_that_fails_does_not_fail_the_job(stage: Stage, operation: str) -> None:
    """A finished job is finished, though its instances could not be ended: they end by themselves."""
    execution = stage.start()
    execution.attempt()
    stage.remote.fail("ec2", operation, "UnauthorizedOperation")
    _finish(execution)
    assert execution.end().status == "SUCCEEDED"
    stage.plenty()
    assert execution.item()["job_status"] == "finished"


def test_closing_that_fails_does_not_fail_the_job(stage: Stage) -> None:
    """A finished job is finished, though that could not be written down."""
    execution = stage.start()
    execution.attempt()
    stage.remote.fail("dynamodb", "UpdateItem", DENIED)
    _finish(execution)
    assert execution.end().status == "SUCCEEDED"
