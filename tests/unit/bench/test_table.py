"""The README's tables, from the benchmarks' results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.interrupted_job import DESIGNS
from bench.results import ROOT
from bench.table import BEGIN, BLOCK, END, NotWritten, main, replaced, tables

if TYPE_CHECKING:
    from pathlib import Path

WARM = {"size": 1, "calls": {"dynamodb:PutItem": 1}}
RESULTS: dict[str, list[dict[str, Any]]] = {
    "burst": [
        {
            "design": "ours",
            "warnings": 1000,
            "calls": {"dynamodb:PutItem": 1000, "ec2:DescribeInstances": 3, "ssm:SendCommand": 20},
            "throttled": 0,
            "event_to_command_seconds": {"median": 2.04, "p99": 3.5, "worst": 4.0},
            "before_deadline": 1.0,
        },
        {
            "design": "one describe each",
            "warnings": 100,
            "calls": {"ec2:DescribeInstances": 100, "ssm:SendCommand": 100},
            "throttled": 1,
            "event_to_command_seconds": {"median": None, "p99": None, "worst": None},
            "before_deadline": 0.98765,
        },
    ],
    "handlers": [
        {
            "function": "record_notice",
            "import_ratio": 1.049,
            "cpu_ms": 1.77,
            "peak_mb": 60.2,
            "warm": [{"size": 1, "calls": {"dynamodb:PutItem": 1}}],
        },
    ],
    "overhead": [
        {
            "design": design.name,
            "interruptions": "1 an hour",
            "notices_missing": 0.05,
            "job_hours": hours,
            "checkpoint_seconds": 10,
            "interruption_costs_minutes": None if design.name == "no checkpoints" else 1.234 * hours / 100,
            "extra_minutes": None if design.name == "no checkpoints" else 12.345 * hours,
        }
        for design in DESIGNS
        for hours in (100, 1)
    ],
    "cost": [
        {
            "notices_a_month": notices,
            "part": part,
            "service": service,
            "usd": usd,
            "usd_after_free_tier": 0.5,
            "region": "us-east-1",
            "prices_of": "2026-11-22",
        }
        for part in ("responder", "notification address")
        for notices in (1_000, 1_000_000)
        for service, usd in (("Lambda", 0.106), ("EC2", 0.0), ("total", 7.23))
    ],
}


def test_each_section_becomes_a_table() -> None:
    """What the rows say, rounded as a reader needs it."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables(RESULTS).splitlines() if line.startswith("|")]
    assert ["1,000", "ours", "3", "20", "0", "2.0", "3.5", "4.0", "100 %"] in lines
    assert ["100", "one describe each", "100", "100", "1", "never", "never", "never", "98.77 %"] in lines
    assert [line[0] for line in lines if line[1] in ("ours", "one describe each")] == ["100", "1,000"]
    assert ["`record_notice`", "1.05", "1", "1.8", "60", "1 PutItem"] in lines
    assert ["1 an hour", "never ends", *["1.2 / 1,234"] * 3] in lines
    assert ["Lambda", "0.11", "0.11"] in lines
    assert ["total", "7.23", "7.23"] in lines
    assert not [line for line in lines if line[0] == "EC2"]


@pytest.mark.parametrize("hidden", [{"warnings": 99}, {"design": "ours, 2 shards"}])
def test_small_bursts_and_variants_are_left_to_the_results(hidden: dict[str, Any]) -> None:
    """The README shows what tells the designs apart."""
    more = {**RESULTS, "burst": [*RESULTS["burst"], {**RESULTS["burst"][0], **hidden}]}
    assert tables(more) == tables(RESULTS)


def test_writing_twice_is_writing_once(tmp_path: Path) -> None:
    """What stands around the markers stays as it is."""
    readme, results = tmp_path / "README.md", tmp_path / "bench.json"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    results.write_text(json.dumps(RESULTS))
    main(readme, results)
    once = readme.read_text()
    assert once == f"# Title\n\n{BEGIN}\n\n{tables(RESULTS)}\n\n{END}\n\nThe end.\n"
    main(readme, results)
    assert readme.read_text() == once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}", f"see {BEGIN}\n{END}"])
def test_a_text_without_its_markers_is_refused(text: str) -> None:
    """Rather than guess where the tables belong."""
    with pytest.raises(NotWritten, match="expected one line"):
        replaced(text, RESULTS)


def test_a_benchmark_that_has_not_run_is_named(tmp_path: Path) -> None:
    """And the file stays as it is."""
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(NotWritten, match="nothing under burst, handlers, overhead, cost: run `make bench`"):
        main(readme, tmp_path / "bench.json")
    assert readme.read_text() == f"{BEGIN}\nold\n{END}\n"


def test_a_section_alone() -> None:
    """A document of one subject has its table, without the title."""
    written = replaced(f"before\n<!-- bench: cost -->\nold\n{END}\nafter\n", RESULTS)
    assert written == f"before\n<!-- bench: cost -->\n\n{tables(RESULTS, 'cost')}\n\n{END}\nafter\n"
    assert tables(RESULTS, "cost") in tables(RESULTS)


def test_a_section_that_does_not_exist() -> None:
    """It is named, with those that do."""
    with pytest.raises(NotWritten, match="there is no section money: burst, handlers, overhead, cost"):
        replaced(f"<!-- bench: money -->\n{END}\n", RESULTS)


@pytest.mark.parametrize(("name", "section"), [("docs/cost.md", "cost"), ("docs/checkpoint-interval.md", "overhead")])
def test_documents_and_readme_agree(name: str, section: str) -> None:
    """`make bench` writes to all of them; their tables are of one run."""
    document, readme = (ROOT / name).read_text(), (ROOT / "README.md").read_text()
    (block,) = [found[0].splitlines()[2:-2] for found in BLOCK.finditer(document) if found[1] == section]
    assert "\n".join(block) in readme
    assert replaced(readme, RESULTS)
