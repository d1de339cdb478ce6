"""The one file that all benchmarks write, each its own section: ``out/bench.json``, ``{"burst": [row, ...], "handlers": [...], ...}``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "out" / "bench.json"

type Row = Mapping[str, Any]


def record(section: str, rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Put a section's rows in the place of those of its last run, and keep the other sections.

    The file is replaced whole, so that a benchmark that is stopped leaves the last one.

    Raises:
        TypeError: A row has something that JSON has not.
        ValueError: What the file holds is not JSON, or a figure is not finite: not a number, or without end.
    """
    text = json.dumps({**read(path), section: rows}, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def read(path: Path = RESULTS) -> dict[str, list[Row]]:
    """Return all sections; none where no benchmark has run yet.

    Raises:
        ValueError: The file is not JSON.
    """
    if not path.exists():
        return {}
    sections: dict[str, list[Row]] = json.loads(path.read_text())
    return sections


def progress(what: str) -> None:
    """Say on the error stream what is being measured."""
    sys.stderr.write(f"{what}\n")
