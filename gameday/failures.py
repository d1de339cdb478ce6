"""What can keep a game day from giving a verdict.

GameDayFailure
 ├─ Unmet      a precondition does not hold; says which and what to do          exit status 2
 ├─ Overdue    something did not happen by its deadline                         exit status 1
 └─ Refused    AWS refused a call for a reason that nobody expected             exit status 1
"""

from __future__ import annotations


class GameDayFailure(Exception):
    """The game day ends without a verdict. The text is one sentence for the person who started it."""


class Unmet(GameDayFailure):
    """A precondition does not hold."""


class Overdue(GameDayFailure):
    """Something did not happen by its deadline."""


class Refused(GameDayFailure):
    """AWS refused a call; ``code`` is its error code."""

    def __init__(self, action: str, code: str, message: str) -> None:
        super().__init__(f"AWS refused {action} ({code}): {message}")
        self.code = code
        self.message = message
