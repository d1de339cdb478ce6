"""The documents' figures, written from ``out/bench.json``: what stands between two markers is replaced.

    python -m bench.table README.md docs/cost.md

The markers are lines of their own, ``<!-- bench -->`` and ``<!-- /bench -->``: all tables with titles; or ``<!-- bench: cost -->``: the table
of that section alone. Nothing is measured here; ``make bench`` does.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from bench.results import RESULTS, ROOT, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.results import Row

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
MARKER = re.compile(r"^<!-- bench(?:: (\w+))? -->$", re.MULTILINE)
BLOCK = re.compile(rf"{MARKER.pattern}.*?^{END}$", re.MULTILINE | re.DOTALL)
TYPICAL_JOB = {"job_hours": 100, "checkpoint_seconds": 10, "notices_missing": 0.05}
OUR_PART = "responder"
FEWEST_WARNINGS, VARIANT = 100, "ours, "


class NotWritten(Exception):
    """The sentence says why."""


def replaced(text: str, results: Mapping[str, Sequence[Row]]) -> str:
    """Return a text with its tables between its markers.

    Raises:
        NotWritten: The markers are not there, or not once each and in order; they name no section; a benchmark has not run.
    """
    if [len(MARKER.findall(text)), text.splitlines().count(END), len(BLOCK.findall(text))] != [1, 1, 1]:
        raise NotWritten(f"expected one line {BEGIN}, or with a section, and after it one line {END}")

    def block(found: re.Match[str]) -> str:
        first = found[0].partition("\n")[0]
        return "\n".join([first, "", tables(results, found[1]), "", END])

    return BLOCK.sub(block, text)


def tables(results: Mapping[str, Sequence[Row]], section: str | None = None) -> str:
    """Return all tables in Markdown, with titles, or that of a section.

    Raises:
        NotWritten: A benchmark has not run, or there is no such section.
    """
    if section not in (None, *SECTIONS):
        raise NotWritten(f"there is no section {section}: {', '.join(SECTIONS)}")
    missing = [name for name in SECTIONS if section in (None, name) and not results.get(name)]
    if missing:
        raise NotWritten(f"{RESULTS.name} has nothing under {', '.join(missing)}: run `make bench`")
    if section is not None:
        return SECTIONS[section][1](results[section])
    return "\n\n".join(f"{title}\n\n{as_table(results[name])}" for name, (title, as_table) in SECTIONS.items())


def burst(rows: Sequence[Row]) -> str:
    """Return each design at each number of warnings from a hundred on; variants of ours are left to the results."""
    head = ("Warnings", "Design", "EC2 calls", "SSM calls", "Throttled", "Median s", "99th s", "Worst s", "Before the deadline")
    shown = [row for row in rows if row["warnings"] >= FEWEST_WARNINGS and not row["design"].startswith(VARIANT)]
    return markdown(head, [burst_row(row) for row in sorted(shown, key=lambda row: row["warnings"])])


def burst_row(row: Row) -> tuple[str, ...]:
    """Return one line."""
    calls = (f"{sum(count for name, count in row['calls'].items() if name.startswith(service)):,}" for service in ("ec2:", "ssm:"))
    times = (_seconds(row["event_to_command_seconds"][name]) for name in ("median", "p99", "worst"))
    return (f"{row['warnings']:,}", row["design"], *calls, f"{row['throttled']:,}", *times, f"{100 * row['before_deadline']:.4g} %")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:,.1f}"


def handlers(rows: Sequence[Row]) -> str:
    """Return a line for each function."""
    head = ("Function", "Cold start, times bare boto3", "Records", "CPU ms", "Peak MB", "Calls")
    return markdown(head, [handler_row(row) for row in rows])


def handler_row(row: Row) -> tuple[str, ...]:
    """Return one line, of the largest batch."""
    last = row["warm"][-1]
    calls = ", ".join(f"{count} {name.split(':')[1]}" for name, count in last["calls"].items())
    return (f"`{row['function']}`", f"{row['import_ratio']:.2f}", f"{last['size']:,}", _figure(row["cpu_ms"]), f"{row['peak_mb']:.0f}", calls)


def overhead(rows: Sequence[Row]) -> str:
    """Return what one interruption costs the typical job, and how much longer the job takes for all of them."""
    shown = [row for row in rows if all(row[name] == value for name, value in TYPICAL_JOB.items())]
    designs = list(dict.fromkeys(row["design"] for row in shown))
    cells = {(row["interruptions"], row["design"]): overhead_cell(row) for row in shown}
    frequencies = dict.fromkeys(row["interruptions"] for row in shown)
    return markdown(("Interruptions", *designs), [(name, *(cells[name, design] for design in designs)) for name in frequencies])


def overhead_cell(row: Row) -> str:
    """Return both figures; a job that never ends has neither."""
    if row["extra_minutes"] is None:
        return "never ends"
    return f"{_figure(row['interruption_costs_minutes'])} / {_figure(row['extra_minutes'])}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004  # three digits will do


def cost(rows: Sequence[Row]) -> str:
    """Return what the responder costs, by service, for each number of notices; services that cost nothing are left out."""
    shown = [row for row in rows if row["part"] == OUR_PART]
    months = list(dict.fromkeys(row["notices_a_month"] for row in shown))
    by_service: dict[str, list[Row]] = {}
    for row in shown:
        by_service.setdefault(row["service"], []).append(row)
    lines = [(service, *(f"{row['usd']:.2f}" for row in some)) for service, some in by_service.items() if any(row["usd"] for row in some)]
    where = f"USD a month, {shown[0]['region']}, {shown[0]['prices_of']}"
    left = ("total, if nobody else uses the free tier", *(f"{row['usd_after_free_tier']:.2f}" for row in by_service["total"]))
    return markdown((where, *(f"{month:,} notices" for month in months)), [*lines, left])


SECTIONS: Mapping[str, tuple[str, Callable[[Sequence[Row]], str]]] = {
    "burst": ("**Warnings that come within two seconds**, simulated; from the event to the command:", burst),
    "handlers": ("**The functions**, with the most records that an invocation gets:", handlers),
    "overhead": (
        "**A job of 100 hours** with checkpoints of 10 s: minutes that one interruption costs / that the job takes longer, on average:",
        overhead,
    ),
    "cost": ("**Money**, list prices ([what is counted](docs/cost.md)):", cost),
}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with columns of equal width."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = (head, ["-" * width for width in widths], *rows)
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines)


def main(path: Path, results: Path = RESULTS) -> None:
    """Write a file's tables. Raises ``NotWritten``; the file is then as it was."""
    path.write_text(replaced(path.read_text(), read(results)))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            main(ROOT / name)
        except NotWritten as error:
            sys.exit(f"{name}: {error}")
