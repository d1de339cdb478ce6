"""The picture of what interruptions cost: by how often they come, and by the interval between checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.results import Row

COLOURS = {"no checkpoints": "#8a8f98", "periodic only": "#d1495b", "workshop": "#e08e0b", "ours": "#1f6f8b"}
SHADES = "#9ccbe0", "#4a93b5", "#0d4a63"


def draw(rows: Sequence[Row], intervals: Sequence[Row], path: Path) -> None:
    """Write it as PNG; ``rows`` are those of one job, ``intervals`` those of all checkpoints."""
    mpl.use("Agg")
    figure = Figure(figsize=(17, 5.2), dpi=110, layout="constrained")
    one, all_together, best = figure.subplots(1, 3)
    _draw_designs(one, rows, "interruption_costs_minutes", "One interruption costs, minutes")
    _draw_designs(all_together, rows, "extra_minutes", "The job takes longer, minutes on average")
    _draw_intervals(best, intervals)
    figure.suptitle(_job(rows[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_designs(axes: Axes, rows: Sequence[Row], key: str, title: str) -> None:
    frequencies = list(dict.fromkeys(row["interruptions"] for row in rows))
    for design, colour in COLOURS.items():
        of_design = [row for row in rows if row["design"] == design]
        finished = [row for row in of_design if row[key] is not None]
        at = [frequencies.index(row["interruptions"]) for row in finished]
        axes.plot(at, [row[key] for row in finished], marker="o", color=colour, label=design)
        if len(finished) < len(of_design):
            axes.annotate("then it never ends", (at[-1], finished[-1][key]), (0, -16), textcoords="offset points", color=colour, ha="center")
    _finish(axes, frequencies, title)
    axes.legend(frameon=False)


def _finish(axes: Axes, frequencies: Sequence[str], title: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks(range(len(frequencies)), frequencies)
    axes.set_xlabel("interruptions of an instance")
    axes.set_title(title)
    axes.grid(visible=True, which="major", alpha=0.3)


def _job(row: Row) -> str:
    missing = f"{row['notices_missing']:.0%} of the notices never come"
    return f"{row['job_hours']} h of work, checkpoints of {row['checkpoint_seconds']} s; {missing}"


def _draw_intervals(axes: Axes, rows: Sequence[Row]) -> None:
    frequencies = list(dict.fromkeys(row["interruptions"] for row in rows))
    lengths = sorted({row["checkpoint_seconds"] for row in rows})
    for seconds, colour in zip(lengths, SHADES, strict=True):
        for missing, style in ((1.0, "-"), (0.05, "--")):
            chosen = [row for row in rows if row["notices_missing"] == missing and row["checkpoint_seconds"] == seconds]
            at = [frequencies.index(row["interruptions"]) for row in chosen]
            label = f"{seconds} s, " + ("no notice ever comes" if missing == 1 else f"{missing:.0%} of the notices never come")
            axes.plot(at, [row["daly_minutes"] for row in chosen], style, color=colour, label=label)
            axes.plot(at, [row["simulated_minutes"] for row in chosen], "o", color=colour)
    _finish(axes, frequencies, "Best interval, minutes: Daly's formula (lines), simulated (dots)")
    axes.legend(frameon=False, fontsize="small", title="a checkpoint takes")
