"""The agent runs on what Amazon Linux 2023 has: Python 3.9, older than ours."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

AGENT = Path(__file__).parents[3] / "agent"
FILES = sorted(AGENT.rglob("*.py"))
PYTHON = shutil.which("python3.9")
"""May be there and not work, where a version manager has put a stand-in for it."""
IMPORT_ALL = """
import importlib, pathlib, sys
for file in sorted(pathlib.Path("spot_agent").glob("*.py")):
    name = "spot_agent." + file.stem
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in ("botocore", "urllib3", "s3transfer"):
            raise
import install
"""
"""Where this Python has no botocore, the modules that need it are left out."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_grammar_is_that_of_python_3_9(file: Path) -> None:
    """No file uses a construct that Python 3.9 cannot read: no ``match``, no brackets round several ``with``."""
    ast.parse(file.read_text(), str(file), feature_version=(3, 9))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_types_are_not_evaluated(file: Path) -> None:
    """Annotations stay text, so that ``X | None`` is read by the checker alone; every file with code says so."""
    tree = ast.parse(file.read_text())
    has_code = any(isinstance(node, ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree))
    imports = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__" for alias in node.names]
    assert not has_code or "annotations" in imports


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code with Python 3.9."""
    return subprocess.run([str(PYTHON), "-B", "-c", code], cwd=AGENT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(PYTHON is None or run("").returncode != 0, reason="no python3.9 here")
def test_python_3_9_imports_it() -> None:
    """That very Python imports all of it."""
    result = run(IMPORT_ALL)
    assert result.returncode == 0, result.stderr
