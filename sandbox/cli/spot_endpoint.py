"""What guides for version 2 of AWS's command line take for granted, for version 1.

SQS and a few others are called where ``AWS_ENDPOINT_URL`` says, as all the rest: for some services it puts an address of its own in
(``awscli.customizations.overridesslcommonname``), unless one was given as an option. The option ``--no-cli-pager`` is known, and does nothing:
there is no pager. A plugin as `spot_logs_tail` is.
"""

import os
from argparse import Namespace
from typing import Any

from awscli.arguments import CustomArgument  # type: ignore[import-untyped]  # awscli has no types
from awscli.customizations.overridesslcommonname import SSL_COMMON_NAMES  # type: ignore[import-untyped]  # awscli has no types


def awscli_initialize(event_hooks: Any) -> None:
    """Have the endpoint looked at first, and the option known; AWS's command line calls this for each plugin that its configuration names."""
    event_hooks.register_first("before-building-argument-table-parser", give_endpoint)
    event_hooks.register("building-top-level-params", take_no_pager)


def give_endpoint(parsed_globals: Namespace, **_: Any) -> None:
    """Take the environment's endpoint for one that was given as an option, unless there is one."""
    if parsed_globals.command in SSL_COMMON_NAMES and parsed_globals.endpoint_url is None:
        parsed_globals.endpoint_url = os.environ.get("AWS_ENDPOINT_URL")


def take_no_pager(argument_table: dict[str, Any], **_: Any) -> None:
    """Know the option."""
    option = CustomArgument("no-cli-pager", action="store_true", help_text="Taken for version 2's sake.")
    argument_table.setdefault("no-cli-pager", option)
