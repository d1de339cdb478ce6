"""What happens when many instances are warned at once: ours and others' designs inside AWS's limits, simulated. ``python -m bench.burst``."""
