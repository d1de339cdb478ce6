"""The agent's code is no package of ours: it is found where the layer has it."""

import sys
from pathlib import Path

AGENT = str(Path(__file__).parents[3] / "agent")
if AGENT not in sys.path:
    sys.path.insert(0, AGENT)
