"""Texts that somebody could send who wants them executed, expanded, parsed or shown as something else."""

from __future__ import annotations

HOSTILE = {
    "command substitution": "$(touch /tmp/owned)",
    "backquotes": "`touch /tmp/owned`",
    "separator": "x; touch /tmp/owned",
    "pipe": "x | tee /tmp/owned",
    "quotes": "'\"; touch /tmp/owned; '\"",
    "expansion": "${IFS}$HOME*?~",
    "newline": "x\ntouch /tmp/owned",
    "newline at the end": "x\n",
    "carriage return": "x\rWARNING all is well",
    "json": '", "command_id": "forged", "x": "',
    "json object": '{"detail": {"instance-id": "i-00000000000000001"}}',
    "jsonata": "{% $states.context.Execution.Id %}",
    "ssm placeholder": "{{ ssm:/secret }}",
    "partiql": "x' OR '1'='1",
    "path": "../../etc/passwd",
    "option": "--output=/tmp/owned",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x1b[31m",
    "control sequence of one byte": "\x9b2J",
    "direction": "\u202edetnioj\u2066",
    "line separator": "x\u2028y\x85z",
    "nul": "x\x00y",
    "long": "x" * 100_000,
}
"""By what they try."""
