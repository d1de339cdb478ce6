"""Which `aws` a shell gets that speaks to the sandbox: one that knows the sandbox's endpoint and `aws logs tail`.

Version 2 does from 2.13 on; where the shell has it, it stays. Otherwise it gets version 1 of our own virtual
environment, which is taught both by the plugins in ``sandbox/cli``. They are named in a configuration file of the
sandbox's: `aws` and the SDKs then do not read the user's, and the user's stays as it is.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox.control import SandboxError

PLUGINS = ("spot_logs_tail", "spot_endpoint")
CONFIGURATION = "".join(["[plugins]\n", *(f"{name} = {name}\n" for name in PLUGINS)])
ENOUGH = (2, 13)
"""The first version that reads ``AWS_ENDPOINT_URL``; all of version 2 have `logs tail`."""
_ANSWER_SECONDS = 30


def aws_exports(directory: Path) -> list[str]:
    """Return the lines for the shell, none where its `aws` is good as it is; `directory` is the sandbox's.

    Raises `SandboxError` where our virtual environment lacks `aws` or the plugin.
    """
    found = shutil.which("aws")
    if found and version(found) >= ENOUGH:
        return []
    configuration = directory / "aws-config"
    configuration.write_text(CONFIGURATION)
    ours = _ours()
    change_path = [] if found and Path(found).parent == ours else [f'export PATH={shlex.quote(str(ours))}:"$PATH"']
    return [*change_path, f"export AWS_CONFIG_FILE={shlex.quote(str(configuration))}"]


def version(program: str) -> tuple[int, ...]:
    """Return the version of an `aws`, such as (2, 36, 12); (0,) where it does not say."""
    try:
        said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=_ANSWER_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    told = re.match(r"aws-cli/(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(number) for number in told.groups()) if told else (0,)


def _ours() -> Path:
    """The folder of our own `aws`, whose Python is the one that runs this."""
    folder = Path(sys.executable).parent
    if not (folder / "aws").exists() or any(importlib.util.find_spec(name) is None for name in PLUGINS):
        raise SandboxError(f"{folder} lacks `aws`, or its plugins; run `make -B .venv/ready`.")
    return folder
