"""The job that always finishes, end to end: real programs on Spot Instances that are interrupted, killed, frozen and stopped.

All scenarios are played side by side in one sandbox, in which an instance boots in 4 s and ends 12 s after its warning. Durations in
a job's input are true time.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from gameday.__main__ import main as gameday
from sandbox import control
from sandbox.control import REPOSITORY
from sandbox.deploy import STACK, Sam, client_process_environment, functions, outputs, subnets
from sandbox.environment import client_environment
from sandbox.remote import Remote
from sandbox.waiting import wait_for
from tests.e2e.jobs import BARREN_ATTEMPTS, FIGURES, LIVE, TIME_SCALE, Ended, Job, Jobs, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.rights.witness import Witness

GROUP, INTERRUPTED = 8, 5
MOST_CALLS = 4
"""To EC2 and to SSM, about the instances that are interrupted together: fewer than there are instances."""
AT_ONCE = 6
"""How many scenarios are played side by side: two cores have to boot their instances in the notice's 12 s."""
LAUNCH_SECONDS = 10
"""Of true time: so soon after an instance's end the next is launched."""
SCARCE, SOLD_OUT = "g5.xlarge", "p3.2xlarge"
"""Instance types of which there is no Spot capacity, and none at all; no other job asks for them."""
HEARTBEAT_SECONDS = 30
"""The deployed state machine waits for a heartbeat for 180 s of true time, this test's for so long."""
FINDS_MACHINE = "aws stepfunctions list-state-machines --query \"stateMachines[?contains(name,'SpotChaosStateMachine')].stateMachineArn\""
FINDS_TEMPLATE = "aws fis list-experiment-templates --query \"experimentTemplates[?tags.Name=='FisWorkshopSpotInterrupt'].id\""
WORKSHOP_INPUTS = (
    '{ "JobDuration": "2", "CheckpointDuration": "0.2", "WaitForJobFinish": { "Percentage": 100 }}',
    '{ "JobDuration": "6", "CheckpointDuration": "2"}',
)
"""The workshop's own two. Minutes of a job are true time: so the test of every day has a shorter one, too."""
SHORT_INPUT = '{ "JobDuration": "0.7", "CheckpointDuration": "0.1", "WaitForJobFinish": { "Percentage": 100 }}'


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, witness: Witness) -> Iterator[Jobs]:
    """A sandbox with the stack and its job part, deployed by the real `sam build` and `sam deploy`."""
    directory = tmp_path_factory.mktemp("jobs")
    state = control.start(directory, port=0, time_scale=TIME_SCALE, boot_seconds=40)
    try:
        remote, sam = Remote(state.endpoint), Sam(state.endpoint, directory)
        sam.build()
        sam.deploy(f"SubnetIds={subnets(remote.client('ec2'))}", f"BarrenAttempts={BARREN_ATTEMPTS}", "RebalanceResponse=replace")
        stack = outputs(remote.client("cloudformation"))
        _warm(remote)
        with witness.watching(remote):
            yield Jobs(remote, sam, stack, stack["StateMachineArn"])
    finally:
        control.stop(directory)


CROWDED_TIME_SCALE = 0.3
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Told:
    """What a scenario leaves to be judged: the job, how its execution ended, and what else was seen."""

    job: Job
    ended: Ended
    seen: Mapping[str, Any]


type Scenario = Callable[[Jobs], Told]


@pytest.fixture(scope="module")
def workshop(jobs: Jobs) -> Job:
    """A job and an experiment, both started with the workshop's own commands; the experiment hits no later job."""
    return _play_workshop(jobs, SHORT_INPUT)


def _play_workshop(jobs: Jobs, given: str) -> Job:
    """Start a job and the experiment as the workshop does; return once the experiment has picked its target."""
    machine = _shell(jobs, f"{FINDS_MACHINE} --output text")
    start = f"aws stepfunctions start-execution --state-machine-arn {machine} --input '{given}' --query executionArn --output text"
    execution = _shell(jobs, start)
    job = Job(jobs, execution.rpartition(":")[2], execution)
    wait_for(lambda: job.instances("running"), 30, "the workshop's instance")
    template = _shell(jobs, f"{FINDS_TEMPLATE} --output text")
    experiment = _shell(jobs, f"aws fis start-experiment --experiment-template-id {template} --query experiment.id --output text")
    wait_for(lambda: _experiment(jobs, experiment) == "running", 20, "the start of the experiment")
    return job


def _warm(remote: Remote) -> None:
    """Start the functions' environments with events that are none of theirs."""
    names = functions(remote.client("cloudformation")).values()
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: remote.client("lambda").invoke(FunctionName=name, Payload=b'{"Records": []}'), names))


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, jobs: Jobs, workshop: Job) -> Iterator[Mapping[Scenario, Future[Told]]]:
    """All scenarios of the tests that were chosen, some of them side by side; the workshop's experiment has picked its target."""
    assert workshop.execution
    here = (item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function))
    parameters = (item.callspec.params for item in here if hasattr(item, "callspec"))
    wanted = [cast("Scenario", given["told"]) for given in parameters if "told" in given]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {scenario: pool.submit(scenario, jobs) for scenario in dict.fromkeys(wanted)}


@pytest.fixture
def told(request: pytest.FixtureRequest, stage: Mapping[Scenario, Future[Told]]) -> Told:
    """What came of the scenario that a test names."""
    return stage[request.param].result()


def plays(scenario: Scenario) -> pytest.MarkDecorator:
    """Give a test what came of a scenario."""
    return pytest.mark.parametrize("told", [scenario], indirect=True, ids=[scenario.__name__])


def _shell(jobs: Jobs, line: str) -> str:
    """Run a line as a person types it, in a shell that takes the sandbox for AWS."""
    environment = client_process_environment(jobs.remote.endpoint)
    ran = subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True, env=environment, cwd=REPOSITORY, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def _experiment(jobs: Jobs, experiment: str) -> str:
    return str(jobs.client("fis").get_experiment(id=experiment)["experiment"]["state"]["status"])


def _end(job: Job, seconds: float = 120, **seen: Any) -> Told:
    ended = job.await_end(seconds)
    job.await_nothing_left()
    return Told(job, ended, seen)


def test_agent_is_sent_alone(jobs: Jobs) -> None:
    """What instances fetch is the agent's own files and nothing else: no caches, no settings of the tools that check it."""
    layer = jobs.sam.template.parent / "AgentLayer" / "python"
    sent = {str(file.relative_to(layer)) for file in layer.rglob("*") if file.is_file()}
    ours = {str(file.relative_to(REPOSITORY / "agent")) for file in (REPOSITORY / "agent").rglob("*.py")}
    assert sent == ours


# Interruptions


def interrupted_five_times(jobs: Jobs) -> Told:
    """Interrupt the first attempt, the second and the third while they boot, the fourth and the fifth."""
    job = jobs.start_example("five", "count.sh", COUNT_TO=320, STEP_SECONDS=0.2)
    jobs.remote.interrupt([job.await_work(1, percent=2)])
    booting = []
    for attempt in (2, 3):
        jobs.remote.interrupt([job.await_attempt(attempt)])
        booting.append("started_at" not in job.record(attempt))
    for attempt in (4, 5):
        jobs.remote.interrupt([job.await_work(attempt)])
    return _end(job, booting=booting)


@plays(interrupted_five_times)
def test_five_interruptions(told: Told) -> None:
    """A job that is interrupted five times, twice while its replacement boots, finishes, and at most 1 % is done twice each time."""
    five = told
    assert five.ended.status == "SUCCEEDED", five
    assert (five.job.item["attempt"], five.seen["booting"]) == (6, [True, True])
    assert len(five.job.records()) >= 4, five.job.records()  # attempts 1, 4, 5 and 6 have worked, whatever 2 and 3 came to
    assert max(five.job.done_twice()) <= 1, five.job.records()


# Ends without notice


def crashed(jobs: Jobs) -> Told:
    """Let the instance vanish in the middle of the work, without a shutdown, when it has saved several checkpoints."""
    job = jobs.start_example("crash", "count.sh", CRASH_INTERVAL, COUNT_TO=150, STEP_SECONDS=0.2)
    instance = job.await_work(percent=5)
    before = job.await_item(lambda item: "checkpoint_before" in item, 60, "a second checkpoint")
    job.await_item(lambda item: item["checkpoint"] != before["checkpoint"], 60, "another checkpoint")
    crashed_at = time.time()
    job.crash(instance)
    replacement = job.await_attempt(2)
    return _end(job, gap=job.launched_at(replacement) - crashed_at)


CRASH_INTERVAL = 4.0


@plays(crashed)
def test_no_shutdown(told: Told) -> None:
    """After an instance that vanished the next is launched within 10 s, and no more than a checkpoint interval is done twice."""
    crash = told
    assert crash.ended.status == "SUCCEEDED", crash
    assert crash.seen["gap"] <= LAUNCH_SECONDS
    assert len(crash.job.done_twice()) == 1
    # A step takes 0.2 s at least, and 150 are the whole work; the percentage is told in whole numbers.
    assert crash.job.done_twice()[0] <= 100 * CRASH_INTERVAL / (150 * 0.2) + 1, crash.job.records()


def terminated(jobs: Jobs) -> Told:
    """Terminate the instance in the middle of the work."""
    job = jobs.start_example("terminate", "count.sh", 60, COUNT_TO=100, STEP_SECONDS=0.2)
    instance = job.await_work(percent=10)
    jobs.client("ec2").terminate_instances(InstanceIds=[instance])
    replacement = job.await_attempt(2)
    return _end(job, gap=job.launched_at(replacement) - job.ended_at(instance))


@plays(terminated)
def test_no_notice(told: Told) -> None:
    """After an instance that was terminated the next is launched within 10 s; its shutdown was enough for a last checkpoint.

    Nothing between the end and the launch is scaled, so that these are seconds of true time.
    """
    terminate = told
    assert terminate.ended.status == "SUCCEEDED", terminate
    assert 0 <= terminate.seen["gap"] <= LAUNCH_SECONDS
    assert terminate.job.done_twice() == [0]
    assert terminate.job.records()[1]["resumed_percent"] > 10


def silent(jobs: Jobs) -> Told:
    """Let everything on an instance stand still, while the instance itself goes on."""
    impatient = jobs.but_for("impatient", ("180", str(HEARTBEAT_SECONDS)))
    job = impatient.start_example("silent", "count.sh", COUNT_TO=100, STEP_SECONDS=0.2)
    instance = job.await_work(percent=10)
    silent_since = time.time()
    job.signal(instance, signal.SIGSTOP)
    replacement = job.await_attempt(2)
    return _end(job, instance=instance, silent_for=job.ended_at(instance) - silent_since, wait=job.launched_at(replacement) - job.ended_at(instance))


@plays(silent)
def test_silent_agent(told: Told) -> None:
    """An agent that goes silent while its instance lives is given up when its heartbeat is due; its instance is ended and the next takes over."""
    assert told.ended.status == "SUCCEEDED", told
    # The last heartbeat was some seconds before the silence, and EC2 tells whole seconds.
    assert HEARTBEAT_SECONDS - 12 <= told.seen["silent_for"] <= HEARTBEAT_SECONDS + LAUNCH_SECONDS
    assert 0 <= told.seen["wait"] <= LAUNCH_SECONDS
    assert told.seen["instance"] in told.job.instances("terminated")
    assert told.job.records()[1]["resumed_percent"] > 0


# Rebalance recommendations and capacity


def rebalanced(jobs: Jobs) -> Told:
    """Recommend a rebalance, and nothing more, where the stack's RebalanceResponse is replace."""
    job = jobs.start_example("rebalance", "count.sh", COUNT_TO=120, STEP_SECONDS=0.2)
    instance = job.await_work(percent=5)
    jobs.remote.rebalance([instance])
    replacement = job.await_attempt(2)
    return _end(job, launched_at=job.launched_at(replacement), replacement=replacement)


@plays(rebalanced)
def test_rebalance_replaces(told: Told) -> None:
    """With RebalanceResponse=replace a recommendation hands the job over: the old instance works until the new one is ready, and none twice."""
    assert told.ended.status == "SUCCEEDED", told
    _, second = told.job.records()
    assert second["instance_id"] == told.seen["replacement"]
    # As the next attempt found it: the old instance may be ended before it has told so in its own record.
    assert second["previous_stopped_at"] >= told.seen["launched_at"] + 40 * TIME_SCALE
    assert told.job.done_twice() == [0]
    assert len(told.job.instances("terminated")) == 2


def no_capacity(jobs: Jobs) -> Told:
    """Let there be no Spot capacity for longer than the state machine waits; one job may go On-Demand, the other may not."""
    jobs.empty_pools(SCARCE, "spot")
    jobs.empty_pools(SOLD_OUT, "spot")
    lenient = jobs.but_for("lenient", ("'false' = 'true'", "'true' = 'true'"))
    short = {"Command": command("count.sh"), "Environment": {"COUNT_TO": "10", "STEP_SECONDS": "0.2"}}
    job = lenient.start("on-demand", InstanceTypes=[SCARCE], **short)
    refused = jobs.start("no-capacity", InstanceTypes=[SOLD_OUT], **short)
    without = _end(refused)
    told = _end(job, without=without)
    [instance] = job.instances("terminated")
    return replace(told, seen={**told.seen, "is_spot": job.is_spot(instance)})


@plays(no_capacity)
def test_no_spot_capacity(told: Told) -> None:
    """Without Spot capacity in any pool a job waits longer and longer, ten minutes in all, and then goes On-Demand where it may."""
    assert told.ended.status == "SUCCEEDED", told
    assert not told.seen["is_spot"]
    waits = [left - entered for entered, left in told.job.times_in("WaitForCapacity")]
    due = [min(15 * 2**number, 120) * TIME_SCALE for number in range(7)]
    assert len(waits) == len(due)
    assert all(waited >= wait - 0.1 for waited, wait in zip(waits, due, strict=True)), waits


@plays(no_capacity)
def test_no_capacity_is_a_failure(told: Told) -> None:
    """Where it may not, it fails with EC2's own reasons, and leaves nothing running: it never had an instance."""
    without = told.seen["without"]
    assert (without.ended.status, without.ended.error) == ("FAILED", "NoCapacity")
    assert "InsufficientInstanceCapacity: There is no Spot capacity available that matches your request." in without.ended.cause
    assert without.job.instances(*LIVE, "terminated") == []
    assert len(without.job.times_in("WaitForCapacity")) == 7


# Programs


def failing(jobs: Jobs) -> Told:
    """Run a program that fails every time."""
    return _end(jobs.start("fails", Command="seq 1000; echo the disk is full >&2; exit 3"))


@plays(failing)
def test_failing_program(told: Told) -> None:
    """A program that fails is tried again, a bounded number of times; the cause has its exit status and its last lines only."""
    fails = told
    assert (fails.ended.status, fails.ended.error) == ("FAILED", "NoProgress")
    assert f"{BARREN_ATTEMPTS + 1} attempts in a row without progress" in fails.ended.cause
    assert "exit status 3" in fails.ended.cause
    assert fails.ended.cause.splitlines()[-2:] == ["1000", "the disk is full"]
    assert "\n900\n" not in fails.ended.cause
    assert fails.job.item["attempt"] == BARREN_ATTEMPTS + 1


DEAF = """
done=$(cat "$SPOT_CHECKPOINT_DIR/count" 2>/dev/null || echo 0)
trap 'echo $done >"$SPOT_CHECKPOINT_DIR/count"; echo $done >"$SPOT_SAVED_FILE"' USR1
trap '' TERM
echo $$ >"$SPOT_READY_FILE"
while [ $done -lt 100 ]; do sleep 0.2; done=$((done + 1)); echo $done >"$SPOT_PROGRESS_FILE"; done
"""


def deaf(jobs: Jobs) -> Told:
    """Interrupt a program that saves itself when it is asked, and does not end when it is asked."""
    job = jobs.start("deaf", Command=DEAF)
    instance = job.await_work(percent=10)
    jobs.remote.interrupt([instance])
    return _end(job, log=lambda: job.log(instance))


@plays(deaf)
def test_deaf_program(told: Told) -> None:
    """A program that ignores SIGTERM is killed before the deadline; the checkpoint at the notice is what the next goes on from."""
    deaf_one = told
    assert deaf_one.ended.status == "SUCCEEDED", deaf_one
    assert "did not exit after SIGTERM and was killed" in deaf_one.seen["log"]()
    first, second = deaf_one.job.records()
    assert first["notice_percent"] <= second["resumed_percent"]


@dataclass(frozen=True)
class Example:
    """A program of docs/examples, with its environment."""

    program: str
    environment: Mapping[str, Any]


EXAMPLES = [Example("sum.py", {"SUM_TO": 3_000_000}), Example("append.sh", {"RESULTS": 20, "STEP_SECONDS": 0.2})]


def examples(jobs: Jobs) -> Told:
    """Run programs of the users' guide, with an environment of the job."""
    started = [jobs.start_example(f"example-{one.program.partition('.')[0]}", one.program, **one.environment) for one in EXAMPLES]
    told = [_end(job) for job in started]
    return Told(told[0].job, told[0].ended, {"all": told})


@plays(examples)
def test_examples(told: Told) -> None:
    """The programs of the documentation run as jobs; what they leave is kept in the bucket."""
    for one in told.seen["all"]:
        assert one.ended.status == "SUCCEEDED", one
        checkpoint = json.loads(one.job.item["checkpoint"])
        bucket = one.job.jobs.outputs["JobBucket"]
        assert one.job.jobs.client("s3").head_object(Bucket=bucket, Key=checkpoint["key"])["ContentLength"] == checkpoint["bytes"]


# Bad luck


def corrupted(jobs: Jobs) -> Told:
    """Spoil the newest checkpoint of a job whose instance has just vanished."""
    job = jobs.start_example("corrupt", "count.sh", COUNT_TO=100, STEP_SECONDS=0.2)
    instance = job.await_work(percent=5)
    before = job.await_item(lambda item: "checkpoint_before" in item and item["saved_percent"] > 5, 30, "a second checkpoint")
    job.crash(instance)
    item = job.item
    assert item["owner"] == before["owner"]
    newest, older = json.loads(item["checkpoint"]), json.loads(item["checkpoint_before"])
    jobs.client("s3").put_object(Bucket=jobs.outputs["JobBucket"], Key=newest["key"], Body=b"spoilt")
    second = job.await_work(2)
    return _end(job, older=older, newest=newest, log=lambda: job.log(second))


@plays(corrupted)
def test_corrupt_checkpoint(told: Told) -> None:
    """A checkpoint that does not bear its checksum is not used but the one before it, and the log says so."""
    corrupt = told
    assert corrupt.ended.status == "SUCCEEDED", corrupt
    assert corrupt.job.records()[1]["resumed_percent"] == pytest.approx(corrupt.seen["older"]["percent"])
    assert corrupt.seen["newest"]["key"] in corrupt.seen["log"]()


@dataclass(frozen=True)
class Outage:
    """How far the program was when it was cut off, and when it was connected again; ``kept`` is what the item had kept meanwhile."""

    before: float
    after: float
    kept: bool


def cut_off(jobs: Jobs) -> Told:
    """Cut an instance off from S3 for a while, then from DynamoDB, then from S3 until its end, which EC2 announces."""
    job = jobs.start_example("cut-off", "count.sh", COUNT_TO=300, STEP_SECONDS=0.2)
    instance = job.await_work(percent=2)
    job.await_item(lambda item: item["saved_percent"] > 0, 60, "a checkpoint")
    outages = [_outage(job, instance, "s3", "checkpoint"), _outage(job, instance, "dynamodb", "percent_at")]
    jobs.remote.fail("s3", "*", "ServiceUnavailable", status=503, session=instance)
    last = _settled(job)
    jobs.remote.interrupt([instance])
    return _end(job, 150, outages=outages, last=json.loads(last["checkpoint"]), log=lambda: job.log(instance))


def _outage(job: Job, instance: str, service: str, kept: str) -> Outage:
    """Cut off until the program has done 5 % more, connect again, and wait until what could not be written is."""
    job.jobs.remote.fail(service, "*", "ServiceUnavailable", status=503, session=instance)
    cut = _settled(job)
    before = job.progress(instance)
    wait_for(lambda: job.progress(instance) >= before + 5, 60, f"work without {service}")
    after, seen = job.progress(instance), job.item
    job.jobs.remote.mend(instance)
    job.await_item(lambda item: item[kept] != cut[kept] and item["percent"] >= after, 60, f"what {service} has missed")
    return Outage(before, after, seen[kept] == cut[kept])


def _settled(job: Job) -> dict[str, Any]:
    """Return the item once what was under way when the fault began has arrived: a second passes without a change of its checkpoint."""
    seen = [job.item, {}]

    def look() -> bool:
        seen[:] = [job.item, seen[0]]
        return bool(seen[0]["checkpoint"] == seen[1].get("checkpoint"))

    wait_for(look, 30, "the end of what was under way", 1.0)
    return seen[0]


@plays(cut_off)
def test_services_out_of_reach(told: Told) -> None:
    """While S3 or DynamoDB is out of an instance's reach the work goes on, and what could not be written is written as soon as it can be."""
    assert told.ended.status == "SUCCEEDED", told
    for outage in told.seen["outages"]:
        assert outage.after >= outage.before + 5
        assert outage.kept


@plays(cut_off)
def test_store_out_of_reach_at_the_notice(told: Told) -> None:
    """Where S3 stays out of reach until the instance's end the last checkpoint is tried to the end; the next goes on from the last good one."""
    second = told.job.records()[1]
    assert second["resumed_percent"] == pytest.approx(told.seen["last"]["percent"])
    assert "Could not save the final checkpoint, trying on: s3:PutObject: ServiceUnavailable" in told.seen["log"]()
    assert told.job.item["attempt"] == 2


def deleted(jobs: Jobs) -> Told:
    """Delete the item of a job that runs."""
    job = jobs.start_example("deleted", "count.sh", COUNT_TO=1000, STEP_SECONDS=0.2)
    job.await_work()
    jobs.client("dynamodb").delete_item(TableName=jobs.outputs["JobsTable"], Key={"job_id": {"S": job.job_id}})
    return _end(job)


@plays(deleted)
def test_deleted_item(told: Told) -> None:
    """A job whose item is deleted fails with a sentence that says so, is not begun again, and leaves nothing running."""
    gone = told
    assert (gone.ended.status, gone.ended.error) == ("FAILED", "JobRecordMissing")
    assert "was deleted" in gone.ended.cause
    assert len(gone.job.instances("terminated")) == 1


def stopped(jobs: Jobs) -> Told:
    """Stop an execution by hand, and start another for the same job once its instances have ended."""
    job = jobs.start_example("resumed", "count.sh", COUNT_TO=60, STEP_SECONDS=0.2)
    job.await_work(percent=20)
    job.stop()
    job.await_nothing_left()
    item = job.item
    again = jobs.start_example("resumed", "count.sh", COUNT_TO=60, STEP_SECONDS=0.2)
    return _end(again, item=item, first=job.await_end(5))


@plays(stopped)
def test_stopped_by_hand(told: Told) -> None:
    """The instances of an execution that was stopped by hand are ended; a job that is started by its id again goes on."""
    resumed = told
    assert (resumed.seen["first"].status, resumed.seen["item"]["job_status"]) == ("ABORTED", "stopped")
    assert resumed.ended.status == "SUCCEEDED", resumed
    last = resumed.job.records()[-1]
    assert last["resumed_percent"] == pytest.approx(resumed.seen["item"]["saved_percent"])
    assert last["resumed_percent"] > 10


def frozen(jobs: Jobs) -> Told:
    """Freeze an instance, let the job go on without it, and wake it up."""
    job = jobs.start_example("zombie", "count.sh", COUNT_TO=200, STEP_SECONDS=0.2)
    zombie = job.await_work(percent=5)
    job.signal(zombie, signal.SIGSTOP)
    found = json.dumps({"result": "interrupted", "deadline": time.time() + 2})
    jobs.client("stepfunctions").send_task_success(taskToken=job.item["token"], output=found)
    job.await_work(2, percent=10)
    job.await_item(lambda item: all("/2-" in key for key in _keys(item)), 60, "two checkpoints of attempt 2")
    job.signal(zombie, signal.SIGCONT)
    wait_for(lambda: zombie not in job.instances("pending", "running"), 30, "the end of the zombie")
    seen = job.item
    return _end(job, owner=seen["owner"], keys=_keys(seen), log=lambda: job.log(zombie))


def _keys(item: Mapping[str, Any]) -> list[str]:
    """Return the keys of the checkpoints that an item names, the newest first."""
    return [json.loads(item[name])["key"] for name in ("checkpoint", "checkpoint_before") if name in item]


@plays(frozen)
def test_zombie(told: Told) -> None:
    """An agent that wakes up after its successor has taken over writes nothing, and stops itself."""
    zombie = told
    assert zombie.ended.status == "SUCCEEDED", zombie
    assert zombie.seen["owner"] == 2
    assert all("/2-" in key for key in zombie.seen["keys"])
    assert "fenced off: the job belongs to attempt 2" in zombie.seen["log"]()
    assert zombie.job.item["attempt"] == 2


# Many


@dataclass(frozen=True)
class Group:
    """Jobs that run at once, and the calls about those that were interrupted."""

    jobs: list[Job]
    ended: list[Ended]
    calls: list[str]


def _play_group(jobs: Jobs, count: int, interrupted: int, steps: int) -> Group:
    group = [jobs.start_example(f"group-{count}-{number}", "count.sh", 2, COUNT_TO=steps, STEP_SECONDS=0.5) for number in range(count)]
    hit = [job.await_work() for job in group][:interrupted]
    since = time.time()
    jobs.remote.interrupt(hit)
    ended = [job.await_end(300) for job in group]
    for job in group:
        job.await_nothing_left()
    return Group(group, ended, _calls_about(jobs, hit, since))


def _calls_about(jobs: Jobs, instance_ids: list[str], since: float) -> list[str]:
    """Return the calls of RespondToNotices to EC2 and SSM that name one of these instances."""
    calls = json.loads(_get(jobs, f"calls?since={since}"))
    listed = calls["calls"] if isinstance(calls, dict) else calls
    names = ("DescribeInstances", "SendCommand")
    ours = [call for call in listed if call["operation"] in names and "RespondToNotices" in (call["function"] or "")]
    return [call["operation"] for call in ours if any(one in json.dumps(call["parameters"]) for one in instance_ids)]


def _get(jobs: Jobs, path: str) -> str:
    return _shell(jobs, f"curl --silent --fail --noproxy '*' '{jobs.remote.endpoint}/_sandbox/{path}'")


def many_at_once(jobs: Jobs) -> Told:
    """Run some jobs and interrupt half of them at the same moment."""
    group = _play_group(jobs, GROUP, INTERRUPTED, 60)
    return Told(group.jobs[0], group.ended[0], {"group": group})


@plays(many_at_once)
def test_many_jobs_at_once(told: Told) -> None:
    """Of several jobs some are interrupted together: all finish, no work is done twice, and EC2 and SSM are asked in batches."""
    group = told.seen["group"]
    _judge_group(group, INTERRUPTED)


def _judge_group(group: Group, interrupted: int) -> None:
    assert {one.status for one in group.ended} == {"SUCCEEDED"}, group.ended
    assert [job.item["attempt"] for job in group.jobs] == [2] * interrupted + [1] * (len(group.jobs) - interrupted)
    assert max(twice for job in group.jobs[:interrupted] for twice in job.done_twice()) <= 1
    for operation in ("DescribeInstances", "SendCommand"):
        assert 1 <= group.calls.count(operation) <= MOST_CALLS < interrupted, group.calls


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_forty_jobs(jobs: Jobs) -> None:
    """Of 40 jobs 15 are interrupted together: all finish, no work is done twice, and EC2 and SSM are asked in batches.

    55 agents share the processor of this machine, which instances would not. At a tenth of the time a call that waits for it takes most of a
    notice; so time is given back some of its length.
    """
    control.change_time_scale(jobs.sam.directory, CROWDED_TIME_SCALE)
    try:
        _judge_group(_play_group(jobs, 40, 15, 120), 15)
    finally:
        control.change_time_scale(jobs.sam.directory, TIME_SCALE)


# As the workshop does it


@pytest.mark.usefixtures("stage")
def test_workshop(workshop: Job) -> None:
    """The workshop's own commands lead to a finished execution: its instance is interrupted, and nobody lifts a finger."""
    workshop.finish(240)
    assert workshop.item["attempt"] == 2
    assert workshop.done_twice() == [pytest.approx(0, abs=0.05)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("given", WORKSHOP_INPUTS)
def test_workshop_at_length(jobs: Jobs, given: str) -> None:
    """So do the workshop's own inputs, two and six minutes of work."""
    wait_for(lambda: not _targets(jobs), 60, "the end of all other jobs")
    job = _play_workshop(jobs, given)
    job.finish(480)
    assert job.item["attempt"] == 2
    assert job.done_twice() == [pytest.approx(0, abs=0.05)]


# The game day


def test_baseline(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The game day without a notice: the job finishes, and at most a checkpoint interval is done twice. The demonstration ends with the other."""
    wait_for(lambda: not _targets(jobs), 60, "the end of all other jobs")
    for name, text in client_environment(jobs.remote.endpoint).items():
        monkeypatch.setenv(name, text)
    results = ["--json", str(tmp_path / "gameday.json"), "--picture", str(tmp_path / "gameday.png")]
    work, interval = 3.5, 1.0
    minutes = ["--job-minutes", str(work), "--checkpoint-minutes", str(interval)]
    before = signal.getsignal(signal.SIGTERM)
    try:
        status = gameday(["terminate", "--stack", STACK, "--time-scale", str(TIME_SCALE), *minutes, *results])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert status == 0
    figures = json.loads((tmp_path / "gameday.json").read_text())
    assert set(figures) == FIGURES
    assert (figures["experiment"], figures["hypothesis_held"], figures["attempts"]) == ("terminate", True, 2)
    assert figures["recomputed_percent"] <= 100 * interval / work
    assert figures["percent_resumed_from"] >= figures["percent_at_notice"] - 100 * interval / work
    assert (tmp_path / "gameday.png").read_bytes().startswith(b"\x89PNG")


def _targets(jobs: Jobs) -> list[Any]:
    filters = [{"Name": "tag:Name", "Values": ["Fis/Spot"]}, {"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found: list[Any] = jobs.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return found
