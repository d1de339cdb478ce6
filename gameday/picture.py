"""The workshop's picture: ``checkpointed`` and ``unsaved`` over time, with notice, hand-over and end of each instance marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from gameday.evidence import Sample
from gameday.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from gameday.evidence import Attempt, Evidence, Machine
    from gameday.experiment import Plan
    from gameday.figures import Figures
    from gameday.verdict import Verdict

UNSAVED, CHECKPOINTED = "#d1495b", "#1f6f8b"
NOBODY = "#c23b22"
NOTICE, HAND_OVER, END = "#e08e0b", "#3a9d5d", "#555555"
BOOT, WORK, STANDBY = "#d9dde3", "#7fb3d5", "#eef1f4"


def draw(evidence: Evidence, figures: Figures, verdict: Verdict, plan: Plan, path: Path) -> None:
    """Write the picture as PNG. The x axis has minutes at real scale since the execution's start."""
    mpl.use("Agg")
    figure = Figure(figsize=(11, 6.2), dpi=130, layout="constrained")
    count = max(1, len(evidence.machines))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 0.4 + 0.35 * count])
    timeline = _Timeline(evidence, plan)
    _draw_progress(top, evidence, figures, timeline)
    _draw_machines(bottom, evidence, timeline)
    for axes in (top, bottom):
        _draw_marks(axes, evidence, figures, timeline)
    _finish(figure, top, bottom, timeline)
    _draw_title(top, figures, verdict, plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


class _Timeline:
    """From the account's clock to minutes at real scale."""

    def __init__(self, evidence: Evidence, plan: Plan) -> None:
        self._began, self._plan = evidence.execution.started_at, plan
        ends = [machine.ended_at for machine in evidence.machines if machine.ended_at is not None]
        self.end = self.minute(max([evidence.execution.ended_at, *ends]))

    def minute(self, time: float) -> float:
        return self._plan.scale.real(time - self._began) / 60


def _draw_title(axes: Axes, figures: Figures, verdict: Verdict, plan: Plan) -> None:
    held = "held" if verdict.held else "did not hold"
    title = f"Experiment {plan.experiment.value}: the hypothesis {held}"
    axes.annotate(title, (0, 1), (0, 26), xycoords="axes fraction", textcoords="offset points", fontsize=13, fontweight="bold")
    axes.set_title(_caption(figures, plan), fontsize=9.5, loc="left", color="#333333", pad=10)


def _draw_progress(axes: Axes, evidence: Evidence, figures: Figures, timeline: _Timeline) -> None:
    def points(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
        return [timeline.minute(sample.time) for sample in samples], [sample.percent for sample in samples]

    minutes, percents = points(_by_worker(evidence.unsaved, figures))
    axes.plot(minutes, percents, color=UNSAVED, linewidth=1.8, label="unsaved: all progress")
    minutes, percents = points(evidence.checkpointed)
    axes.plot(minutes, percents, color=CHECKPOINTED, linewidth=2.2, drawstyle="steps-post", label="checkpointed")
    axes.fill_between(minutes, percents, step="post", color=CHECKPOINTED, alpha=0.12, linewidth=0)
    for each in figures.hand_overs:
        _draw_percent(axes, timeline.minute(each.stopped_at), each.reached, UNSAVED, "right")
        _draw_percent(axes, timeline.minute(each.resumed_at), each.resumed, CHECKPOINTED, "left")
    axes.set_ylabel("percent of the job")
    axes.set_ylim(0, 105)
    axes.yaxis.set_major_locator(MultipleLocator(20))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)


def _by_worker(samples: Sequence[Sample], figures: Figures) -> list[Sample]:
    """Return the samples up to each worker's stop, then a hole (nobody was at the percents between), then from its successor's start on."""
    line = list(samples)
    for each in figures.hand_overs:
        middle = Sample((each.stopped_at + each.resumed_at) / 2, math.nan)
        line += [Sample(each.stopped_at, each.reached), middle, Sample(each.resumed_at, each.resumed)]
    return sorted(line, key=lambda sample: sample.time)


def _draw_percent(axes: Axes, minute: float, percent: float, color: str, align: Literal["left", "right"]) -> None:
    """A dot with its percent: above and to the left where a worker stopped, below and to the right where the next went on."""
    axes.plot([minute], [percent], marker="o", markersize=5, color=color, zorder=5)
    offset = (-7, 6) if align == "right" else (7, -12)
    axes.annotate(f"{percent:.1f} %", (minute, percent), offset, textcoords="offset points", ha=align, fontsize=8.5, color=color, zorder=6)


def _draw_machines(axes: Axes, evidence: Evidence, timeline: _Timeline) -> None:
    attempts = {attempt.instance_id: attempt for attempt in evidence.attempts}
    labels = []
    for row, machine in enumerate(evidence.machines):
        attempt = attempts.get(machine.instance_id)
        _draw_machine(axes, row, machine, attempt, timeline)
        labels.append(f"attempt {attempt.number}\n{machine.instance_id}" if attempt else machine.instance_id)
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("minutes since the start (real scale)")


def _draw_machine(axes: Axes, row: int, machine: Machine, attempt: Attempt | None, timeline: _Timeline) -> None:
    """One bar: booting and waiting for its turn, working, and what is left until its end."""
    launched = timeline.minute(machine.launched_at)
    ended = timeline.end if machine.ended_at is None else timeline.minute(machine.ended_at)
    started = timeline.minute(attempt.started_at) if attempt and attempt.started_at else ended
    stopped = timeline.minute(attempt.stopped_at) if attempt and attempt.stopped_at else ended
    spans = ((launched, started, BOOT, "boots, waits"), (started, stopped, WORK, "works"), (stopped, ended, STANDBY, "shuts down"))
    for left, right, color, label in spans:
        axes.barh(row, max(0.0, right - left), left=left, height=0.5, color=color, edgecolor="#9aa3ad", linewidth=0.6, label=label)


def _draw_marks(axes: Axes, evidence: Evidence, figures: Figures, timeline: _Timeline) -> None:
    for attempt in evidence.attempts:
        if attempt.notice_at is not None:
            axes.axvline(timeline.minute(attempt.notice_at), color=NOTICE, linestyle="--", linewidth=1.5, label="notice")
    for each in figures.hand_overs:
        left, right = timeline.minute(each.stopped_at), timeline.minute(each.resumed_at)
        axes.axvspan(left, right, color=NOBODY, alpha=0.16, linewidth=0, label="nobody works")
        axes.axvline(right, color=HAND_OVER, linewidth=1.5, label="hand-over")
    for machine in evidence.machines:
        if machine.ended_at is not None:
            axes.axvline(timeline.minute(machine.ended_at), color=END, linestyle=":", linewidth=1.5, label="end of an instance")


def _finish(figure: Figure, top: Axes, bottom: Axes, timeline: _Timeline) -> None:
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(b=False)
    bottom.set_xlim(-0.02 * timeline.end, 1.02 * timeline.end)
    bottom.xaxis.set_major_locator(MultipleLocator(max(1, round(timeline.end / 12))))
    entries = {label: handle for axes in (top, bottom) for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(entries.values()), list(entries), loc="outside right upper", fontsize=8.5, frameon=False)


def _caption(figures: Figures, plan: Plan) -> str:
    def percent(value: float | None) -> str:
        return "?" if value is None else f"{value:.0f} %"

    moment = "notice" if plan.experiment is Experiment.INTERRUPT else "ended"
    return (
        f"{figures.attempts} attempts · {moment} at {percent(figures.percent_at_notice)}, resumed from {percent(figures.percent_resumed_from)} · "
        f"{figures.recomputed_percent:.1f} % done twice · {figures.seconds_without_worker:.1f} s without a worker"
    )
