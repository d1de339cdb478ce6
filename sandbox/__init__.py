"""The embedded AWS: `python -m sandbox start | status | stop | env | demo`."""

import sys

if sys.version_info < (3, 13):  # noqa: UP036 - said in a sentence, where the syntax of the modules would only say "invalid"
    sys.exit("The sandbox needs Python 3.13; `make setup` makes an environment with it in .venv.")
