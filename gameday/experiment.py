"""What a person asks for: which experiment, on which job, at which pace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Experiment(StrEnum):
    """The two experiments of the FIS workshop."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"

    @property
    def template_name(self) -> str:
        """The tag ``Name`` of the experiment's template, as the workshop sets it."""
        return f"FisWorkshopSpot{self.capitalize()}"

    @property
    def run_name(self) -> str:
        """The tag ``Name`` of a run of it, as the workshop sets it."""
        return f"{self.template_name}Test"


@dataclass(frozen=True, slots=True)
class TimeScale:
    """How long a second lasts where the game day runs: 1 in an account, 0.1 where time goes ten times faster.

    Durations are kept at real scale. ``wall`` gives what passes on the clock here, ``real`` goes back.
    """

    factor: float = 1.0

    def wall(self, seconds: float) -> float:
        """Seconds on the clock here."""
        return seconds * self.factor

    def real(self, seconds: float) -> float:
        """Seconds at real scale."""
        return seconds / self.factor


@dataclass(frozen=True, slots=True)
class Plan:
    """One game day. Minutes are at real scale."""

    experiment: Experiment
    stack: str
    job_minutes: float = 6.0
    checkpoint_minutes: float = 2.0
    scale: TimeScale = TimeScale()

    @property
    def job_seconds(self) -> float:
        """The job's work, seconds at real scale."""
        return 60 * self.job_minutes

    @property
    def interval_seconds(self) -> float:
        """The time between two checkpoints, seconds at real scale."""
        return 60 * self.checkpoint_minutes

    def job_input(self, job_id: str) -> dict[str, str]:
        """The execution's input: the workshop's two keys, in minutes as text, and the job's id."""
        return {
            "JobDuration": f"{self.scale.wall(self.job_minutes):.6g}",
            "CheckpointDuration": f"{self.scale.wall(self.checkpoint_minutes):.6g}",
            "JobId": job_id,
        }
