"""SSM's word on a checkpoint in; the outcome of its notice out."""

from spot_responder.wiring.record_checkpoint import record_checkpoint as handler

__all__ = ["handler"]
