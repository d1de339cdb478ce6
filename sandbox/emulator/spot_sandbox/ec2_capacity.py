"""How many instances each capacity pool (market, type and zone) still gives. Pure.

Everything is there until it is made scarce; what is scarce is counted down with each launch.
"""

from spot_sandbox.api_errors import ApiError

ANY_POOL = "*"

MARKETS = ("spot", "on-demand")


class Capacity:
    """The instances left by market and pool (``m5.large:us-east-1a``); a pool without a number is never empty."""

    def __init__(self) -> None:
        """Start with plenty."""
        self._left: dict[tuple[str, str], int | None] = {}

    def limit(self, market: str, pools: dict[str, int | None]) -> None:
        """Say what is left from now on: a number, or None for plenty; ``*`` speaks for every pool not named."""
        if market not in MARKETS:
            raise ValueError(f"market must be one of {', '.join(MARKETS)}, not {market!r}")
        if ANY_POOL in pools:
            # What was said of single pools before no longer counts.
            self._left = {key: left for key, left in self._left.items() if key[0] != market}
        for pool, left in pools.items():
            self._left[market, pool] = left

    def left(self, market: str, pool: str) -> int | None:
        """Return how many instances the pool still gives; None for as many as one likes."""
        return self._left.get((market, pool), self._left.get((market, ANY_POOL)))

    def take(self, market: str, pool: str, count: int) -> bool:
        """Take `count` instances, all or none; tell whether they were there."""
        left = self.left(market, pool)
        if left is None:
            return True
        if left < count:
            return False
        self._left[market, pool] = left - count
        return True


def no_capacity(market: str, instance_type: str, zone: str) -> ApiError:
    """Return EC2's own refusal of a launch into an empty pool.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html (a server error: status 500)
    """
    if market == "spot":
        text = "There is no Spot capacity available that matches your request."
    else:
        text = (
            f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone}). "
            "Our system will be working on provisioning additional capacity."
        )
    return ApiError("InsufficientInstanceCapacity", text, status=500)
