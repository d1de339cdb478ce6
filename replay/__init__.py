"""What an outage left undone, done again: the archive's notices and the dead letters of a stack.

    python -m replay --stack spot-responder [--from 2026-11-22T09:00Z --to 2026-11-22T11:00Z]

Safe to run, and to run again: a notice keeps its key and its time, so that one that was recorded is not recorded again, and what is late
by now is recorded and not acted upon. Runs with the rights of the person who starts it, against an account or the local AWS.
"""
