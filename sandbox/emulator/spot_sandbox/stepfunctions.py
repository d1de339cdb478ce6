"""Step Functions."""


def install() -> None:
    """Nothing yet."""
