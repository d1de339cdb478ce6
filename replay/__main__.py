"""``python -m replay``: see the package."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from replay import archive, stack
from replay.dead_letters import DeadLetters
from replay.failures import ReplayFailed, calling

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, LEFT, FAILED, ENDED_EARLY = 0, 1, 2, 130
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 6}, connect_timeout=5, read_timeout=180)
"""A function that is invoked with a batch may take its whole timeout."""
UNSETTLED = timedelta(minutes=10)
"""How long an event may take to the archive ("Archiving and replaying events in Amazon EventBridge", EventBridge User Guide)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay; return the exit status: 0 nothing is left, 1 dead letters are left, 2 it could not be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.until and not options.since:
        parser.error("--to needs --from: give both ends of the outage")
    try:
        return _replay(options)
    except ReplayFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Ended early; what was not given again is still in the queue or the archive. Run it again.\n")
        return ENDED_EARLY


def _replay(options: argparse.Namespace) -> int:
    with calling("any service"):
        session = boto3.Session(region_name=options.region)
        events = session.client("events", config=CONFIG)
        found = stack.find(session.client("cloudformation", config=CONFIG), options.stack)
        letters = DeadLetters(
            session.client("sqs", config=CONFIG),
            session.client("lambda", config=CONFIG),
            session.client("stepfunctions", config=CONFIG),
            session.client("dynamodbstreams", config=CONFIG),
            found.queue,
        )
    if options.since:
        span = options.since, options.until or datetime.now(UTC)
        if span[0] >= span[1]:
            raise ReplayFailed("--from is not before --to: give the time that the outage lasted.")
        _say(f"Replaying the archive's notices, {span[0]:%Y-%m-%d %H:%M} to {span[1]:%Y-%m-%d %H:%M} UTC")
        if span[1] > datetime.now(UTC) - UNSETTLED:
            _say("  the newest may be missing: an event takes up to ten minutes to the archive")
        archive.replay(events, found, span, _say)
        _say("  done")
    _say("Giving the dead letters again")
    done = letters.give_again(_say)
    _say(f"  {done.given.total()} given again, {len(done.left)} left in the queue")
    for reason in done.left:
        _say(f"  {reason}")
    return LEFT if done.left else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m replay",
        description="After an outage: give the dead letters again, and with --from the archive's notices, too. Safe to repeat.",
    )
    parser.add_argument("--stack", default="spot-responder", help="the stack that `sam deploy` made (default spot-responder)")
    parser.add_argument("--region", help="its Region (default: as boto3 finds it)")
    parser.add_argument("--from", dest="since", type=_time, metavar="TIME", help="when the outage began, e.g. 2026-11-22T09:00Z")
    parser.add_argument("--to", dest="until", type=_time, metavar="TIME", help="when it ended (default now)")
    return parser


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-22T09:00Z, not {text}") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
