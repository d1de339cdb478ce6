"""The story as JSON lines on standard output, which Lambda puts into the log group (Lambda, ``LoggingConfig``)."""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from spot_responder.domain.lines import Line

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("timestamp", "level", "message", *(field.name for field in dataclasses.fields(Line) if field.name != "message"), "function", "request_id")
"""Every line has these, in this order; what does not apply is null."""
TEXT_BYTES = 3_600
"""Two texts of a line may be long, message and reason: the line stays below 8 KB."""
LONGEST_ESCAPE = len(json.dumps("\U0001f4be")) - len('""')


class StoryFormatter(LambdaPowertoolsFormatter):
    """Powertools' formatter, which leaves out what is None, with the same fields in every line."""

    def serialize(self, log: Mapping[str, Any]) -> str:
        """Return one line of JSON."""
        # Powertools adds a trace id where Lambda sets one; ours are told apart by their request id.
        extra = {name: value for name, value in log.items() if name not in (*FIELDS, "xray_trace_id")}
        return json.dumps({name: shortened(log.get(name)) for name in FIELDS} | extra, ensure_ascii=True, default=str)


def shortened(value: object) -> object:
    """Return a value of which JSON takes no more than ``TEXT_BYTES``: what a hook printed, or what AWS says of a refusal, can be long."""
    if not isinstance(value, str) or len(value) * LONGEST_ESCAPE <= TEXT_BYTES:
        return value
    sizes = list(accumulate(len(json.dumps(character)) - len('""') for character in value))
    return value if sizes[-1] <= TEXT_BYTES else f"{value[: bisect_right(sizes, TEXT_BYTES)]}..."


@dataclass(slots=True)
class StoryLog:
    """``Story`` in the function's log."""

    function: str
    logger: Logger = field(init=False)

    def __post_init__(self) -> None:
        """Configure Powertools: UTC, milliseconds, nothing that does not belong to the story."""
        formatter = StoryFormatter(use_rfc3339=True, utc=True)
        self.logger = Logger(service=self.function, logger_formatter=formatter, location=None)
        self.logger.remove_keys(["service", "location"])
        self.logger.append_keys(function=self.function)

    def invoked(self, request_id: str) -> None:
        """Let the lines that follow name this invocation."""
        self.logger.append_keys(request_id=request_id)

    def tell(self, line: Line) -> None:
        """Write one line."""
        fields = {field.name: getattr(line, field.name) for field in dataclasses.fields(line) if field.name != "message"}
        log = self.logger.warning if line.is_trouble else self.logger.info
        log(line.message, extra=fields)
