"""Spot Responder: from EC2's notice to a saved checkpoint.

Arrows point inward: ``domain`` (pure) <- ``use_cases`` <- ``adapters`` (the AWS) <- ``wiring`` <- the functions.
"""
