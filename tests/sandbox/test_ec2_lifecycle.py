"""The life of instances: states, events, interruptions and Spot requests, with a clock turned by hand."""

from pathlib import Path

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import SpotOptions
from tests.sandbox.stage import ACCOUNT, REGION, Stage, spec

STATE = "EC2 Instance State-change Notification"
WARNING = "EC2 Spot Instance Interruption Warning"
PERSISTENT = SpotOptions("persistent", "stop")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage at true time."""
    return Stage(tmp_path)


def test_launch_goes_from_pending_to_running(stage: Stage) -> None:
    """An instance is pending at first, then running before it has booted, with an event for each."""
    instance = stage.life.launch(ACCOUNT, REGION, spec(), 1)[0]
    assert instance.state == "pending"
    stage.clock.pass_seconds(5)
    assert (instance.state, instance.booted) == ("running", False)
    assert [fact for kind, fact in stage.told() if kind == STATE] == ["pending", "running"]


def test_only_booted_instances_with_a_profile_are_managed(stage: Stage) -> None:
    """SSM knows an instance once it has booted, and never one without an instance profile."""
    fresh = stage.life.launch(ACCOUNT, REGION, spec(), 1)[0]
    bare = stage.run(profile=None)[0]
    assert (fresh.managed, bare.managed) == (False, False)
    stage.machines[fresh.id].on_fact({"say": "booted"})
    assert fresh.managed


def test_launch_is_one_reservation(stage: Stage) -> None:
    """Instances of one call share a reservation, those of another have their own, and all addresses differ."""
    first, second = stage.life.launch(ACCOUNT, REGION, spec(), 3), stage.life.launch(ACCOUNT, REGION, spec(), 1)
    assert len({i.reservation_id for i in first}) == 1
    assert first[0].reservation_id != second[0].reservation_id
    assert len({i.private_ip for i in first + second}) == 4


def test_empty_pool_refuses_all_or_nothing(stage: Stage) -> None:
    """A launch of two into a pool with one instance fails and takes nothing."""
    stage.life.capacity.limit("spot", {"*": 1})
    with pytest.raises(ApiError) as refused:
        stage.life.launch(ACCOUNT, REGION, spec(), 2)
    assert refused.value.code == "InsufficientInstanceCapacity"
    assert stage.life.of(ACCOUNT, REGION) == []
    assert len(stage.life.launch(ACCOUNT, REGION, spec(), 1)) == 1


def test_terminate_shuts_the_machine_down(stage: Stage) -> None:
    """Termination goes through shutting-down, gives the machine its grace, and leaves EC2's reasons."""
    instance = stage.run()[0]
    stage.life.terminate([instance])
    assert [fact for _, fact in stage.told()] == ["shutting-down", "terminated"]
    assert stage.machines[instance.id].orders[-1] == {"do": "shutdown", "grace": 30.0}
    shown = instance.describe()
    assert shown["StateReason"] == {"Code": "Client.UserInitiatedShutdown", "Message": "Client.UserInitiatedShutdown: User initiated shutdown"}
    assert shown["StateTransitionReason"] == "User initiated (2026-11-22 10:01:00 GMT)"
    assert stage.life.requests[instance.spot_request_id or ""].status == "instance-terminated-by-user"


def test_deaf_machine_is_destroyed(stage: Stage) -> None:
    """A machine that does not obey the shutdown loses its power after the grace."""
    instance = stage.run()[0]
    machine = stage.machines[instance.id]
    machine.deaf = True
    stage.life.terminate([instance])
    assert instance.state == "shutting-down"
    stage.clock.pass_seconds(36)
    assert machine.destroyed
    assert instance.state == "terminated"


def test_terminated_instances_are_described_for_an_hour(stage: Stage) -> None:
    """EC2 shows a terminated instance for about an hour and then does not know it."""
    instance = stage.run()[0]
    stage.life.terminate([instance])
    stage.clock.pass_seconds(3599)
    assert stage.life.pick(ACCOUNT, REGION, [instance.id]) == [instance]
    stage.clock.pass_seconds(2)
    with pytest.raises(ApiError, match="does not exist"):
        stage.life.pick(ACCOUNT, REGION, [instance.id])


def test_other_regions_and_accounts_see_nothing(stage: Stage) -> None:
    """Instances exist in one account and region only."""
    stage.run()
    assert stage.life.of(ACCOUNT, "eu-west-1") == []
    assert stage.life.of("000000000000", REGION) == []


def test_warning_comes_two_minutes_before_the_end(stage: Stage) -> None:
    """The warning is an event and metadata; 120 s later the instance is gone, for lack of capacity."""
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate")
    assert stage.told() == [(WARNING, "terminate")]
    shown = stage.machines[instance.id].orders[-1]["set"]
    assert shown["meta-data/spot/instance-action"] == '{"action": "terminate", "time": "2026-11-22T10:03:00Z"}'
    assert shown["meta-data/spot/termination-time"] == "2026-11-22T10:03:00Z"
    request = stage.life.requests[instance.spot_request_id or ""]
    assert (request.state, request.status) == ("active", "marked-for-termination")
    stage.clock.pass_seconds(119)
    assert instance.state == "running"
    stage.clock.pass_seconds(1)
    assert instance.state == "terminated"
    assert instance.describe()["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert (request.state, request.status) == ("closed", "instance-terminated-no-capacity")


def test_copies_of_a_warning_are_the_same_event(stage: Stage) -> None:
    """EventBridge may deliver twice: the copies have one id and one time."""
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate", copies=2)
    assert len(stage.events) == 2
    assert len({(event.id, event.time) for event in stage.events}) == 1


def test_second_warning_does_not_put_the_end_off(stage: Stage) -> None:
    """Another warning is another event, and the end stays where it was."""
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate")
    stage.clock.pass_seconds(60)
    stage.life.warn(instance, "terminate")
    assert len({event.id for event in stage.events}) == 2
    stage.clock.pass_seconds(60)
    assert instance.state == "terminated"


def test_time_is_scaled(tmp_path: Path) -> None:
    """At a tenth of the time the end comes after 12 s, and the metadata says so."""
    stage = Stage(tmp_path, scale=0.1)
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate")
    assert "10:01:12Z" in stage.machines[instance.id].orders[-1]["set"]["meta-data/spot/instance-action"]
    stage.clock.pass_seconds(12)
    assert instance.state == "terminated"


def test_stop_interruption_leaves_a_stopped_instance(stage: Stage) -> None:
    """With action stop the instance can be started again, and its request is disabled meanwhile."""
    instance = stage.run(spot=PERSISTENT)[0]
    stage.life.warn(instance, "stop")
    stage.clock.pass_seconds(120)
    request = stage.life.requests[instance.spot_request_id or ""]
    assert (instance.state, request.state, request.status) == ("stopped", "disabled", "instance-stopped-no-capacity")
    stage.life.start([instance])
    assert (instance.state, instance.warned, request.status) == ("pending", None, "fulfilled")


def test_hibernation_starts_at_once(stage: Stage) -> None:
    """Hibernate gives no two minutes."""
    instance = stage.run(spot=PERSISTENT)[0]
    stage.life.warn(instance, "hibernate")
    stage.clock.pass_seconds(0)
    assert instance.state == "stopped"
    assert stage.told()[0] == (WARNING, "hibernate")


def test_termination_before_the_end_cancels_the_interruption(stage: Stage) -> None:
    """An instance that its owner terminates after the warning was terminated by the user."""
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate")
    stage.life.terminate([instance])
    stage.clock.pass_seconds(300)
    assert stage.life.requests[instance.spot_request_id or ""].status == "instance-terminated-by-user"


def test_one_time_spot_instances_cannot_be_stopped(stage: Stage) -> None:
    """StopInstances is refused for a one-time Spot request, with EC2's sentence."""
    instance = stage.run()[0]
    with pytest.raises(ApiError, match="associated with a one-time Spot Instance request") as refused:
        stage.life.stop([instance])
    assert refused.value.code == "UnsupportedOperation"


def test_power_off_ends_by_the_shutdown_behaviour(stage: Stage) -> None:
    """What shuts itself down is stopped or terminated as it was launched to be; a one-time Spot Instance is gone."""
    outcomes = []
    for changes in ({"spot": None}, {"spot": None, "shutdown_behavior": "terminate"}, {}):
        instance = stage.run(**changes)[0]
        stage.machines[instance.id].on_fact({"say": "poweroff"})
        outcomes.append((instance.state, instance.state_reason))
    reason = "Client.InstanceInitiatedShutdown"
    assert outcomes == [("stopped", reason), ("terminated", reason), ("terminated", reason)]


def test_lost_machine_is_an_internal_error(stage: Stage) -> None:
    """A machine that ends unasked terminates its instance with a server's reason."""
    instance = stage.run()[0]
    stage.machines[instance.id].on_end()
    assert (instance.state, instance.state_reason) == ("terminated", "Server.InternalError")


def test_forgotten_instance_is_unknown_and_silent(stage: Stage) -> None:
    """A forgotten instance is unknown at once, its machine has ended, and no event tells of it."""
    instance = stage.run()[0]
    stage.life.forget(instance)
    assert stage.machines[instance.id].destroyed
    assert stage.events == []
    with pytest.raises(ApiError, match="does not exist"):
        stage.life.pick(ACCOUNT, REGION, [instance.id])


def test_forgetting_takes_the_interruption_along(stage: Stage) -> None:
    """No end comes for an instance that was forgotten after its warning."""
    instance = stage.run()[0]
    stage.life.warn(instance, "terminate")
    stage.life.forget(instance)
    stage.events.clear()
    stage.clock.pass_seconds(300)
    assert stage.events == []


def test_spot_request_waits_for_capacity(stage: Stage) -> None:
    """A request that finds no capacity stays open and says why, until there is some."""
    stage.life.capacity.limit("spot", {"*": 0})
    request = stage.life.request_spot(ACCOUNT, REGION, spec(), {})
    assert (request.state, request.status) == ("open", "pending-evaluation")
    stage.clock.pass_seconds(10)
    assert (request.state, request.status, request.instance_id) == ("open", "capacity-not-available", None)
    stage.life.capacity.limit("spot", {"*": None})
    stage.clock.pass_seconds(10)
    assert (request.state, request.status) == ("active", "fulfilled")
    assert stage.life.instances[request.instance_id or ""].spot_request_id == request.id


def test_cancelled_request_keeps_its_instance(stage: Stage) -> None:
    """Cancelling an active request leaves its instance running."""
    instance = stage.run()[0]
    request = stage.life.requests[instance.spot_request_id or ""]
    stage.life.cancel_request(request)
    assert (request.state, request.status, instance.state) == ("cancelled", "request-canceled-and-instance-running", "running")


def test_persistent_request_launches_again(stage: Stage) -> None:
    """After an interruption a persistent request opens again and gets a new instance."""
    instance = stage.run(spot=SpotOptions("persistent", "terminate"))[0]
    request = stage.life.requests[instance.spot_request_id or ""]
    stage.life.warn(instance, "terminate")
    stage.clock.pass_seconds(130)
    assert instance.state == "terminated"
    assert request.state == "active"
    assert request.instance_id not in (None, instance.id)


def test_tags_reach_the_metadata(stage: Stage) -> None:
    """A changed tag shows in the metadata of an instance that shows its tags, a removed one vanishes there."""
    options = {"InstanceMetadataTags": "enabled", "HttpTokens": "required", "HttpEndpoint": "enabled"}
    instance = stage.run(metadata_options=options)[0]
    stage.life.tag(instance, {"a": "1"}, removed=["Name"])
    assert instance.tags == {"a": "1"}
    assert stage.machines[instance.id].orders[-1]["set"] == {"meta-data/tags/instance/Name": None, "meta-data/tags/instance/a": "1"}


def test_reboot_keeps_the_state(stage: Stage) -> None:
    """A reboot starts a new machine; EC2 goes on to say running and emits nothing."""
    instance = stage.run()[0]
    before = stage.machines[instance.id]
    stage.life.reboot([instance])
    assert before.destroyed
    assert stage.machines[instance.id] is not before
    assert (instance.state, instance.booted, stage.events) == ("running", False, [])
