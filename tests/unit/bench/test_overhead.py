"""The rows that the job's overhead is published from."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from bench.interrupted_job import DESIGNS
from bench.overhead import (
    CHECKPOINT_SECONDS,
    JOB_HOURS,
    MONTHLY,
    NOTICES_MISSING,
    PER_HOUR,
    Lot,
    interval_table,
    intervals,
    overhead,
    overhead_table,
    typical,
)
from bench.overhead_picture import draw

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Row


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A small simulation."""
    return list(overhead(Lot(runs=60, seed=1), spot_price=0.35))


@pytest.fixture(scope="module")
def best() -> list[Row]:
    """A small simulation."""
    return list(intervals(Lot(runs=50, seed=1)))


def test_a_month_at_the_published_frequency_interrupts_the_published_share() -> None:
    """The rate is constant, so that 1 - e^(-rate * month) of the instances are interrupted within it."""
    for name, share in MONTHLY.items():
        assert 1 - math.exp(-PER_HOUR[name] * 730) == pytest.approx(share)


def test_every_cell_has_a_row_of_plain_json(rows: list[Row]) -> None:
    """Each frequency, job, checkpoint, share of missing notices and design, once."""
    keys = ("interruptions", "job_hours", "checkpoint_seconds", "notices_missing", "design")
    cells = {tuple(row[key] for key in keys) for row in rows}
    assert len(cells) == len(rows) == len(PER_HOUR) * len(JOB_HOURS) * len(CHECKPOINT_SECONDS) * len(NOTICES_MISSING) * len(DESIGNS)
    json.dumps(rows, allow_nan=False)


def test_what_never_ends_has_no_duration_and_no_price(rows: list[Row]) -> None:
    """100 hours of work without a checkpoint, an interruption an hour."""
    [row] = [
        each
        for each in rows
        if (each["interruptions"], each["job_hours"], each["checkpoint_seconds"], each["notices_missing"], each["design"])
        == ("1 an hour", 100, 10, 0.05, "no checkpoints")
    ]
    assert (row["finished"], row["extra_minutes"], row["cost_percent_of_on_demand"], row["interruption_costs_minutes"]) == (0, None, None, None)
    assert all(each["finished"] == 1 for each in rows if each["design"] != "no checkpoints")


def test_the_same_seed_gives_the_same_rows(rows: list[Row]) -> None:
    """The published figures can be had again."""
    again = overhead(Lot(runs=60, seed=1), spot_price=0.35)
    assert [next(again) for _ in range(20)] == rows[:20]


def test_tables_and_picture_are_made_of_them(rows: list[Row], best: list[Row], tmp_path: Path) -> None:
    """Nothing is measured anew, and nothing is missing."""
    assert "never ends" in overhead_table(rows, "extra_minutes")
    assert len(interval_table(best).splitlines()) == 1 + len(best)
    draw(typical(rows), best, tmp_path / "overhead.png")
    assert (tmp_path / "overhead.png").read_bytes().startswith(b"\x89PNG")
