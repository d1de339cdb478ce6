"""``make gameday``, and the end of ``make demo``: the game day, in a sandbox with the job deployed into it.

The game day itself is the program of the same name, which knows nothing of the sandbox: it runs as in an account, and its exit status
is passed on.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox import control
from sandbox.demo.screen import Screen
from sandbox.deploy import STACK, Sam, client_process_environment, subnets
from sandbox.remote import Remote
from sandbox.stage import Stage, perform, sandbox_for

DEFAULT_DIRECTORY = control.DEFAULT_DIRECTORY / "gameday"
ENDING_SECONDS = 60.0
"""How long a game day that is ended early may take to stop what it has started."""


@dataclass(frozen=True)
class Options:
    """What the command line says: `keep` leaves the sandbox running, `port` 0 takes any free one."""

    experiment: str = "interrupt"
    time_scale: float = 0.1
    directory: Path = DEFAULT_DIRECTORY
    out: Path = control.REPOSITORY / "out"
    port: int = 0
    keep: bool = False


def play(options: Options, screen: Screen | None = None) -> int:
    """Run one game day; return its exit status. What it finds goes to ``gameday.json`` and ``gameday.png``."""
    shown = screen or Screen()
    with sandbox_for(Stage(options.directory, options.time_scale, options.port, options.keep), shown) as state:
        deploy(Sam(state.endpoint, options.directory), shown)
        shown.say("")
        return run(options, state.endpoint)


def deploy(sam: Sam, screen: Screen) -> None:
    """Build and deploy the application with the job, into the default subnets of the sandbox."""
    with screen.step("Building the application: sam build", "The application is built") as progress:
        sam.build(progress)
    with screen.step("Deploying it: sam deploy", f"The stack {STACK} is deployed") as progress:
        sam.deploy(f"SubnetIds={subnets(Remote(sam.endpoint).client('ec2'))}", progress=progress)


def run(options: Options, endpoint: str) -> int:
    """Run the game day against a sandbox in which the job is deployed; return its exit status."""
    sys.stdout.flush()  # what stands before it comes before it
    environment = client_process_environment(endpoint)
    process = subprocess.Popen(_command(options), cwd=control.REPOSITORY, env=environment, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _end(process)
        raise


def _command(options: Options) -> list[str]:
    where = ["--stack", STACK, "--time-scale", str(options.time_scale)]
    results = ["--json", str(options.out / "gameday.json"), "--picture", str(options.out / "gameday.png")]
    return [sys.executable, "-m", "gameday", options.experiment, *where, *results]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let it stop what it has started; Ctrl-C has reached it already, a signal to us alone has not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # the sandbox, with everything in it, is stopped next
        process.wait()


def main(options: Options) -> int:
    """Run the game day for the command line; return the exit status."""
    return perform(lambda: play(options))
