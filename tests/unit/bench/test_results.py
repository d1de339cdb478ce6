"""The benchmarks' one file of results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.results import read, record

if TYPE_CHECKING:
    from pathlib import Path


def test_a_section_takes_the_place_of_its_last_run_and_keeps_the_others(tmp_path: Path) -> None:
    """Benchmarks run one by one, and each leaves what the others found."""
    path = tmp_path / "out" / "bench.json"
    record("burst", [{"warnings": 1}], path)
    record("cost", [{"usd": 1.5}, {"usd": 2.5}], path)
    record("burst", [{"warnings": 1000}], path)
    assert read(path) == {"burst": [{"warnings": 1000}], "cost": [{"usd": 1.5}, {"usd": 2.5}]}


@pytest.mark.parametrize("row", [{"seconds": float("nan")}, {"seconds": float("inf")}, {"seconds": object()}])
def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, row: dict[str, object]) -> None:
    """A benchmark that goes wrong spoils nothing."""
    path = tmp_path / "bench.json"
    record("cost", [{"usd": 1.5}], path)
    with pytest.raises((TypeError, ValueError)):
        record("burst", [row], path)
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]
    assert json.loads(path.read_text()) == {"cost": [{"usd": 1.5}]}


def test_the_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    """Whoever reads the old one has it whole."""
    path, old = tmp_path / "bench.json", tmp_path / "old.json"
    record("cost", [{"usd": 1.5}], path)
    old.hardlink_to(path)
    record("cost", [{"usd": 2.5}], path)
    assert (read(old), read(path)) == ({"cost": [{"usd": 1.5}]}, {"cost": [{"usd": 2.5}]})


def test_no_results_are_no_sections(tmp_path: Path) -> None:
    """Before the first benchmark there is no file."""
    assert read(tmp_path / "bench.json") == {}
