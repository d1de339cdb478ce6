"""What happens to which of the 25 instances, and how each notice must therefore end.

20 are opted in, 3 are not, and 2 bear the tag but have no instance profile, so that SSM does not manage them. 15 are interrupted:
5 after a rebalance recommendation, one with its event delivered twice, one that EC2 no longer knows when it is described.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.fleet import Launched, Wanted

DISK_FULL = 28
"""curl's and many another program's word for "could not write"."""
LONGEST_CHECKPOINT_SECONDS = 5.0


@dataclass(frozen=True)
class Part:
    """What one instance goes through; `ends` is the outcome that its interruption must have."""

    wanted: Wanted
    rebalanced: bool = False
    interrupted: bool = False
    copies: int = 1
    forgotten: bool = False
    ends: str = "saved"


@dataclass(frozen=True)
class Player:
    """An instance that was launched for a part."""

    launched: Launched
    part: Part

    @property
    def instance_id(self) -> str:
        """Its id."""
        return self.launched.instance_id


def parts() -> list[Part]:
    """Return all 25, in the order of their names."""
    return [*_opted_in(), *_not_opted_in(), *_not_managed()]


def _opted_in() -> list[Part]:
    full = "cannot write the checkpoint: no space left on the volume"
    rebalanced = [Part(_render(number), rebalanced=True, interrupted=True) for number in range(1, 6)]
    twice = Part(_render(6), interrupted=True, copies=2)
    failing = Part(Wanted("render-07", checkpoint_seconds=1, exit_status=DISK_FULL, complaint=full), interrupted=True, ends="failed")
    forgotten = Part(_render(8), interrupted=True, forgotten=True, ends="vanished")
    plain = [Part(_render(number), interrupted=True) for number in range(9, 14)]
    spared = [Part(_render(number)) for number in range(14, 21)]
    return [*rebalanced, twice, failing, forgotten, *plain, *spared]


def _not_opted_in() -> list[Part]:
    names = ("web-01", "web-02", "web-03")
    return [Part(Wanted(name, opted_in=False), interrupted=name == "web-01", ends="not opted in") for name in names]


def _not_managed() -> list[Part]:
    names = ("bare-01", "bare-02")
    return [Part(Wanted(name, managed=False), interrupted=name == "bare-01", ends="failed") for name in names]


def _render(number: int) -> Wanted:
    """An instance whose checkpoints take from half a second to five."""
    return Wanted(f"render-{number:02d}", checkpoint_seconds=0.5 + number * 7 % 10 * (LONGEST_CHECKPOINT_SECONDS - 0.5) / 9)


def interrupted(players: Sequence[Player]) -> list[Player]:
    """Return those that are interrupted, those apart that get a special one spread among the others.

    Who is to be forgotten comes in the first wave: before that is described lies the batching window, in which EC2 can forget.
    """
    return sorted((player for player in players if player.part.interrupted), key=lambda player: (not player.part.forgotten, player.instance_id))


def rebalanced(players: Sequence[Player]) -> list[Player]:
    """Return those that have a rebalance recommendation first."""
    return [player for player in players if player.part.rebalanced]


def notices_due(players: Sequence[Player]) -> int:
    """Return how many notices that makes."""
    return len(interrupted(players)) + len(rebalanced(players))


def duplicates_due(players: Sequence[Player]) -> int:
    """Return how many copies of notices that makes."""
    return sum(player.part.copies - 1 for player in interrupted(players))
