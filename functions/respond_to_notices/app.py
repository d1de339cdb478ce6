"""A batch of new notices in; commands to the instances, and each notice's answer, out."""

from spot_responder.wiring.respond_to_notices import respond_to_notices as handler

__all__ = ["handler"]
