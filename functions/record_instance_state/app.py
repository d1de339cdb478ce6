"""EC2's word that an instance ended in; its notices closed."""

from spot_responder.wiring.record_instance_state import record_instance_state as handler

__all__ = ["handler"]
