"""Fault Injection Service of the sandbox. So far moto's, which has the API without the effects."""

from typing import ClassVar


class SpotFisProvider:
    """FIS as moto has it: every operation falls through."""

    service: ClassVar[str] = "fis"
    version: ClassVar[str] = "2020-12-01"
