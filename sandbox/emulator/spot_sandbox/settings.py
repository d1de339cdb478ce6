"""The settings that `python -m sandbox start` hands to the emulator, read once from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_current: list["Settings"] = []


@dataclass(frozen=True)
class Settings:
    """Where the sandbox keeps its files and how fast its time runs.

    `time_scale` multiplies every duration (1 is true time, 0.1 ten times faster); `boot_seconds` is how long an
    instance takes to boot at true time.
    """

    directory: Path
    time_scale: float
    boot_seconds: float

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read ``SPOT_SANDBOX_*``; raise ValueError with the variable's name for what is no number of 0 or more."""
        return cls(
            directory=Path(env.get("SPOT_SANDBOX_DIR", ".sandbox")).resolve(),
            time_scale=_number(env, "SPOT_SANDBOX_TIME_SCALE", 1.0),
            boot_seconds=_number(env, "SPOT_SANDBOX_BOOT_SECONDS", 40.0),
        )

    def scaled(self, seconds: float) -> float:
        """How long `seconds` of true time last here."""
        return seconds * self.time_scale


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError as error:
        msg = f"{name} must be a number, not {text!r}"
        raise ValueError(msg) from error
    if number < 0:
        msg = f"{name} must not be below 0, but is {text}"
        raise ValueError(msg)
    return number


def settings() -> Settings:
    """The settings of this process."""
    if not _current:
        _current.append(Settings.from_env(os.environ))
    return _current[0]


def change_time_scale(time_scale: float) -> None:
    """Let time run at another pace from now on; what has been begun goes on at its own. Raises ValueError below 0."""
    if time_scale < 0:
        raise ValueError(f"time_scale must not be below 0, but is {time_scale}")
    _current[:] = [replace(settings(), time_scale=time_scale)]
