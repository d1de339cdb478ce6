"""What LocalStack's open-source core lacks for Spot Responder, as plugins that run inside it.

The distribution's entry points (``pyproject.toml``) lead to `spot_sandbox.plugins`; every plugged-in service is a
module of its own beside it. Modules that import nothing of LocalStack hold the pure rules (filter patterns, log
lines), so that they are tested without an emulator.
"""
