"""Run Command: who may be sent a command, the limits of a rollout, and every status on the way."""

from pathlib import Path
from typing import Any

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Instance, SpotOptions
from spot_sandbox.ssm_commands import Command, Commands, check_send
from spot_sandbox.ssm_documents import Step
from tests.sandbox.stage import ACCOUNT, REGION, Stage

STEP = Step("run", "true\n", 100.0, "", {})
INVOCATION = "EC2 Command Invocation Status-change Notification"
WHOLE = "EC2 Command Status-change Notification"


class Rollout:
    """Instances on a stage, and commands sent to them."""

    def __init__(self, directory: Path, count: int = 3) -> None:
        self.stage = Stage(directory)
        self.commands = Commands(self.stage.life)
        self.instances = self.stage.run(count)

    @property
    def ids(self) -> list[str]:
        """The ids of all instances."""
        return [instance.id for instance in self.instances]

    def send(self, *steps: Step, **request: Any) -> Command:
        """Send a command, to all instances unless the request says otherwise, and let SSM take it up."""
        if "Targets" not in request:
            request.setdefault("InstanceIds", self.ids)
        command = self.commands.send((ACCOUNT, REGION), ("Doc", "1"), {}, list(steps) or [STEP], request)
        self.stage.clock.pass_seconds(1)
        return command

    def orders(self, instance: Instance) -> list[dict[str, Any]]:
        """Return what the instance was told to run or cancel."""
        return [order for order in self.stage.machines[instance.id].orders if order["do"] in {"run", "cancel"}]

    def finish(self, command: Command, instance: Instance, status: str = "Success", code: int = 0) -> None:
        """Let an instance report its step and its end."""
        say = self.stage.machines[instance.id].on_fact
        outcome = {"status": status, "code": code, "started": 0.0, "ended": 2.5, "stdout": "out", "stderr": "err"}
        say({"say": "step", "id": command.id, "name": "run", **outcome})
        say({"say": "finished", "id": command.id})

    def statuses(self, command: Command) -> list[tuple[str, str]]:
        """Return each invocation's status and its details."""
        return [(invocation.status, invocation.details) for invocation in command.invocations.values()]


@pytest.fixture
def rollout(tmp_path: Path) -> Rollout:
    """Three managed instances."""
    return Rollout(tmp_path)


def _refused(rollout: Rollout, ids: list[str]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        rollout.send(InstanceIds=ids)
    return refused.value


def test_one_unknown_id_fails_the_whole_call(rollout: Rollout) -> None:
    """An id that SSM does not know fails the call for all, and is not named."""
    error = _refused(rollout, [*rollout.ids, "i-0123456789abcdef0"])
    assert error.code == "InvalidInstanceId"
    assert "i-" not in error.message
    assert all(not rollout.orders(instance) for instance in rollout.instances)


def test_stopped_instance_fails_the_whole_call(tmp_path: Path) -> None:
    """An instance that is registered but does not run fails the call, and is named."""
    rollout = Rollout(tmp_path, 1)
    stopped = rollout.stage.run(spot=SpotOptions("persistent", "stop"))[0]
    rollout.stage.life.stop([stopped])
    error = _refused(rollout, [*rollout.ids, stopped.id])
    assert (error.code, error.message) == ("InvalidInstanceId", f"Instances [[{stopped.id}]] not in a valid state for account {ACCOUNT}")


def test_instance_without_profile_is_not_managed(rollout: Rollout) -> None:
    """An instance without an instance profile never registers with SSM."""
    bare = rollout.stage.run(profile=None)[0]
    assert bare not in rollout.commands.managed(ACCOUNT, REGION)
    assert _refused(rollout, [bare.id]).code == "InvalidInstanceId"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"InstanceIds": ["i-1"] * 2}, "DuplicateInstanceId"),
        ({"InstanceIds": [f"i-{n}" for n in range(51)]}, "ValidationException"),
        ({}, "InvalidInstanceId"),
        ({"InstanceIds": ["i-1"], "Targets": [{"Key": "tag:a", "Values": ["b"]}]}, "InvalidTarget"),
        ({"InstanceIds": ["i-1"], "TimeoutSeconds": 29}, "ValidationException"),
    ],
)
def test_calls_that_are_refused(request_: dict[str, Any], code: str) -> None:
    """Duplicates, more than 50 ids, no or two kinds of targets, a timeout under 30 s."""
    check_send({"InstanceIds": [f"i-{n}" for n in range(50)], "TimeoutSeconds": 30})
    with pytest.raises(ApiError) as refused:
        check_send(request_)
    assert refused.value.code == code


def test_invocations_are_not_known_at_once(rollout: Rollout) -> None:
    """Right after SendCommand, GetCommandInvocation does not find the invocation; a moment later it does."""
    command = rollout.commands.send((ACCOUNT, REGION), ("Doc", "1"), {}, [STEP], {"InstanceIds": rollout.ids})
    with pytest.raises(ApiError) as refused:
        rollout.commands.invocation(ACCOUNT, REGION, command.id, rollout.ids[0])
    assert refused.value.code == "InvocationDoesNotExist"
    rollout.stage.clock.pass_seconds(1)
    assert rollout.commands.invocation(ACCOUNT, REGION, command.id, rollout.ids[0])[1].status == "InProgress"


def test_success_everywhere(rollout: Rollout) -> None:
    """All instances run it, report, and the command is a success; each status is an event."""
    command = rollout.send()
    for instance in rollout.instances:
        rollout.finish(command, instance)
    assert rollout.statuses(command) == [("Success", "Success")] * 3
    assert (command.status, command.describe()["CompletedCount"]) == ("Success", 3)
    told = rollout.stage.told()
    assert [status for kind, status in told if kind == INVOCATION] == ["Pending"] * 3 + ["InProgress"] * 3 + ["Success"] * 3
    assert [status for kind, status in told if kind == WHOLE] == ["InProgress", "Success"]


def test_environment_of_the_script(rollout: Rollout) -> None:
    """The script gets what the SSM agent gives it, and the document's own variables."""
    rollout.send(Step("run", "true\n", 100.0, "", {"SSM_Kind": "rebalance"}))
    order = rollout.orders(rollout.instances[0])[0]
    environment = order["steps"][0]["environment"]
    assert environment["AWS_SSM_INSTANCE_ID"] == rollout.ids[0]
    assert environment["AWS_SSM_REGION_NAME"] == REGION
    assert environment["SSM_Kind"] == "rebalance"


def test_result_of_an_invocation(rollout: Rollout) -> None:
    """GetCommandInvocation has status, response code, times and both outputs."""
    command = rollout.send(InstanceIds=rollout.ids[:1])
    rollout.finish(command, rollout.instances[0], "Failed", 7)
    result = command.result(command.invocations[rollout.ids[0]], None)
    assert (result["Status"], result["StatusDetails"], result["ResponseCode"]) == ("Failed", "Failed", 7)
    assert (result["StandardOutputContent"], result["StandardErrorContent"]) == ("out", "err")
    assert (result["ExecutionStartDateTime"], result["ExecutionElapsedTime"]) == ("1970-01-01T00:00:00.000Z", "PT2.500S")


def test_step_must_be_named_when_there_are_several(rollout: Rollout) -> None:
    """With two steps GetCommandInvocation wants to know which."""
    command = rollout.send(STEP, Step("more", "true\n", 1.0, "", {}))
    invocation = command.invocations[rollout.ids[0]]
    assert command.result(invocation, "more")["PluginName"] == "more"
    with pytest.raises(ApiError) as refused:
        command.result(invocation, None)
    assert refused.value.code == "InvalidPluginName"


def test_first_failure_stops_the_rest(rollout: Rollout) -> None:
    """MaxErrors is 0 by default: what was not sent yet when one fails is never sent."""
    command = rollout.send(MaxConcurrency="1")
    rollout.finish(command, rollout.instances[0], "Failed", 1)
    assert rollout.statuses(command) == [("Failed", "Failed"), ("Cancelled", "Terminated"), ("Cancelled", "Terminated")]
    assert (command.status, command.details) == ("Failed", "Failed")
    assert not rollout.orders(rollout.instances[1])


def test_failures_within_max_errors_stop_nothing(rollout: Rollout) -> None:
    """With MaxErrors 100 % the others get theirs, and the command is incomplete."""
    command = rollout.send(MaxConcurrency="1", MaxErrors="100%")
    rollout.finish(command, rollout.instances[0], "Failed", 1)
    rollout.finish(command, rollout.instances[1])
    rollout.finish(command, rollout.instances[2])
    assert [status for status, _ in rollout.statuses(command)] == ["Failed", "Success", "Success"]
    assert (command.status, command.details) == ("Failed", "Incomplete")


def test_concurrency(rollout: Rollout) -> None:
    """No more than MaxConcurrency instances run it at once; a share is rounded up."""
    command = rollout.send(MaxConcurrency="34%")
    assert [status for status, _ in rollout.statuses(command)] == ["InProgress", "InProgress", "Pending"]
    rollout.finish(command, rollout.instances[0])
    assert [status for status, _ in rollout.statuses(command)] == ["Success", "InProgress", "InProgress"]


def test_offline_agent_times_out_and_the_others_get_theirs(rollout: Rollout) -> None:
    """An agent that is cut off delays its invocation until the command expires; that counts as no error."""
    rollout.instances[0].agent_online = False
    command = rollout.send(TimeoutSeconds=30)
    assert rollout.statuses(command)[0] == ("Delayed", "Delayed")
    rollout.finish(command, rollout.instances[1])
    rollout.finish(command, rollout.instances[2])
    rollout.stage.clock.pass_seconds(128)
    assert not command.invocations[rollout.ids[0]].over
    rollout.stage.clock.pass_seconds(2)
    assert rollout.statuses(command)[0] == ("TimedOut", "DeliveryTimedOut")
    assert command.describe()["ErrorCount"] == 0
    assert (command.status, command.details) == ("TimedOut", "DeliveryTimedOut")


def test_agent_that_comes_back_gets_its_command(rollout: Rollout) -> None:
    """What was delayed is delivered when the agent is online again."""
    instance = rollout.instances[0]
    instance.agent_online = False
    command = rollout.send(InstanceIds=[instance.id])
    rollout.stage.life.set_agent(instance, online=True)
    assert rollout.statuses(command) == [("InProgress", "InProgress")]
    assert len(rollout.orders(instance)) == 1


def test_execution_timeout_is_an_error(rollout: Rollout) -> None:
    """A step that outlasts its time is TimedOut, in detail ExecutionTimedOut, and counts as an error."""
    command = rollout.send()
    rollout.finish(command, rollout.instances[0], "TimedOut", -1)
    assert rollout.statuses(command)[0] == ("TimedOut", "ExecutionTimedOut")
    assert command.describe()["ErrorCount"] == 1


def test_instance_that_ends_meanwhile_stays_in_progress_until_expiry(rollout: Rollout) -> None:
    """An instance that is gone can say nothing more: its invocation runs until the command expires."""
    command = rollout.send(TimeoutSeconds=30)
    rollout.stage.life.terminate([rollout.instances[0]])
    rollout.finish(command, rollout.instances[1])
    rollout.finish(command, rollout.instances[2])
    assert rollout.statuses(command)[0] == ("InProgress", "InProgress")
    assert command.status == "InProgress"
    rollout.stage.clock.pass_seconds(130)
    assert rollout.statuses(command)[0] == ("TimedOut", "DeliveryTimedOut")


def test_instance_that_ended_before_delivery_is_undeliverable(rollout: Rollout) -> None:
    """What waits for its turn cannot be delivered to an instance that has ended."""
    command = rollout.send(MaxConcurrency="1", MaxErrors="100%")
    rollout.stage.life.terminate([rollout.instances[1]])
    rollout.finish(command, rollout.instances[0])
    assert rollout.statuses(command)[1] == ("Failed", "Undeliverable")
    assert rollout.statuses(command)[2] == ("InProgress", "InProgress")


def test_cancel(rollout: Rollout) -> None:
    """A cancelled command ends where it runs, and is not sent where it does not run yet."""
    command = rollout.send(MaxConcurrency="1")
    rollout.commands.cancel(command, None)
    assert rollout.statuses(command) == [("Cancelling", "Cancelling"), ("Cancelled", "Cancelled"), ("Cancelled", "Cancelled")]
    assert rollout.orders(rollout.instances[0])[-1]["do"] == "cancel"
    rollout.finish(command, rollout.instances[0], "Cancelled", -1)
    assert command.status == "Cancelled"


def test_cancel_of_one_instance_leaves_the_others(rollout: Rollout) -> None:
    """CancelCommand with ids ends the command on those only."""
    command = rollout.send()
    rollout.commands.cancel(command, rollout.ids[:1])
    assert [status for status, _ in rollout.statuses(command)] == ["Cancelling", "InProgress", "InProgress"]


def test_targets_by_tag(rollout: Rollout) -> None:
    """A target by tag means the running managed instances that bear it; none is a command without invocations."""
    rollout.stage.life.tag(rollout.instances[0], {"team": "a"})
    command = rollout.send(Targets=[{"Key": "tag:team", "Values": ["a"]}])
    assert list(command.invocations) == rollout.ids[:1]
    nobody = rollout.send(Targets=[{"Key": "tag:team", "Values": ["z"]}])
    assert (nobody.status, nobody.details) == ("Success", "NoInstancesInTag")


def test_skipped_step_is_a_success(rollout: Rollout) -> None:
    """A step for another platform is not sent to the instance and counts as a success."""
    command = rollout.send(Step("windows", None, 1.0, "", {}), STEP, InstanceIds=rollout.ids[:1])
    assert [step["name"] for step in rollout.orders(rollout.instances[0])[0]["steps"]] == ["run"]
    rollout.finish(command, rollout.instances[0])
    assert command.status == "Success"


def test_output_is_cut_in_lists() -> None:
    """ListCommandInvocations shows 2,500 characters of a step's output."""
    from spot_sandbox.ssm_commands import Plugin  # noqa: PLC0415  only here

    shown = Plugin("run", stdout="x" * 5000).describe()["Output"]
    assert len(shown) == 2500
    assert shown.endswith("--output truncated--")


def test_rebooting_instance_gets_its_command_afterwards(rollout: Rollout) -> None:
    """A command for an instance that boots waits until its agent is up."""
    instance = rollout.instances[0]
    rollout.stage.life.reboot([instance])
    command = rollout.send(InstanceIds=[instance.id])
    assert rollout.statuses(command) == [("Delayed", "Delayed")]
    rollout.stage.machines[instance.id].on_fact({"say": "booted"})
    assert rollout.statuses(command) == [("InProgress", "InProgress")]
