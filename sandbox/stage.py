"""A sandbox for one performance: started for it, and stopped when it is over, however that comes about."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from sandbox import control
from sandbox.control import SandboxError, State
from sandbox.demo.screen import Screen


@dataclass(frozen=True)
class Stage:
    """Where the sandbox is to be and how fast; `port` 0 takes any free one, `keep` leaves it running when all went well."""

    directory: Path
    time_scale: float
    port: int = 0
    keep: bool = False


@contextmanager
def sandbox_for(stage: Stage, screen: Screen) -> Iterator[State]:
    """Run a sandbox of our own; it is stopped in the end, whatever happens, unless it is to be kept and all went well.

    Raises `SandboxError` where one runs in that directory already.
    """
    directory = stage.directory
    if control.running(directory):
        raise SandboxError(f"A sandbox runs in {directory}; end it with `python -m sandbox stop --directory {directory}`.")
    keep = False
    try:
        with _terminable():
            with screen.step("Starting AWS on this machine", "AWS runs on this machine"):
                state = control.start(directory, port=stage.port, time_scale=stage.time_scale, boot_seconds=40)
            yield state
        keep = stage.keep
    finally:
        if keep:
            screen.say(f'The sandbox goes on. To speak to it: eval "$(python -m sandbox env --directory {directory})"')
            screen.say(f"To end it: python -m sandbox stop --directory {directory}")
        else:
            control.stop(directory)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the performance as Ctrl-C does: everything is cleared up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def perform(play: Callable[[], int]) -> int:
    """Return the exit status of `play`, with a sentence for what ended it early: 1 for a failure, 130 for Ctrl-C."""
    try:
        return play()
    except (SandboxError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; nothing is left running.\n")
        return 130
