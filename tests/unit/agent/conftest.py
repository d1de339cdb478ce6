"""The agent's code is no package of ours: it is found where the layer has it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parents[2] / "agent", HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
