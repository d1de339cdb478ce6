"""The result as a person reads it, and as a program does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gameday.experiment import Experiment

if TYPE_CHECKING:
    from gameday.experiment import Plan
    from gameday.figures import Figures
    from gameday.verdict import Verdict

type Json = dict[str, str | bool | int | float | None]


def as_json(figures: Figures, verdict: Verdict, plan: Plan) -> Json:
    """Return what ``out/gameday.json`` has: percents of the job with two decimals, seconds at real scale with one."""
    return {
        "experiment": plan.experiment.value,
        "hypothesis_held": verdict.held,
        "attempts": figures.attempts,
        "percent_at_notice": _rounded(figures.percent_at_notice, 2),
        "percent_resumed_from": _rounded(figures.percent_resumed_from, 2),
        "recomputed_percent": _rounded(figures.recomputed_percent, 2),
        "seconds_without_worker": _rounded(figures.seconds_without_worker, 1),
        "total_seconds": _rounded(figures.total_seconds, 1),
        "uninterrupted_seconds": _rounded(figures.uninterrupted_seconds, 1),
        "time_scale": plan.scale.factor,
    }


def as_text(figures: Figures, verdict: Verdict, plan: Plan) -> str:
    """Return the hypothesis, whether it held and why not, and the table."""
    lines = [f"Hypothesis: {verdict.hypothesis}.", _judgement(verdict), "", *table(_rows(figures, plan))]
    if plan.scale.factor != 1:
        lines += ["", f"Times are at real scale; they were measured at {plan.scale.factor:g} of it, where fixed costs count more."]
    return "\n".join(lines)


def table(rows: list[tuple[str, str]]) -> list[str]:
    """Return the rows in two columns, names to the left and values flush right."""
    name_width = max(len(name) for name, _ in rows)
    value_width = max(len(value) for _, value in rows)
    return [f"  {name:<{name_width}}  {value:>{value_width}}" for name, value in rows]


def minutes(seconds: float) -> str:
    """Return seconds as minutes and seconds: 3:07."""
    whole = round(seconds)
    return f"{'-' if whole < 0 else ''}{abs(whole) // 60}:{abs(whole) % 60:02d}"


def _judgement(verdict: Verdict) -> str:
    return "It held." if verdict.held else f"It did not hold: {'; '.join(verdict.objections)}."


def _rows(figures: Figures, plan: Plan) -> list[tuple[str, str]]:
    moment = "notice" if plan.experiment is Experiment.INTERRUPT else "instance's end"
    extra = None if figures.uninterrupted_seconds is None else figures.total_seconds - figures.uninterrupted_seconds
    return [
        ("attempts", f"{figures.attempts}"),
        (f"progress at the {moment}", _percent(figures.percent_at_notice)),
        ("progress resumed from", _percent(figures.percent_resumed_from)),
        ("work done twice", _percent(figures.recomputed_percent)),
        ("", _seconds(figures.recomputed_seconds)),
        ("time without a worker", _seconds(figures.seconds_without_worker)),
        (f"replacement launched after the {moment}", _seconds(figures.replacement_launched_seconds)),
        ("total time", _seconds(figures.total_seconds)),
        ("uninterrupted run (work and one boot)", _seconds(figures.uninterrupted_seconds)),
        ("cost of the interruption", _seconds(extra)),
        ("events in the execution's history, of 25,000", f"{figures.history_events}"),
    ]


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} %"


def _seconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} s"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
