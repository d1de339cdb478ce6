"""What interruptions cost a long job, in time and money, by how it saves its work. No network.

    python -m bench.overhead [--runs 10000] [--spot-price 0.35] [--seed 1]

Prints tables, writes them to ``out/bench.json`` under ``overhead`` and ``checkpoint_intervals``, and draws ``out/overhead.png``.
How often EC2 takes instances back is what the Spot Instance Advisor publishes (https://aws.amazon.com/ec2/spot/instance-advisor/,
"frequency of interruption": the rate at which Spot has reclaimed capacity during the trailing month). What is lost at each
interruption says `bench.interrupted_job`. Every design has the checkpoint interval that is best if no notice ever comes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product
from math import log1p
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.handlers import aligned
from bench.interrupted_job import DESIGNS, Job, daly, simulate, young
from bench.overhead_picture import draw
from bench.results import RESULTS, ROOT, progress, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.interrupted_job import Design
    from bench.results import Row

PICTURE = ROOT / "out" / "overhead.png"
HOUR, MINUTE = 3600.0, 60.0
HOURS_A_MONTH = 730.0

OPEN_END = 0.4
"""More than 20 % a month has no upper bound; we take twice the lower one."""
MONTHLY: Mapping[str, float] = {"<5 % a month": 0.05, "5-10 %": 0.10, "10-15 %": 0.15, "15-20 %": 0.20, ">20 %": OPEN_END}
"""The advisor's five ranges: the share of instances that was interrupted, at its upper end."""
PER_HOUR: Mapping[str, float] = {name: -log1p(-share) / HOURS_A_MONTH for name, share in MONTHLY.items()} | {"1 an hour": 1.0}
"""Interruptions an hour of one instance; the last is a bad day in a pool that runs dry."""

JOB_HOURS = (1, 10, 100)
CHECKPOINT_SECONDS = (1, 10, 60)
NOTICES_MISSING = (0.0, 0.05, 1.0)
"""The share of interruptions whose notice never comes. AWS publishes none."""
TYPICAL = {"job_hours": 100, "checkpoint_seconds": 10, "notices_missing": 0.05}
"""The rows that are printed and drawn."""
SHOWN = ("extra_minutes", "interruption_costs_minutes", "cost_percent_of_on_demand")
DEFAULT_INTERVAL = 5 * MINUTE
"""``CheckpointDuration``, where the job's input has none."""
GRID = np.geomspace(0.4, 2.5, 13)
SEGMENTS = 30


@dataclass(frozen=True, slots=True)
class Lot:
    """How the dice are thrown: the same ones for every cell, so that cells differ by what they are."""

    runs: int
    seed: int

    def beyond_work(self, design: Design, job: Job, per_hour: float, missing: float) -> float:
        """Return the seconds beyond the work."""
        return simulate(design, job, per_hour / HOUR, missing, self.runs, self.dice()).time - job.work

    def dice(self) -> np.random.Generator:
        """Return them."""
        return np.random.default_rng(self.seed)


def overhead(lot: Lot, spot_price: float) -> Iterator[Row]:
    """Yield a row for every frequency, job, checkpoint, share of missing notices and design."""
    for cell in product(PER_HOUR, JOB_HOURS, CHECKPOINT_SECONDS, NOTICES_MISSING):
        if cell[1:] == (JOB_HOURS[0], CHECKPOINT_SECONDS[0], NOTICES_MISSING[0]):
            progress(f"overhead: {cell[0]}")
        for design in DESIGNS:
            yield row(design, cell, lot, spot_price)


def row(design: Design, cell: tuple[str, int, int, float], lot: Lot, spot_price: float) -> dict[str, Any]:
    """Return one row; what a job that is given up would have cost is null."""
    name, hours, checkpoint, missing = cell
    per_hour = PER_HOUR[name]
    job = Job(hours * HOUR, checkpoint, daly(checkpoint, per_hour / HOUR))
    # A job that never ends takes many steps: a few of them will do.
    runs = lot.runs if design.has_checkpoints or hours * per_hour < 1 else lot.runs // 20
    outcome = simulate(design, job, per_hour / HOUR, missing, runs, lot.dice())
    ends = outcome.finished > 1 - 1e-9
    extra = outcome.time - job.work
    return {
        "design": design.name,
        "interruptions": name,
        "interruptions_per_hour": round(per_hour, 7),
        "notices_missing": missing,
        "job_hours": hours,
        "checkpoint_seconds": checkpoint,
        "interval_minutes": round(job.interval / MINUTE, 1) if design.has_checkpoints else None,
        "interruption_costs_minutes": round(outcome.lost / MINUTE, 2) if ends else None,
        "finished": round(outcome.finished, 4),
        "extra_minutes": round(extra / MINUTE, 3) if ends else None,
        "extra_percent": round(100 * extra / job.work, 4) if ends else None,
        "spot_price": spot_price,
        "cost_percent_of_on_demand": round(100 * spot_price * outcome.paid / job.work, 2) if ends else None,
    }


def intervals(lot: Lot) -> Iterator[Row]:
    """Yield the best interval for every frequency, checkpoint and share of missing notices: the formulas', and the simulation's."""
    progress("overhead: intervals between checkpoints")
    for name, checkpoint, missing in product(PER_HOUR, CHECKPOINT_SECONDS, NOTICES_MISSING[1:]):
        unwarned = PER_HOUR[name] * missing
        formula = daly(checkpoint, unwarned / HOUR)
        job = Job(SEGMENTS * formula, checkpoint, formula)
        found = best_interval(job, PER_HOUR[name], missing, lot)
        yield {
            "interruptions": name,
            "notices_missing": missing,
            "checkpoint_seconds": checkpoint,
            "young_minutes": round(young(checkpoint, unwarned / HOUR) / MINUTE, 1),
            "daly_minutes": round(formula / MINUTE, 1),
            "simulated_minutes": round(found / MINUTE, 1),
            "extra_percent": extra_percent(job, PER_HOUR[name], missing, lot),
            "extra_percent_at_5_minutes": extra_percent(Job(job.work, checkpoint, DEFAULT_INTERVAL), PER_HOUR[name], missing, lot),
        }


def best_interval(job: Job, per_hour: float, missing: float, lot: Lot) -> float:
    """Return the interval with the least extra time, by our design, near the job's own.

    Around it the cost is flat, and noise would choose. So ``a / interval + b * interval + c`` is fitted to all: what the checkpoints
    take, what is done twice, and what is neither's.
    """
    tried = job.interval * GRID
    extra = [lot.beyond_work(DESIGNS[-1], Job(job.work, job.checkpoint, float(interval)), per_hour, missing) for interval in tried]
    (a, b, _), *_ = np.linalg.lstsq(np.column_stack([job.interval / tried, tried / job.interval, np.ones_like(tried)]), np.array(extra), rcond=None)
    return job.interval * float(np.sqrt(a / b))


def extra_percent(job: Job, per_hour: float, missing: float, lot: Lot) -> float:
    """Return what our design takes beyond the work."""
    return round(100 * lot.beyond_work(DESIGNS[-1], job, per_hour, missing) / job.work, 3)


def typical(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are shown."""
    return [each for each in rows if all(each[name] == value for name, value in TYPICAL.items())]


def overhead_table(rows: Sequence[Row], key: str) -> str:
    """Return one figure of the typical job, a line for each frequency, a column for each design."""
    names = [design.name for design in DESIGNS]
    by_name = {(each["interruptions"], each["design"]): each for each in typical(rows)}
    return aligned([[key.replace("_", " "), *names], *([name, *(figure(by_name[name, design][key]) for design in names)] for name in PER_HOUR)])


def interval_table(rows: Sequence[Row]) -> str:
    """Return the best intervals, in minutes."""
    keys = ("checkpoint_seconds", "young_minutes", "daly_minutes", "simulated_minutes", "extra_percent", "extra_percent_at_5_minutes")
    head = ("interruptions", "notices missing", "checkpoint s", "Young min", "Daly min", "simulated min", "extra %", "extra % at 5 min")
    return aligned([head, *((each["interruptions"], f"{each['notices_missing']:.0%}", *(figure(each[key]) for key in keys)) for each in rows)])


def figure(value: float | None) -> str:
    """Return a figure with as many digits as mean something."""
    if value is None:
        return "never ends"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.2f}"  # noqa: PLR2004  # three digits will do


def main() -> None:
    """Simulate, print, draw, write."""
    parser = argparse.ArgumentParser(description="What interruptions cost a long job.")
    parser.add_argument("--runs", type=int, default=10_000, help="jobs that are interrupted, for each cell (default: 10000)")
    parser.add_argument("--spot-price", type=float, default=0.35, help="the Spot price as a share of the On-Demand price (default: 0.35)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    lot = Lot(arguments.runs, arguments.seed)
    rows, best = list(overhead(lot, arguments.spot_price)), list(intervals(lot))
    record("overhead", rows)
    record("checkpoint_intervals", best)
    draw(typical(rows), best, PICTURE)
    shape = "{job_hours} h of work, checkpoints of {checkpoint_seconds} s, {notices_missing:.0%} of the notices never come".format(**TYPICAL)
    sys.stdout.write(f"{shape}, Spot at {arguments.spot_price:.0%} of On-Demand\n\n")
    for key in SHOWN:
        sys.stdout.write(f"{overhead_table(rows, key)}\n\n")
    sys.stdout.write(f"{interval_table(best)}\n\n{RESULTS.relative_to(ROOT)} has all figures, {PICTURE.relative_to(ROOT)} the picture.\n")


if __name__ == "__main__":
    main()
