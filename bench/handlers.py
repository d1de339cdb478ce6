"""What the handlers cost: cold start, CPU and memory of a warm invocation, calls to AWS. No network.

    python -m bench.handlers [--rounds 11]

Prints a table and writes it to ``out/bench.json`` under ``handlers``. A cold start is measured beside two references, ``boto3`` with
one client, and the same with Powertools' Logger, in fresh interpreters that take turns, so that whatever else the machine does meets
them all. ``import_ratio`` is that of everything a cold start imports and builds, all clients included, to the first reference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.results import RESULTS, ROOT, progress, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFERENCE, WITH_LOGGER = "boto3", "boto3+Logger"
WORK = {"record_notice": (1,), "respond_to_notices": (100, 1000), "record_checkpoint": (1,), "record_instance_state": (1,)}
"""How many events or stream records the warm invocations of a function get; the last is the one with a goal."""

SETTINGS = {
    "PYTHONPATH": str(ROOT / "layers" / "responder"),
    "NOTICES_TABLE": "notices",
    "CHECKPOINT_DOCUMENT": "checkpoint",
    "OPT_IN_TAG_KEY": "spot-responder:checkpoint",
    "OPT_IN_TAG_VALUE": "enabled",
    "REBALANCE_RESPONSE": "checkpoint",
    "RETENTION_DAYS": "30",
    # Nothing is signed for anybody: no request leaves the process.
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "POWERTOOLS_SERVICE_NAME": "bench",
}

type Timing = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cold:
    """A cold start: CPU milliseconds, medians; ``*_ratio`` to the reference's, in CPU or in wall time.

    ``ready_ratio_with_logger`` is to the reference that has Powertools' Logger, too.
    """

    import_ms: float
    ready_ms: float
    import_ratio: float
    ready_ratio: float
    ready_ratio_with_logger: float
    ready_wall_ratio: float
    own_modules: list[str]
    other_modules: int
    beyond_reference: list[str]


@dataclass(frozen=True, slots=True)
class Warm:
    """A warm invocation with ``size`` events or records."""

    size: int
    cpu_ms: float
    peak_mb: float
    calls: dict[str, int]


def python(*arguments: str, **settings: str) -> Any:  # noqa: ANN401  # JSON
    """Run a program of ours in a fresh interpreter and return its last line, JSON."""
    environment = {"PATH": os.environ["PATH"], **SETTINGS, **settings}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  # our own
    return json.loads(done.stdout.splitlines()[-1])


def cold_starts(rounds: int) -> dict[str, list[Timing]]:
    """Return the timings of each function, with the job part deployed, and of the references.

    The first round, which writes the bytecode, does not count.
    """
    names = (REFERENCE, WITH_LOGGER, *WORK)
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    for number in range(rounds + 1):
        progress(f"handlers: cold starts, {number} of {rounds} rounds")
        for name in names:
            timings[name].append(python("bench/cold_start.py", name, JOBS_TABLE="jobs"))
    return {name: all_rounds[1:] for name, all_rounds in timings.items()}


def milliseconds(timings: Sequence[Timing], until: str, clock: int) -> float:
    """Return the median time until ``import`` or ``ready``, by clock 0 (wall) or 1 (CPU)."""
    return 1000 * median(float(timing[until][clock]) for timing in timings)


def ratio(timings: Sequence[Timing], reference: Sequence[Timing], until: str, clock: int) -> float:
    """Return the median ratio to the reference's run of the same round, which the machine's other work slowed as much."""
    return median(float(one[until][clock]) / float(other[until][clock]) for one, other in zip(timings, reference, strict=True))


def cold(timings: Sequence[Timing], reference: Sequence[Timing], with_logger: Sequence[Timing]) -> Cold:
    """Return a function's cold start beside the references'."""
    wall, cpu = 0, 1
    own, others = split_modules(timings[0]["modules"])
    return Cold(
        import_ms=milliseconds(timings, "import", cpu),
        ready_ms=milliseconds(timings, "ready", cpu),
        import_ratio=ratio(timings, reference, "import", cpu),
        ready_ratio=ratio(timings, reference, "ready", cpu),
        ready_ratio_with_logger=ratio(timings, with_logger, "ready", cpu),
        ready_wall_ratio=ratio(timings, reference, "ready", wall),
        own_modules=own,
        other_modules=len(others),
        beyond_reference=sorted(set(others) - set(with_logger[0]["modules"])),
    )


def split_modules(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return our modules, and those of others."""
    own = [name for name in names if name == "app" or name.split(".")[0] == "spot_responder"]
    return own, [name for name in names if name not in own]


def warm(function: str) -> list[Warm]:
    """Return a function's warm invocations, each size in a process of its own."""
    progress(f"handlers: {function}, warm")
    return [Warm(size=size, **python("-m", "bench.warm", function, str(size))) for size in WORK[function]]


def as_json(function: str, start: Cold, invocations: Sequence[Warm]) -> dict[str, Any]:
    """Return a function's entry of the results; its figures are those of the largest size."""
    last = invocations[-1]
    return {
        "function": function,
        "import_ratio": round(start.ready_ratio, 3),
        "cpu_ms": round(last.cpu_ms, 3),
        "peak_mb": round(last.peak_mb, 1),
        "cold_start": asdict(start),
        "warm": [asdict(invocation) for invocation in invocations],
    }


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a head and rows as a table: columns that begin with a figure to the right, words to the left."""
    columns = range(len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in columns]
    is_figure = [rows[1][column].replace(",", "").replace(".", "").isdecimal() for column in columns]
    cells = ([row[at].rjust(widths[at]) if is_figure[at] else row[at].ljust(widths[at]) for at in columns] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in cells)


def cold_table(starts: Mapping[str, Cold], timings: Mapping[str, Sequence[Timing]]) -> str:
    """Return the cold starts as a table."""
    head = ("cold start", "import ms", "ratio", "+ clients ms", "ratio", "wall ratio", "ratio to +Logger", "our modules", "others", "beyond +Logger")
    references = {name: cold(timings[name], timings[REFERENCE], timings[WITH_LOGGER]) for name in (REFERENCE, WITH_LOGGER)}
    return aligned([head, *(cold_row(name, start) for name, start in (references | dict(starts)).items())])


def cold_row(name: str, start: Cold) -> tuple[str, ...]:
    """Return one cold start."""
    modules = (len(start.own_modules), start.other_modules, len(start.beyond_reference))
    imported = f"{start.import_ms:.0f}", f"{start.import_ratio:.2f}"
    ready = f"{start.ready_ms:.0f}", f"{start.ready_ratio:.2f}", f"{start.ready_wall_ratio:.2f}", f"{start.ready_ratio_with_logger:.2f}"
    return (name, *imported, *ready, *map(str, modules))


def warm_table(invocations: Mapping[str, Sequence[Warm]]) -> str:
    """Return the warm invocations as a table."""
    head = ("warm invocation", "records", "CPU ms", "peak MB", "calls")
    return aligned([head, *(warm_row(function, one) for function, all_sizes in invocations.items() for one in all_sizes)])


def warm_row(function: str, one: Warm) -> tuple[str, ...]:
    """Return one function's warm invocation."""
    calls = ", ".join(f"{count} {name.split(':')[1]}" for name, count in one.calls.items())
    return (function, f"{one.size:,}", f"{one.cpu_ms:.1f}", f"{one.peak_mb:.0f}", calls)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What the handlers cost.")
    parser.add_argument("--rounds", type=int, default=11, help="cold starts of each function (default: 11)")
    timings = cold_starts(parser.parse_args().rounds)
    starts = {function: cold(timings[function], timings[REFERENCE], timings[WITH_LOGGER]) for function in WORK}
    invocations = {function: warm(function) for function in WORK}
    record("handlers", [as_json(function, starts[function], invocations[function]) for function in WORK])
    sys.stdout.write(f"{cold_table(starts, timings)}\n\n{warm_table(invocations)}\n\n{RESULTS.relative_to(ROOT)} has all figures.\n")


if __name__ == "__main__":
    main()
