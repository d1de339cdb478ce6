"""LocalStack's index of all AWS operations, built once for the environment: ``python -m spot_sandbox.catalogue DIRECTORY``.

LocalStack builds it at the first call from the models of every service, which takes seconds and a third of a gigabyte
that the emulator then keeps, and it would do so again at each start, since each starts with empty directories.
"""

import sys
import tempfile
from pathlib import Path

from localstack.aws import spec


def build(directory: Path) -> Path:
    """Build the index in `directory` unless it is there; return the file, whose name bears the versions it is for."""
    target = directory / spec._get_catalog_filename()  # noqa: SLF001 - LocalStack looks for this name
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            unfinished = Path(scratch) / target.name
            spec.build_service_index_cache(str(unfinished))
            unfinished.replace(target)  # whole or not at all: another sandbox may be starting, too
    return target


if __name__ == "__main__":
    build(Path(sys.argv[1]))
