"""The game day: an experiment of AWS Fault Injection Service against the job that always finishes, and what came of it.

In comes a deployed stack; out go the story as it happens, a verdict on the hypothesis, a table, ``out/gameday.json`` and
``out/gameday.png``. The parts, from the inside out:

- ``evidence``, ``figures``, ``verdict``, ``report``: from records to figures, pure.
- ``experiment``, ``story``, ``waiting``: what is asked for, the log as it grows, waiting with a deadline.
- ``run``: the order of a game day, in terms of ``ports``.
- ``adapters``: the ports on AWS, one per service. ``picture``: the drawing.
- ``__main__``: the command line.

It speaks to whatever account boto3 finds, so the same code runs against a real one and against an emulator
(``AWS_ENDPOINT_URL``). Only the time scale tells it that durations there are shorter.
"""
