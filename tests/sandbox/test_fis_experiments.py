"""Experiments on a stage: order of the actions, their effect on the instances, and every way they end."""

from pathlib import Path
from typing import Any

import pytest

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import SpotOptions
from spot_sandbox.fis_experiments import Experiment, Experiments
from tests.sandbox.stage import ACCOUNT, REGION, Stage
from tests.sandbox.test_fis_templates import template

REBALANCE = ("EC2 Instance Rebalance Recommendation", None)
WARNING = ("EC2 Spot Instance Interruption Warning", "terminate")
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"


class Laboratory:
    """Instances on a stage and the experiments made with them."""

    def __init__(self, directory: Path) -> None:
        self.stage = Stage(directory)
        self.ringing = False
        self.role_exists = True
        self.experiments = Experiments(self.stage.life, lambda *_: self.ringing, lambda _: self.role_exists)

    def start(self, content: dict[str, Any], mode: str = "run-all") -> Experiment:
        """Start an experiment from a template of this content."""
        kept = self.experiments.create(ACCOUNT, REGION, content, {})
        return self.experiments.start(ACCOUNT, REGION, kept, {}, mode)

    def states(self, experiment: Experiment) -> tuple[str, dict[str, str]]:
        """Return the experiment's status and those of its actions."""
        return experiment.status, {name: run.status for name, run in experiment.actions.items()}

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.stage.clock.pass_seconds(seconds)


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """A stage for experiments."""
    return Laboratory(tmp_path)


def test_the_workshops_experiment(laboratory: Laboratory) -> None:
    """Three minutes nothing, then rebalance and warning together, two minutes later the end."""
    instance = laboratory.stage.run()[0]
    experiment = laboratory.start(template())
    assert experiment.status == "initiating"
    laboratory.pass_seconds(1)
    assert laboratory.states(experiment) == ("running", {"Wait": "running", "Interrupt": "pending"})
    laboratory.pass_seconds(179)
    assert laboratory.stage.told() == []
    laboratory.pass_seconds(1)
    assert laboratory.stage.told() == [REBALANCE, WARNING]
    assert laboratory.states(experiment) == ("running", {"Wait": "completed", "Interrupt": "running"})
    laboratory.pass_seconds(120)
    assert instance.state == "terminated"
    assert laboratory.stage.life.requests[instance.spot_request_id or ""].status == "instance-terminated-by-experiment"
    assert laboratory.states(experiment) == ("completed", {"Wait": "completed", "Interrupt": "completed"})


def test_rebalance_comes_at_the_start_and_the_warning_two_minutes_before_the_end(laboratory: Laboratory) -> None:
    """With five minutes before the interruption the recommendation comes three minutes before the warning."""
    content = template()
    del content["actions"]["Wait"], content["actions"]["Interrupt"]["startAfter"]
    content["actions"]["Interrupt"]["parameters"]["durationBeforeInterruption"] = "PT5M"
    laboratory.stage.run()
    laboratory.start(content)
    laboratory.pass_seconds(180)
    assert laboratory.stage.told() == [REBALANCE]
    laboratory.pass_seconds(1)
    assert laboratory.stage.told() == [REBALANCE, WARNING]


def test_nobody_there_fails_the_experiment(laboratory: Laboratory) -> None:
    """An empty target fails with FIS's own reason, before any action."""
    experiment = laboratory.start(template())
    laboratory.pass_seconds(1)
    assert experiment.describe()["state"] == {"status": "failed", "reason": "Target resolution returned empty set"}
    assert laboratory.states(experiment)[1] == {"Wait": "cancelled", "Interrupt": "cancelled"}


def test_empty_targets_may_be_skipped(laboratory: Laboratory) -> None:
    """With emptyTargetResolutionMode skip the action is skipped and the rest goes on."""
    experiment = laboratory.start(template() | {"experimentOptions": {"emptyTargetResolutionMode": "skip"}})
    laboratory.pass_seconds(200)
    assert laboratory.states(experiment) == ("completed", {"Wait": "completed", "Interrupt": "skipped"})


def test_targets_are_resolved_once(laboratory: Laboratory) -> None:
    """An instance launched after the start is not hit."""
    laboratory.stage.run()
    experiment = laboratory.start(template())
    laboratory.pass_seconds(1)
    late = laboratory.stage.run()[0]
    laboratory.pass_seconds(400)
    assert late.state == "running"
    assert late.arn not in experiment.describe()["targets"]["Spot"]["resourceArns"]


def test_more_than_five_interruptions_fail(laboratory: Laboratory) -> None:
    """Six Spot Instances are too many for one action: it fails, and with it the experiment; nobody is warned."""
    laboratory.stage.run(6)
    experiment = laboratory.start(template())
    laboratory.pass_seconds(200)
    assert laboratory.states(experiment) == ("failed", {"Wait": "completed", "Interrupt": "failed"})
    assert laboratory.stage.told() == []


def test_instance_that_ended_meanwhile_fails_the_interruption(laboratory: Laboratory) -> None:
    """A target that no longer runs when its turn comes fails the action."""
    instance = laboratory.stage.run()[0]
    experiment = laboratory.start(template())
    laboratory.pass_seconds(10)
    laboratory.stage.life.terminate([instance])
    laboratory.pass_seconds(200)
    assert experiment.status == "failed"
    assert instance.id in experiment.reason


def _ec2_action(action: str, **parameters: str) -> dict[str, Any]:
    content = template()
    content["targets"]["Spot"]["resourceType"] = "aws:ec2:instance"
    content["actions"] = {"Act": {"actionId": action, "parameters": parameters, "targets": {"Instances": "Spot"}}}
    return content


def test_terminate_gives_no_notice(laboratory: Laboratory) -> None:
    """aws:ec2:terminate-instances ends them at once, without a warning."""
    instances = laboratory.stage.run(6)
    experiment = laboratory.start(_ec2_action("aws:ec2:terminate-instances"))
    laboratory.pass_seconds(3)
    assert {instance.state for instance in instances} == {"terminated"}
    assert WARNING not in laboratory.stage.told()
    assert experiment.status == "completed"


def test_stop_and_start_again(laboratory: Laboratory) -> None:
    """aws:ec2:stop-instances starts them again when told to."""
    instance = laboratory.stage.run(spot=SpotOptions("persistent", "stop"))[0]
    experiment = laboratory.start(_ec2_action("aws:ec2:stop-instances", startInstancesAfterDuration="PT1M"))
    laboratory.pass_seconds(30)
    assert instance.state == "stopped"
    laboratory.pass_seconds(60)
    assert instance.state == "running"
    assert experiment.status == "completed"


def test_one_time_spot_instances_fail_the_stop(laboratory: Laboratory) -> None:
    """What EC2 refuses fails the action with EC2's sentence."""
    laboratory.stage.run()
    experiment = laboratory.start(_ec2_action("aws:ec2:stop-instances"))
    laboratory.pass_seconds(3)
    assert "one-time Spot Instance request" in experiment.describe()["actions"]["Act"]["state"]["reason"]


def test_stopped_experiment_does_nothing_more(laboratory: Laboratory) -> None:
    """A stop before the warning cancels it; a stop after the end is refused."""
    instance = laboratory.stage.run()[0]
    experiment = laboratory.start(template())
    laboratory.pass_seconds(60)
    laboratory.experiments.stop(experiment)
    assert laboratory.states(experiment) == ("stopping", {"Wait": "stopped", "Interrupt": "cancelled"})
    laboratory.pass_seconds(400)
    assert (experiment.status, instance.state, laboratory.stage.told()) == ("stopped", "running", [])
    with pytest.raises(ApiError, match="cannot be stopped"):
        laboratory.experiments.stop(experiment)


def test_alarm_stops_the_experiment(laboratory: Laboratory) -> None:
    """An alarm that goes off while it runs halts the experiment."""
    laboratory.stage.run()
    experiment = laboratory.start(template() | {"stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}]})
    laboratory.pass_seconds(60)
    assert experiment.status == "running"
    laboratory.ringing = True
    laboratory.pass_seconds(5)
    assert experiment.describe()["state"] == {"status": "stopped", "reason": "Experiment halted by stop condition."}


def test_role_that_is_gone_fails_the_experiment(laboratory: Laboratory) -> None:
    """A role that was deleted after the template was made cannot be assumed."""
    laboratory.stage.run()
    laboratory.role_exists = False
    experiment = laboratory.start(template())
    laboratory.pass_seconds(1)
    assert experiment.reason == "Unable to assume role: arn:aws:iam::123456789012:role/FisWorkshopSpotRole"


def test_preview_touches_nothing(laboratory: Laboratory) -> None:
    """With actionsMode skip-all the targets are resolved and every action is skipped."""
    instance = laboratory.stage.run()[0]
    experiment = laboratory.start(template(), mode="skip-all")
    laboratory.pass_seconds(400)
    assert laboratory.states(experiment) == ("completed", {"Wait": "skipped", "Interrupt": "skipped"})
    assert experiment.describe()["targets"]["Spot"]["resourceArns"] == [instance.arn]
    assert instance.state == "running"


def test_template_changed_later_does_not_change_the_experiment(laboratory: Laboratory) -> None:
    """An experiment runs the template as it was at the start."""
    laboratory.stage.run()
    experiment = laboratory.start(template())
    experiment.template.content["actions"]["Wait"]["parameters"]["duration"] = "PT10H"
    laboratory.pass_seconds(400)
    assert experiment.status == "completed"
