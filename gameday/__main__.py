"""The command line: ``python -m gameday interrupt | terminate --stack NAME``.

Exit status: 0 the hypothesis held; 1 it did not, or the game day could not be brought to its end; 2 a precondition is not met;
130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from gameday.adapters.account import services_of
from gameday.experiment import Experiment, Plan, TimeScale
from gameday.failures import GameDayFailure, Unmet
from gameday.figures import figures_of
from gameday.picture import draw
from gameday.report import as_json, as_text
from gameday.run import GameDay
from gameday.story import harmless
from gameday.verdict import verdict_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from gameday.evidence import Evidence

HELD, NOT_HELD, UNMET, INTERRUPTED = 0, 1, 2, 130
PICTURES = (".png", ".svg", ".pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one game day; return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _as_interrupt)
    for path in (options.json, options.picture):  # what lies there is never of another run
        path.unlink(missing_ok=True)
    try:
        plan = _plan(options)
        return _conclude(plan, GameDay(plan, services_of(options.region), _say).run(), options)
    except GameDayFailure as failure:
        sys.stderr.write(harmless(f"{failure}\n"))
        return UNMET if isinstance(failure, Unmet) else NOT_HELD
    except KeyboardInterrupt:
        sys.stderr.write("The game day was ended early; there is no result.\n")
        return INTERRUPTED


def _conclude(plan: Plan, evidence: Evidence, options: argparse.Namespace) -> int:
    figures = figures_of(evidence, plan)
    verdict = verdict_on(evidence, figures, plan)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(as_json(figures, verdict, plan), indent=2) + "\n", encoding="utf-8")
    draw(evidence, figures, verdict, plan, options.picture)
    _say(f"\n{as_text(figures, verdict, plan)}\n\nWritten: {options.json}, {options.picture}")
    return HELD if verdict.held else NOT_HELD


def _plan(options: argparse.Namespace) -> Plan:
    experiment = Experiment(options.experiment)
    return Plan(experiment, options.stack, options.job_minutes, options.checkpoint_minutes, TimeScale(options.time_scale))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gameday", description="Run an experiment against the job that always finishes, and judge what came of it."
    )
    parser.add_argument("experiment", choices=[experiment.value for experiment in Experiment], help="with the notice, or without (the baseline)")
    parser.add_argument("--stack", required=True, help="the stack that `sam deploy` made")
    parser.add_argument("--region", help="its Region (default: as boto3 finds it)")
    parser.add_argument("--job-minutes", type=_positive, default=6.0, help="the job's work (default 6)")
    parser.add_argument("--checkpoint-minutes", type=_positive, default=2.0, help="between two checkpoints (default 2)")
    parser.add_argument("--time-scale", type=_positive, default=1.0, help="how long a second lasts there: 0.1 is ten times faster (default 1)")
    parser.add_argument("--json", type=Path, default=Path("out/gameday.json"), help="the figures (default out/gameday.json)")
    parser.add_argument("--picture", type=_picture, default=Path("out/gameday.png"), help="the picture (default out/gameday.png)")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text}")
    return number


def _picture(text: str) -> Path:
    """Whether it can be drawn is known before minutes are spent."""
    path = Path(text)
    if path.suffix not in PICTURES:
        raise argparse.ArgumentTypeError(f"expected a file name that ends in {', '.join(PICTURES)}, not {text}")
    return path


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that what was started is stopped."""
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(f"{harmless(text)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
