"""What Lambda makes of a function's lines, and the lines that it adds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from spot_sandbox.log_lines import LogFormat, Report, application_line, report_lines, start_lines

NOW = datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)
TEXT = LogFormat.from_logging_config({})
JSON = LogFormat.from_logging_config({"LogFormat": "JSON"})
QUIET = LogFormat.from_logging_config({"LogFormat": "JSON", "SystemLogLevel": "WARN", "ApplicationLogLevel": "WARN"})


def test_text_goes_as_it_is() -> None:
    """In plain text no line is changed, not even JSON."""
    line = '{"level": "DEBUG"}'
    assert application_line(line, TEXT, now=NOW, request_id="r") == line


def test_a_json_line_goes_as_it_is() -> None:
    """A line that is a JSON object is not encoded a second time."""
    line = '{"level":"INFO","timestamp":"2026-11-22T10:00:00Z","message":"x"}'
    assert application_line(line, JSON, now=NOW, request_id="r") == line


def test_a_plain_line_is_wrapped() -> None:
    """In JSON format any other line becomes an object with time, level, message and request."""
    line = application_line("plain", JSON, now=NOW, request_id="r")
    assert line is not None
    assert json.loads(line) == {"timestamp": "2026-11-22T10:00:00.123Z", "level": "INFO", "message": "plain", "requestId": "r"}


def test_a_line_before_any_request_has_no_request_id() -> None:
    """What is written while the module is imported belongs to no request."""
    line = application_line("plain", JSON, now=NOW, request_id=None)
    assert line is not None
    assert "requestId" not in json.loads(line)


@pytest.mark.parametrize(
    ("level", "timestamp", "passes"),
    [
        ("DEBUG", "2026-11-22T10:00:00Z", False),
        ("INFO", "2026-11-22T10:00:00Z", False),
        ("WARNING", "2026-11-22T10:00:00Z", True),
        ("error", "2026-11-22T10:00:00+01:00", True),
        ("ERROR", "yesterday", False),
        ("LOUD", "2026-11-22T10:00:00Z", False),
    ],
)
def test_the_level_filters(level: str, timestamp: str, passes: bool) -> None:  # noqa: FBT001 - the expected answer
    """Below the application's level a line is dropped; an unknown level, or one without a valid time, counts as INFO."""
    line = json.dumps({"level": level, "timestamp": timestamp})
    assert (application_line(line, QUIET, now=NOW, request_id="r") is not None) is passes


def test_text_has_start_end_and_report() -> None:
    """In plain text the system's lines appear, as Lambda words them."""
    report = Report("r", duration_ms=12.345, memory_size_mb=128, max_memory_used_mb=40, status="success", init_duration_ms=200.5)
    assert start_lines(TEXT, now=NOW, request_id="r", version="$LATEST") == ["START RequestId: r Version: $LATEST"]
    assert report_lines(TEXT, report, now=NOW) == [
        "END RequestId: r",
        "REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 200.50 ms",
    ]


def test_at_info_the_system_speaks_json() -> None:
    """At INFO there are a start and a report, as events of the platform."""
    report = Report("r", duration_ms=12.345, memory_size_mb=128, max_memory_used_mb=40, status="success")
    assert json.loads(start_lines(JSON, now=NOW, request_id="r", version="1")[0])["type"] == "platform.start"
    assert json.loads(report_lines(JSON, report, now=NOW)[0])["record"]["metrics"]["billedDurationMs"] == 13


def test_at_warn_the_system_is_silent_about_success() -> None:
    """At WARN only an invocation that did not succeed is reported."""
    report = Report("r", duration_ms=1, memory_size_mb=128, max_memory_used_mb=40, status="success")
    failed = Report("r", duration_ms=1, memory_size_mb=128, max_memory_used_mb=40, status="timeout")
    assert start_lines(QUIET, now=NOW, request_id="r", version="1") == []
    assert report_lines(QUIET, report, now=NOW) == []
    assert json.loads(report_lines(QUIET, failed, now=NOW)[0])["record"]["status"] == "timeout"
