"""``out/demo.png``: one bar for each interrupted instance, from the notice to saved to gone."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import shorten

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sandbox.demo.figures import Bar

mpl.use("Agg")

WAITING = "#f2c14e"
SAVING = "#3d7ea6"
SAFE = "#8cc084"
LOST = "#d1495b"
BYSTANDER = "#c9ccd1"
INK = "#30343a"
HEIGHT = 0.62
TWICE = "\N{MULTIPLICATION SIGN}2"
REMARK_CHARACTERS = 84


def draw(bars: Sequence[Bar], deadline: float, path: Path) -> None:
    """Draw the bars; `deadline` is how many seconds the sandbox gives an instance after its warning."""
    figure = Figure(figsize=(12, 0.42 * len(bars) + 2.2), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    for row, bar in enumerate(bars):
        _draw_bar(axes, row, bar)
    _frame(axes, bars, deadline)
    axes.legend(handles=_legend(), loc="upper center", bbox_to_anchor=(0.45, -0.07), ncols=5, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_bar(axes: Axes, row: int, bar: Bar) -> None:
    for start, end, colour in _pieces(bar):
        axes.barh(row, end - start, left=start, height=HEIGHT, color=colour, edgecolor="white", linewidth=0.6)
    if bar.rebalanced is not None:
        axes.plot(bar.rebalanced, row, marker="D", color=INK, markersize=5)
    if bar.rebalanced is not None and bar.rebalance_saved is not None:
        axes.plot([bar.rebalanced, bar.rebalance_saved], [row, row], color=SAVING, linewidth=2, zorder=1)
        axes.plot(bar.rebalance_saved, row, marker="o", color=SAFE, markeredgecolor=INK, markersize=5)
    if bar.repeated:
        axes.text(bar.warned - 0.2, row, TWICE, ha="right", va="center", fontsize=9, color=INK, fontweight="bold")
    if bar.gone is not None:
        axes.plot(bar.gone, row, marker="|", color=INK, markersize=13, markeredgewidth=2)
    _remark(axes, row, bar)


def _pieces(bar: Bar) -> list[tuple[float, float, str]]:
    """Return start, end and colour of each piece of a bar."""
    asked = bar.asked if bar.asked is not None else bar.closed
    moments = [(bar.warned, WAITING), (asked, SAVING), (bar.closed, _after(bar)), (bar.gone, "")]
    there = [(moment, colour) for moment, colour in moments if moment is not None]
    return [(start, end, colour) for (start, colour), (end, _) in pairwise(there)]


def _after(bar: Bar) -> str:
    return {"saved": SAFE, "failed": LOST, "missed": LOST}.get(bar.outcome, BYSTANDER)


def _remark(axes: Axes, row: int, bar: Bar) -> None:
    """Say why nothing was saved: inside the bar, where there is room, else behind it."""
    if bar.outcome == "saved" or bar.closed is None:
        return
    text = shorten(f"{bar.outcome}: {bar.reason}", REMARK_CHARACTERS, placeholder=" ...")
    colour = "white" if bar.gone is not None and _after(bar) == LOST else INK
    axes.text(bar.closed + 0.4, row, text, va="center", fontsize=8, color=colour)


def _frame(axes: Axes, bars: Sequence[Bar], deadline: float) -> None:
    axes.set_yticks(range(len(bars)), [f"{bar.name}  {bar.instance_id}" for bar in bars], fontsize=8, family="monospace")
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlabel("seconds after the first interruption warning")
    axes.set_title(f"{len(bars)} Spot Instances interrupted, {deadline:g} s to live after the warning", loc="left", color=INK)
    axes.grid(axis="x", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _legend() -> list[Patch | Line2D]:
    def mark(label: str, marker: str, colour: str, size: int = 6) -> Line2D:
        return Line2D([], [], marker=marker, color=colour, markeredgecolor=INK, linestyle="", markersize=size, label=label)

    return [
        Patch(color=WAITING, label="warned, command on its way"),
        Patch(color=SAVING, label="checkpoint being saved"),
        Patch(color=SAFE, label="saved, time to spare"),
        Patch(color=LOST, label="not saved"),
        Patch(color=BYSTANDER, label="not ours to save"),
        mark("rebalance recommendation", "D", INK),
        mark("its checkpoint saved", "o", SAFE),
        mark("instance gone", "|", INK, 12),
        mark("event delivered twice", f"${TWICE}$", INK, 12),
    ]
