"""The sandbox's command line: ``python -m sandbox start | status | stop | env | containers | demo | gameday``."""

import argparse
import math
import shlex
import sys
import time
from pathlib import Path

from sandbox.aws_cli import aws_exports
from sandbox.control import SandboxError, running, start, state_directory, stop
from sandbox.environment import client_environment, client_unset
from sandbox.relay import open_to_containers

HIGHEST_PORT = 65_535


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; return the exit status (0 done, 1 could not, 3 `status` of a sandbox that is down)."""
    options = _parser().parse_args(arguments)
    commands = {"start": _start, "status": _status, "stop": _stop, "env": _env, "containers": _containers, "demo": _demo, "gameday": _gameday}
    try:
        return commands[options.command](options)
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _start(options: argparse.Namespace) -> int:
    began = time.monotonic()
    sys.stderr.write("Starting the sandbox\n")
    state = start(
        state_directory(options.directory),
        port=options.port,
        time_scale=options.time_scale,
        boot_seconds=options.boot_seconds,
    )
    sys.stderr.write(f"Ready after {time.monotonic() - began:.1f} s\n")
    sys.stdout.write(f"{state.endpoint}\n")
    return 0


def _status(options: argparse.Namespace) -> int:
    state = running(state_directory(options.directory))
    if state is None:
        sys.stdout.write("The sandbox is not running.\n")
        return 3
    sys.stdout.write(
        f"The sandbox is running at {state.endpoint} (process {state.pid}, time scale {state.time_scale:g}, boot {state.boot_seconds:g} s).\n"
    )
    return 0


def _stop(options: argparse.Namespace) -> int:
    stopped = stop(state_directory(options.directory))
    sys.stdout.write("The sandbox has stopped.\n" if stopped else "The sandbox was not running.\n")
    return 0


def _env(options: argparse.Namespace) -> int:
    directory = state_directory(options.directory)
    state = running(directory)
    if state is None:
        # For who puts `&&` behind the eval: what comes next would go to an account.
        sys.stdout.write("false\n")
        msg = "The sandbox is not running; start it with `python -m sandbox start`."
        raise SandboxError(msg)
    sys.stdout.write(f"unset {' '.join(client_unset())}\n")
    for name, text in client_environment(state.endpoint).items():
        sys.stdout.write(f"export {name}={shlex.quote(text)}\n")
    for line in aws_exports(directory):
        sys.stdout.write(f"{line}\n")
    return 0


def _containers(options: argparse.Namespace) -> int:
    endpoint = open_to_containers(state_directory(options.directory))
    sys.stdout.write(f"Containers on this machine reach the sandbox at {endpoint} until it stops.\n")
    return 0


def _demo(options: argparse.Namespace) -> int:
    # Imported here: `start`, `stop` and the others need neither boto3 nor Matplotlib.
    from sandbox.demo import play  # noqa: PLC0415

    directory = Path(options.directory).resolve() if options.directory else play.DEFAULT_DIRECTORY
    return play.main(play.Options(directory, options.out.resolve(), options.port, options.keep))


def _gameday(options: argparse.Namespace) -> int:
    from sandbox import gameday  # noqa: PLC0415  as above

    directory = Path(options.directory).resolve() if options.directory else gameday.DEFAULT_DIRECTORY
    return gameday.main(gameday.Options(options.experiment, options.time_scale, directory, options.out.resolve(), options.port, options.keep))


def _pace(text: str) -> float:
    return _number(text, "expected a number above 0, such as 0.1 for ten times faster", 0)


def _seconds(text: str) -> float:
    return _number(text, "expected seconds, 0 or more", math.nextafter(0, -1))


def _number(text: str, expected: str, above: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not above < number < math.inf:
        raise argparse.ArgumentTypeError(f"{expected}, not {text}")
    return number


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {HIGHEST_PORT}, not {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="AWS on this machine, for Spot Responder.")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--directory", help="state directory (default: SPOT_SANDBOX_DIR, else .sandbox)")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", parents=[where], help="start it and wait until it answers")
    starting.add_argument("--port", type=_port, default=4566, help="port on 127.0.0.1; 0 picks a free one (default 4566)")
    starting.add_argument("--time-scale", type=_pace, default=1.0, help="each of AWS's durations is multiplied by it (default 1)")
    starting.add_argument("--boot-seconds", type=_seconds, default=40.0, help="boot of an instance, unscaled (default 40)")
    demo = commands.add_parser("demo", help="see a fleet of Spot Instances survive its interruptions, in a sandbox of its own")
    demo.add_argument("--directory", help="state directory of that sandbox (default .sandbox/demo)")
    demo.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1 (default: any free one)")
    demo.add_argument("--out", type=Path, default=Path("out"), help="where demo.json and demo.png go (default out)")
    demo.add_argument("--keep", action="store_true", help="leave the sandbox running at the end")
    day = commands.add_parser("gameday", help="run a game day of the job that always finishes, in a sandbox of its own")
    day.add_argument("experiment", choices=["interrupt", "terminate"], help="with the notice, or without (the baseline)")
    day.add_argument("--time-scale", type=_pace, default=0.1, help="each of AWS's durations, and the job, is multiplied by it (default 0.1)")
    day.add_argument("--directory", help="state directory of that sandbox (default .sandbox/gameday)")
    day.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1 (default: any free one)")
    day.add_argument("--out", type=Path, default=Path("out"), help="where gameday.json and gameday.png go (default out)")
    day.add_argument("--keep", action="store_true", help="leave the sandbox running at the end")
    commands.add_parser("status", parents=[where], help="say whether it runs, and where")
    commands.add_parser("stop", parents=[where], help="end it and every process it has started")
    commands.add_parser("containers", parents=[where], help="let containers on this machine reach it, for `sam local invoke`")
    commands.add_parser("env", parents=[where], help="print the exports for eval: clients then speak to the sandbox")
    return parser


if __name__ == "__main__":
    sys.exit(main())
