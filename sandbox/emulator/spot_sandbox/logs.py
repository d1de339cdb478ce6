"""CloudWatch Logs of the sandbox. So far LocalStack's own."""

from localstack.services.logs.provider import LogsProvider


class SpotLogsProvider(LogsProvider):
    """Logs as LocalStack has it."""
