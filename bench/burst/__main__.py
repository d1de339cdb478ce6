"""Simulate bursts of interruption warnings through our design and others'.

    python -m bench.burst [--most 100000] [--seed 1]

Prints a table and whether the goals are met, writes ``out/bench.json`` (section ``burst``) and ``out/burst.png``.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bench.burst.picture import draw
from bench.burst.run import DESIGNS, OURS, PER_EVENT, SEED, SIZES, simulate
from bench.handlers import aligned
from bench.results import ROOT, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Row

HEAD = ("warnings", "design", "describes", "commands", "DynamoDB", "throttled", "median s", "99th s", "worst s", "in time", "sent twice")


def table_row(row: Row) -> tuple[str, ...]:
    """Return one line of the table."""
    calls = row["calls"]
    table = sum(count for operation, count in calls.items() if operation.startswith("dynamodb:"))
    counts = calls.get("ec2:DescribeInstances", 0), calls.get("ssm:SendCommand", 0), table, row["throttled"]
    times = (seconds(row["event_to_command_seconds"][name]) for name in ("median", "p99", "worst"))
    in_time = f"{100 * row['before_deadline']:.2f}"
    return (f"{row['warnings']:,}", row["design"], *(f"{count:,}" for count in counts), *times, in_time, f"{row['commands_too_many']:,}")


def seconds(value: float | None) -> str:
    """Return a time as it is printed."""
    return "never" if value is None else f"{value:.1f}"


def goals(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for each goal whose burst was simulated."""
    worst = {(row["design"], row["warnings"]): row["event_to_command_seconds"]["worst"] or float("inf") for row in rows}
    for warnings, limit in ((1000, 10.0), (10_000, 60.0)):
        if (took := worst.get((OURS.name, warnings))) is not None:
            yield f"{warnings:,} warnings, all commands within {limit:.0f} s: {'met' if took <= limit else 'MISSED'}, the last after {took:.1f} s"
    if (took := worst.get((PER_EVENT.name, 1000))) is not None:
        yield f"1,000 warnings, one call for each event takes over 95 s: {'so it is' if took > 95 else 'NOT SO'}"  # noqa: PLR2004  # the goal


def simulated(most: int, seed: int) -> Iterator[Row]:
    """Yield the rows of all designs, the smallest bursts first, and say on the way what is being done."""
    for warnings in (size for size in SIZES if size <= most):
        for design in DESIGNS:
            if warnings in design.bursts:
                sys.stderr.write(f"{warnings:,} warnings: {design.name} ...\n")
                yield simulate(design, warnings, seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.burst", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest burst")
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed gives the same figures")
    chosen = parser.parse_args(arguments)
    rows = list(simulated(chosen.most, chosen.seed))
    lines = [aligned([HEAD, *map(table_row, rows)]), "", *goals(rows)]
    sys.stdout.write("\n".join(lines) + "\n")
    record("burst", rows)
    draw(rows, ROOT / "out" / "burst.png")


if __name__ == "__main__":
    main()
