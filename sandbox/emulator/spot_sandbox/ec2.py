"""EC2 of the sandbox. So far LocalStack's own."""

from localstack.services.ec2.provider import Ec2Provider


class SpotEc2Provider(Ec2Provider):
    """EC2 as LocalStack has it."""
