"""Our own models of AWS's services: parts of botocore's, nothing else."""

from __future__ import annotations

from pathlib import Path

from layers.trim_models import models
from spot_responder.adapters.clients import MODELS


def test_models_are_botocores() -> None:
    """Each model is what ``layers/trim_models.py`` makes of the botocore that is installed, to the letter; there are no others."""
    made = models()
    assert {path: path.read_text() for path in Path(MODELS).rglob("*.json")} == made, "run `python layers/trim_models.py`"


def test_models_are_small() -> None:
    """A model is read at each cold start: it stays far below the 4 MB of EC2's whole."""
    assert max(len(text) for text in models().values()) < 40_000
