"""Systems Manager of the sandbox. So far LocalStack's own."""

from localstack.services.ssm.provider import SsmProvider


class SpotSsmProvider(SsmProvider):
    """Systems Manager as LocalStack has it."""
