"""EventBridge's notice in; one log line and one item in the notices table out."""

from spot_responder.wiring.record_notice import record_notice as handler

__all__ = ["handler"]
