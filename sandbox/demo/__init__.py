"""``make demo``: a fleet of Spot Instances is interrupted, its work is saved, and the story is told; a game day of the job follows.

`play` is the sequence, `scenario` says what happens to which instance, `figures` counts what happened and says what does not
hold, `picture` draws it and `screen` shows it while it happens. Every figure is taken from what the sandbox saw:
lines of the log group, items of the notices table, API calls.
"""
