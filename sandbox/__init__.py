"""The embedded AWS: `python -m sandbox start | status | stop | env`."""
