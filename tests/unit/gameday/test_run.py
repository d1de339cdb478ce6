"""A game day in its order, against an account in memory."""

from __future__ import annotations

import dataclasses

import pytest

from gameday.evidence import Execution, Job
from gameday.failures import Overdue, Unmet
from gameday.run import GameDay
from tests.unit.gameday.scene import BEGAN, NEW, OLD, Account, interrupted, plan


def play(account: Account, scale: float = 1.0) -> tuple[GameDay, list[str]]:
    """A game day and the list that its lines go to."""
    said: list[str] = []
    return GameDay(plan(scale=scale), account.services(), said.append), said


def test_what_was_seen_is_collected() -> None:
    """Records, metrics and the history's length come back; the ends of the instances are as they were seen."""
    account = Account()
    evidence = play(account)[0].run()
    assert evidence.execution == interrupted().execution
    assert evidence.attempts == interrupted().attempts
    assert evidence.unsaved == interrupted().unsaved
    assert evidence.checkpointed == interrupted().checkpointed
    ends = {machine.instance_id: machine.ended_at for machine in evidence.machines}
    assert ends == {OLD: pytest.approx(BEGAN + 228, abs=1), NEW: pytest.approx(BEGAN + 412, abs=1)}


def test_checks_come_before_the_job_and_the_job_before_the_experiment() -> None:
    """Nothing is started before everything was looked at."""
    account = Account()
    play(account)[0].run()
    assert account.done == ["check arn:machine", "template interrupt", "check jobs", "group /story", "start arn:machine", "start EXT1 interrupt"]


def test_the_job_gets_the_workshops_input() -> None:
    """Minutes as text, as the workshop's command has them, multiplied by the time scale."""
    account = Account()
    play(account, scale=1.0)[0].run()
    assert account.job_input == {"JobDuration": "6", "CheckpointDuration": "2", "JobId": "gameday-20270115-080000"}
    assert plan(scale=0.1).job_input("x") == {"JobDuration": "0.6", "CheckpointDuration": "0.2", "JobId": "x"}


def test_the_story_is_told_as_it_comes() -> None:
    """Each line has its own time of day and the minutes since the start at real scale."""
    said = play(Account())[1]
    account = Account()
    day, said = play(account)
    day.run()
    assert "08:03:05   3:05 | i-0a1b2c3d4e5f60718: interruption warning" in said
    assert sum("interruption warning" in line for line in said) == 1


def test_a_stack_that_is_not_there() -> None:
    """Nothing was started, so nothing is stopped."""
    account = Account()
    day = GameDay(dataclasses.replace(plan(), stack="other"), account.services(), lambda _: None)
    with pytest.raises(Unmet, match="other was not found"):
        day.run()
    assert account.done == []


def test_instances_of_somebody_else() -> None:
    """The experiment would hit every instance of that tag, so it is not started; at most five are named."""
    account = Account(targets=[f"i-{number}" for number in range(7)])
    with pytest.raises(Unmet, match="i-4 and 2 more") as failure:
        play(account)[0].run()
    assert "i-5" not in str(failure.value)
    assert not any(step.startswith("start") for step in account.done)


def test_an_empty_target_is_tried_again() -> None:
    """FIS resolves its targets at the start only: the experiment is started again until it finds one."""
    account = Account(empty_starts=2)
    day, said = play(account)
    day.run()
    assert account.experiments_started == 3
    assert sum("found no target yet" in line for line in said) == 2


def test_a_target_that_stays_empty() -> None:
    """It is named with what to do, and the job is stopped."""
    account = Account(empty_starts=10_000)
    with pytest.raises(Unmet, match="tag Name=Fis/Spot"):
        play(account)[0].run()
    assert any(step.startswith("stop arn:gameday-") for step in account.done)


def test_no_instance_runs() -> None:
    """After the deadline it says where to look; the execution is stopped, no experiment was started."""
    account = Account(running_from=1e9, evidence=dataclasses.replace(interrupted(), execution=Execution(BEGAN, BEGAN + 1e9, "SUCCEEDED")))
    with pytest.raises(Unmet, match="No instance of gameday-"):
        play(account)[0].run()
    assert account.experiments_started == 0
    assert any(step.startswith("stop arn:gameday-") for step in account.done)


def test_the_job_ends_before_an_instance_runs() -> None:
    """The execution's own cause is what the person reads."""
    ended = Execution(BEGAN, BEGAN + 30, "FAILED", "NoCapacity: EC2 has no spot capacity")
    account = Account(evidence=dataclasses.replace(interrupted(), execution=ended), running_from=60)
    with pytest.raises(Unmet, match=r"FAILED.*EC2 has no spot capacity"):
        play(account)[0].run()
    assert not any(step.startswith("stop") for step in account.done)


def test_the_experiment_fails() -> None:
    """An experiment that fails before it had an effect ends the day with its reason; the job is stopped, the experiment is over."""
    account = Account(experiment_fails="Unable to assume role")
    with pytest.raises(Unmet, match="Unable to assume role"):
        play(account)[0].run()
    assert [step.split(":")[0] for step in account.done if step.startswith("stop")] == ["stop arn"]


def test_the_experiment_is_stopped() -> None:
    """So does one that its stop condition has halted: a job that then finishes undisturbed has shown nothing."""
    account = Account(experiment_fails="Experiment halted by stop condition.", failed_status="stopped")
    with pytest.raises(Unmet, match=r"The experiment stopped: Experiment halted by stop condition\..*alarm on dead letters"):
        play(account)[0].run()


def test_an_experiment_that_fails_after_its_effect_is_no_failure() -> None:
    """Once a second instance was launched, the interruption took place, and the day goes on to its verdict."""
    account = Account()

    def fail_late() -> None:
        account.experiment_fails = "Instance is gone" if account.time > BEGAN + 230 else ""

    account.at_pause = fail_late
    assert play(account)[0].run().execution.succeeded


def test_a_job_without_end() -> None:
    """The deadline ends it: job and experiment are stopped."""
    account = Account(evidence=dataclasses.replace(interrupted(), execution=Execution(BEGAN, BEGAN + 1e9, "SUCCEEDED")))
    with pytest.raises(Overdue, match="not finished after 33:00 minutes"):
        play(account)[0].run()
    assert any(step.startswith("stop arn:gameday-") for step in account.done)


def test_an_experiment_that_outlasts_the_job_is_stopped() -> None:
    """Nothing is left behind that could hit a later instance; instances that still run are named."""
    machines = tuple(dataclasses.replace(machine, ended_at=None) for machine in interrupted().machines)
    account = Account(evidence=dataclasses.replace(interrupted(), machines=machines, execution=Execution(BEGAN, BEGAN + 50, "SUCCEEDED")))
    day, said = play(account)
    day.run()
    assert account.done[-1] == "stop EXP1"
    assert any(line.endswith(f"still running: {OLD}, {NEW}") for line in said)


def test_ctrl_c_stops_job_and_experiment() -> None:
    """Both are stopped and it says so; Ctrl-C itself goes on to the command line."""
    account = Account()

    def press() -> None:
        if account.time > BEGAN + 100:
            raise KeyboardInterrupt

    account.at_pause = press
    day, said = play(account)
    with pytest.raises(KeyboardInterrupt):
        day.run()
    assert account.done[-2:] == ["stop EXP1", "stop arn:gameday-20270115-080000: The game day was ended early."]
    assert said[-1].endswith("execution arn:gameday-20270115-080000 stopped; its instances are being ended")


def test_stopping_that_fails_does_not_hide_the_reason() -> None:
    """The person reads both: why the day ended, and that the job still runs."""
    account = Account(experiment_fails="Unable to assume role", refuse_stop=True)
    day, said = play(account)
    with pytest.raises(Unmet, match="Unable to assume role"):
        day.run()
    assert said[-1].endswith("could not stop it: No right to call states:StopExecution")


def test_a_record_that_was_deleted() -> None:
    """The day is judged all the same: the job's status is `missing`."""
    account = Account(evidence=dataclasses.replace(interrupted(), job=Job("missing", 0.0, 0)))
    evidence = play(account)[0].run()
    assert evidence.job.status == "missing"


def test_metrics_that_do_not_come() -> None:
    """It waits for them, tells, and goes on with the records."""
    account = Account(evidence=dataclasses.replace(interrupted(), unsaved=()))
    day, said = play(account)
    assert day.run().unsaved == ()
    assert said[-1].endswith("the metrics do not show 100 %")
