"""Everything that can go wrong, as one tree.

::

    AgentError
    ├── Misconfigured      a setting, a tag or the job's item is missing or wrong: the sentence names it
    ├── NotSaved           the program did not save its state: no checkpoint this time, the last good one stays
    ├── Unusable           a checkpoint that is not what was saved: the one before it is used
    └── CallFailed         AWS did not do what was asked
        ├── Unavailable    throttled, unreachable or broken for now: worth another try
        ├── Refused        AWS understood and declined: the same again would not help
        └── Overtaken      a conditional write found that the job is no longer this agent's
"""


class AgentError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


class Misconfigured(AgentError):
    """What the agent was given cannot work; the sentence says what and where."""


class NotSaved(AgentError):
    """The program did not save its state in time, or ended instead."""


class Unusable(AgentError):
    """A checkpoint is missing, damaged or not the one that was recorded."""


class CallFailed(AgentError):
    """A call to AWS failed; the sentence is AWS's own, behind the operation's name."""


class Unavailable(CallFailed):
    """Throttling, a 5xx, no connection or no credentials yet."""


class Refused(CallFailed):
    """AWS declined for good."""


class Overtaken(CallFailed):
    """The condition of a write did not hold."""
