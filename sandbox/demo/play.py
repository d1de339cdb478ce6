"""The demonstration from start to end: sandbox, fleet, deployment, interruptions, story, figures; then the job and its game day."""

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox import control, gameday
from sandbox.control import SandboxError
from sandbox.demo import figures, scenario
from sandbox.demo.figures import Record
from sandbox.demo.picture import draw
from sandbox.demo.scenario import Player
from sandbox.demo.screen import Screen
from sandbox.deploy import Sam, functions, outputs
from sandbox.fleet import Fleet
from sandbox.remote import Remote
from sandbox.stage import Stage, perform, sandbox_for
from sandbox.story import Story
from sandbox.waiting import TooLong

TIME_SCALE = 0.25
GAME_DAY_TIME_SCALE = 0.1
WARNING_SECONDS = 120
WAVES = 3
SECONDS_BETWEEN_WAVES = 0.5
"""The warnings come in waves, all within two seconds."""
NOTICES_AT_ONCE = 6
"""How many environments of RecordNotice are started beforehand; of the others one is."""
END_SECONDS = 60.0
"""How long after the instances' end everything must have been told at the latest."""
DEFAULT_DIRECTORY = control.DEFAULT_DIRECTORY / "demo"


@dataclass(frozen=True)
class Options:
    """What the command line says: `keep` leaves the sandbox running, `port` 0 takes any free one."""

    directory: Path = DEFAULT_DIRECTORY
    out: Path = control.REPOSITORY / "out"
    port: int = 0
    keep: bool = False


def play(options: Options, screen: Screen | None = None) -> int:
    """Run the demonstration; return the exit status: 0 if everything held that must."""
    began = time.monotonic()
    shown = screen or Screen()
    with sandbox_for(Stage(options.directory, TIME_SCALE, options.port, options.keep), shown) as state:
        shutil.rmtree(options.directory / "volume-of-the-fleet", ignore_errors=True)
        demonstration = _Demonstration(Remote(state.endpoint), options, shown)
        status = max(_conclude(demonstration.run(), options.out, shown), demonstration.run_job())
    if status == 0:
        shown.say(f"Everything held that must hold, {time.monotonic() - began:.0f} s after the start.")
    return status


def _conclude(record: Record, out: Path, screen: Screen) -> int:
    """Show and keep what happened to the fleet; return 1 where something does not hold that must."""
    screen.table(record)
    _write(record, out)
    screen.say(f"{out / 'demo.png'} has the picture, {out / 'demo.json'} the figures.")
    complaints = figures.complaints(record)
    for sentence in complaints:
        screen.complain(sentence)
    return 1 if complaints else 0


class _Demonstration:
    """The sequence, in one sandbox."""

    def __init__(self, remote: Remote, options: Options, screen: Screen) -> None:
        self.remote = remote
        self.screen = screen
        self.options = options
        self.sam = Sam(remote.endpoint, options.directory)
        self.fleet = Fleet(remote, options.directory / "volume-of-the-fleet")

    def run(self) -> Record:
        """Do everything; return what happened."""
        players = self._launch()
        gameday.deploy(self.sam, self.screen)
        self._await_fleet(players)
        self._warm()
        story = Story(self.remote, datetime.now(UTC))
        since = time.time()
        self.screen.say("\nThe story, the messages of `aws logs tail /aws/events/spotinterruptions`:\n")
        self._rebalance(players, story)
        burst = self._interrupt(players)
        self._watch(players, story)
        return self._record(players, story, since, burst)

    def run_job(self) -> int:
        """Let the FIS workshop's interruption meet the job; return the game day's exit status."""
        self._end_fleet()
        scale = control.change_time_scale(self.options.directory, GAME_DAY_TIME_SCALE).time_scale
        self.screen.say("\nAnd the job that always finishes, in a game day: six minutes of work, whose instance is interrupted after three;")
        self.screen.say(f"time runs {1 / scale:.0f} times as fast.\n")
        return gameday.run(gameday.Options(time_scale=scale, out=self.options.out), self.remote.endpoint)

    def _end_fleet(self) -> None:
        """End the instances that were spared: this machine's processors are for the job now."""
        ec2 = self.remote.client("ec2")
        running = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])["Reservations"]
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"] for group in running for instance in group["Instances"]])

    def _launch(self) -> list[Player]:
        parts = scenario.parts()
        with self.screen.step(f"Launching {len(parts)} Spot Instances", f"{len(parts)} Spot Instances launched"):
            launched = self.fleet.launch(part.wanted for part in parts)
        return [Player(*pair) for pair in zip(launched, parts, strict=True)]

    def _await_fleet(self, players: Sequence[Player]) -> None:
        launched = [player.launched for player in players]
        with self.screen.step("Waiting for the fleet to boot", "The fleet is at work") as progress:
            progress("until every instance works and Systems Manager lists those that it manages")
            self.fleet.await_ready(launched)

    def _warm(self) -> None:
        """Start environments with events that are none of the functions', so that the first notices find them warm."""
        names = functions(self.remote.client("cloudformation"))
        chosen = [*names.values(), *[names["RecordNotice"]] * (NOTICES_AT_ONCE - 1)]
        with self.screen.step("Warming the functions", "The functions are warm"), ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(lambda name: invoke(self.remote, name, {"Records": []}), chosen))

    def _rebalance(self, players: Sequence[Player], story: Story) -> None:
        """Recommend, and wait until that has led to checkpoints: the interruptions come after."""
        chosen = scenario.rebalanced(players)
        self.remote.rebalance([player.instance_id for player in chosen])
        self._follow(story, 30, "a checkpoint for every rebalance recommendation", lambda: len(_closed(story, "rebalance")) >= len(chosen))

    def _interrupt(self, players: Sequence[Player]) -> float:
        """Send the warnings in waves; return how many seconds that took."""
        chosen = scenario.interrupted(players)
        began = time.monotonic()
        for index in range(WAVES):
            # The pace of the events, not a wait for anything.
            time.sleep(max(0.0, began + index * SECONDS_BETWEEN_WAVES - time.monotonic()))
            self._warn(chosen[index::WAVES])
        return time.monotonic() - began

    def _warn(self, wave: Sequence[Player]) -> None:
        for copies in sorted({player.part.copies for player in wave}):
            self.remote.interrupt([player.instance_id for player in wave if player.part.copies == copies], copies=copies)
        if forgotten := [player.instance_id for player in wave if player.part.forgotten]:
            self.remote.forget(forgotten)

    def _watch(self, players: Sequence[Player], story: Story) -> None:
        """Show the story until every notice is closed and the instances are gone."""
        due = len(scenario.interrupted(players))
        ends = sum(not player.part.forgotten for player in scenario.interrupted(players))

        def over() -> bool:
            return len(_closed(story, "interruption")) >= due and len(story.find(event="instance_gone")) >= ends

        self._follow(story, WARNING_SECONDS * TIME_SCALE + END_SECONDS, "the end of the story", over)

    def _follow(self, story: Story, seconds: float, what: str, over: Any) -> None:
        """Show new lines until it is over, or time is: then `figures.complaints` says what is missing."""

        def look(_: Story) -> bool:
            for line in story.lines[self._shown :]:
                self.screen.line(line)
            self._shown = len(story.lines)
            return bool(over())

        try:
            story.wait(look, seconds, what)
        except TooLong as late:
            self.screen.complain(str(late))

    _shown = 0

    def _record(self, players: Sequence[Player], story: Story, since: float, burst: float) -> Record:
        stack = outputs(self.remote.client("cloudformation"))
        saved = {player.instance_id: self.fleet.saved_frame(player.launched) for player in players}
        return Record(
            players=players,
            lines=story.lines,
            items=items(self.remote, stack["NoticesTable"]),
            calls=self.remote.calls(since),
            dead_letters=dead_letters(self.remote, stack["DeadLetterQueue"]),
            burst_seconds=burst,
            frames={instance_id: frame for instance_id, frame in saved.items() if frame is not None},
        )


def _closed(story: Story, kind: str) -> list[Any]:
    return story.find(event="notice_closed", kind=kind)


def invoke(remote: Remote, function: str, event: Any) -> Any:
    """Invoke a function and return its answer; raise `SandboxError` with its error."""
    answer = remote.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise SandboxError(f"{function} failed: {payload.get('errorMessage')}")
    return payload


def items(remote: Remote, table: str) -> list[dict[str, str]]:
    """Return all items of the notices table, without DynamoDB's types."""
    pages = remote.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [{name: str(next(iter(value.values()))) for name, value in item.items()} for page in pages for item in page["Items"]]


def dead_letters(remote: Remote, queue_url: str) -> int:
    """Return how many messages a queue holds."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    answer = remote.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


def _write(record: Record, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "demo.json").write_text(json.dumps(figures.counted(record), indent=2) + "\n")
    if bars := figures.bars(record):
        draw(bars, WARNING_SECONDS * TIME_SCALE, out / "demo.png")


def main(options: Options) -> int:
    """Run the demonstration for the command line; return the exit status."""
    return perform(lambda: play(options))
