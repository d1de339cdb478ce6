"""The picture of the bursts: how late the last command is, who has one in time, and what is asked of EC2 and SSM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from bench.burst.warnings import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.results import Row

STYLES: Mapping[str, tuple[str, str, str]] = {
    "ours": ("#1f6f8b", "-", "o"),
    "ours, 2 shards": ("#0d4a63", "--", "s"),
    "ours, 10 shards": ("#4a93b5", "--", "^"),
    "ours, 10 shards, quota x10": ("#58a55c", "--", "D"),
    "one call for each event": ("#d1495b", "-", "o"),
    "queue, batches of 10": ("#e08e0b", "-", "o"),
    "queue, batches of 100": ("#8a63a8", "-", "o"),
}
"""Colour, line and marker of each design that is drawn."""
NEVER = 1000.0
"""Where a command that never comes is drawn."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write it as PNG."""
    mpl.use("Agg")
    figure = Figure(figsize=(17, 5.4), dpi=110, layout="constrained")
    worst, in_time, calls = figure.subplots(1, 3)
    for design, (colour, line, marker) in STYLES.items():
        of_design = [row for row in rows if row["design"] == design]
        at = [row["warnings"] for row in of_design]
        style = {"color": colour, "linestyle": line, "marker": marker, "markersize": 5, "label": design}
        worst.plot(at, [row["event_to_command_seconds"]["p99"] or NEVER for row in of_design], **style)
        in_time.plot(at, [row["before_deadline"] for row in of_design], **style)
        calls.plot(at, [calls_of(row) for row in of_design], **style)
    _finish_worst(worst)
    in_time.set_title("Instances commanded before the deadline")
    in_time.yaxis.set_major_formatter(PercentFormatter(1.0))
    in_time.set_ylim(-0.02, 1.05)
    calls.set_yscale("log")
    calls.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    calls.set_title("Calls to EC2 and SSM, refused ones included")
    for axes in (worst, in_time, calls):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("warnings within two seconds")
        axes.grid(visible=True, which="major", alpha=0.3)
    in_time.legend(frameon=False, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _finish_worst(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_yticks([1, 3, 10, 30, DEADLINE, NEVER], ["1", "3", "10", "30", "120", "never"])
    axes.set_yticks([], minor=True)
    axes.axhline(DEADLINE, color="black", linewidth=1)
    axes.annotate("deadline", (1, DEADLINE), (0, 4), textcoords="offset points")
    axes.set_title("From the event to the command, 99th of 100, seconds")


def calls_of(row: Row) -> int:
    """Return the calls that count against EC2's and SSM's limits."""
    return sum(count for operation, count in row["calls"].items() if operation.startswith(("ec2:", "ssm:")))
