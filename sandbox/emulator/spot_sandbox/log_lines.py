"""What Lambda makes of a line that a function writes, and the lines that Lambda itself adds.

Pure: text in, text out. Stands on the pages "Configuring JSON and plain text log formats" and "Log-level filtering" of
the Lambda Developer Guide, and for system logs on the events of the Lambda Telemetry API.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LEVELS = {
    name: rank
    for rank, names in enumerate([("TRACE",), ("DEBUG",), ("INFO",), ("WARN", "WARNING"), ("ERROR",), ("FATAL", "CRITICAL")])
    for name in names
}
_INFO = _LEVELS["INFO"]


@dataclass(frozen=True)
class LogFormat:
    """A function's ``LoggingConfig`` as far as it decides about lines; plain text has no levels."""

    json: bool
    application_level: str = "INFO"
    system_level: str = "INFO"

    @classmethod
    def from_logging_config(cls, config: Mapping[str, Any]) -> "LogFormat":
        """Read Lambda's ``LoggingConfig`` structure; what is not in it has Lambda's default."""
        return cls(
            json=config.get("LogFormat") == "JSON",
            application_level=config.get("ApplicationLogLevel") or "INFO",
            system_level=config.get("SystemLogLevel") or "INFO",
        )


@dataclass(frozen=True)
class Report:
    """The end of an invocation: durations in ms, memory in MB, `status` as the Telemetry API names it."""

    request_id: str
    duration_ms: float
    memory_size_mb: int
    max_memory_used_mb: int
    status: str
    init_duration_ms: float | None = None


def application_line(line: str, log_format: LogFormat, *, now: datetime, request_id: str | None) -> str | None:
    """The log event for one line of a function's output, or None when its level is filtered out.

    In JSON format a line that is no JSON object is wrapped in one; in plain text every line goes as it is.
    """
    if not log_format.json:
        return line
    document = _object(line)
    if document is None:
        wrapped = {"timestamp": _instant(now), "level": "INFO", "message": line}
        document = wrapped if request_id is None else wrapped | {"requestId": request_id}
        line = json.dumps(document)
    return line if _rank(document) >= _LEVELS[log_format.application_level] else None


def start_lines(log_format: LogFormat, *, now: datetime, request_id: str, version: str) -> list[str]:
    """What Lambda logs before an invocation: START in plain text, ``platform.start`` at INFO in JSON."""
    if not log_format.json:
        return [f"START RequestId: {request_id} Version: {version}"]
    record = {"requestId": request_id, "version": version}
    return _platform_lines(log_format, now, "platform.start", record, level="INFO")


def report_lines(log_format: LogFormat, report: Report, *, now: datetime) -> list[str]:
    """What Lambda logs after an invocation; in JSON at WARN only when it did not succeed."""
    if log_format.json:
        level = "INFO" if report.status == "success" else "WARN"
        return _platform_lines(log_format, now, "platform.report", _report_record(report), level=level)
    return [f"END RequestId: {report.request_id}", _report_text(report)]


def _platform_lines(log_format: LogFormat, now: datetime, kind: str, record: dict[str, Any], *, level: str) -> list[str]:
    if _LEVELS[level] < _LEVELS[log_format.system_level]:
        return []
    return [json.dumps({"time": _instant(now), "type": kind, "record": record})]


def _report_record(report: Report) -> dict[str, Any]:
    metrics: dict[str, float] = {
        "durationMs": round(report.duration_ms, 3),
        "billedDurationMs": _billed_ms(report),
        "memorySizeMB": report.memory_size_mb,
        "maxMemoryUsedMB": report.max_memory_used_mb,
    }
    if report.init_duration_ms is not None:
        metrics["initDurationMs"] = round(report.init_duration_ms, 3)
    return {"requestId": report.request_id, "metrics": metrics, "status": report.status}


def _report_text(report: Report) -> str:
    fields = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {_billed_ms(report)} ms",
        f"Memory Size: {report.memory_size_mb} MB",
        f"Max Memory Used: {report.max_memory_used_mb} MB",
    ]
    if report.init_duration_ms is not None:
        fields.append(f"Init Duration: {report.init_duration_ms:.2f} ms")
    if report.status != "success":
        fields.append(f"Status: {report.status}")
    return "\t".join(fields)


def _billed_ms(report: Report) -> int:
    return -int(-report.duration_ms // 1)


def _object(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _rank(document: Mapping[str, Any]) -> int:
    """The level of a JSON line: Lambda takes a missing or unknown one, or one without a valid time, for INFO."""
    level = document.get("level", document.get("log_level"))
    timestamp = document.get("timestamp")
    if not isinstance(level, str) or not isinstance(timestamp, str) or not _is_rfc3339(timestamp):
        return _INFO
    return _LEVELS.get(level.upper(), _INFO)


def _is_rfc3339(text: str) -> bool:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return False
    return parsed.tzinfo is not None


def _instant(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
