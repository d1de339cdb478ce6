"""Lets version 1 of AWS's command line call SQS and a few others where ``AWS_ENDPOINT_URL`` says, as it calls all the rest.

For some services it puts an address of its own in (``awscli.customizations.overridesslcommonname``), unless one was given as an option. A
plugin as `spot_logs_tail` is.
"""

import os
from argparse import Namespace
from typing import Any

from awscli.customizations.overridesslcommonname import SSL_COMMON_NAMES  # type: ignore[import-untyped]  # awscli has no types


def awscli_initialize(event_hooks: Any) -> None:
    """Have the endpoint looked at first; AWS's command line calls this for each plugin that its configuration names."""
    event_hooks.register_first("before-building-argument-table-parser", give_endpoint)


def give_endpoint(parsed_globals: Namespace, **_: Any) -> None:
    """Take the environment's endpoint for one that was given as an option, unless there is one."""
    if parsed_globals.command in SSL_COMMON_NAMES and parsed_globals.endpoint_url is None:
        parsed_globals.endpoint_url = os.environ.get("AWS_ENDPOINT_URL")
