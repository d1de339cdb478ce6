"""What one cold start costs: run in a fresh interpreter, prints one line of JSON.

    python bench/cold_start.py record_notice     # the function's module, then its clients
    python bench/cold_start.py boto3             # boto3, then a DynamoDB client: the reference
    python bench/cold_start.py boto3+Logger      # the same and Powertools' Logger: what a function with a log of its own has at least

``import``: until the handler can be called. ``ready``: with what the first invocation builds, too. Each as ``[wall, CPU]`` in
seconds since the first line below, so the interpreter's own start does not count. Imports nothing but what the measuring needs.
"""

import sys
from importlib import import_module
from json import dumps
from pathlib import Path
from time import perf_counter, process_time

LIBRARIES = {"boto3": ("boto3",), "boto3+Logger": ("boto3", "aws_lambda_powertools")}
FUNCTIONS = Path(__file__).parent.parent / "functions"
# What a developer's environment may have, the Lambda runtime has not, and botocore and urllib3 would import at once.
sys.modules |= dict.fromkeys(("awscrt", "OpenSSL"))  # type: ignore[arg-type]  # the documented way to make an import fail


def prepare(name: str) -> None:
    """Import what a function, or a reference, imports."""
    if name in LIBRARIES:
        for library in LIBRARIES[name]:
            import_module(library)
    else:
        sys.path.insert(0, str(FUNCTIONS / name))
        import_module("app")


def build(name: str) -> None:
    """Build what the first invocation builds."""
    if name in LIBRARIES:
        sys.modules["boto3"].client("dynamodb")
        if "aws_lambda_powertools" in LIBRARIES[name]:
            sys.modules["aws_lambda_powertools"].Logger()
    else:
        wiring = sys.modules[sys.modules["app"].handler.__module__]
        wiring._use_case()  # noqa: SLF001  # there is no event yet that would do it


def main(name: str) -> None:
    """Measure one cold start."""
    before = set(sys.modules)
    start = perf_counter(), process_time()
    prepare(name)
    imported = perf_counter(), process_time()
    build(name)
    ready = perf_counter(), process_time()
    result = {
        "import": [imported[0] - start[0], imported[1] - start[1]],
        "ready": [ready[0] - start[0], ready[1] - start[1]],
        "modules": sorted(set(sys.modules) - before),
    }
    sys.stdout.write(dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
