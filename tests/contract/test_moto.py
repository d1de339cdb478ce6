"""The adapters keep the contracts on moto's AWS, as far as it knows them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
import yaml
from moto import mock_aws

from spot_responder.adapters import clients
from spot_responder.adapters.clients import client
from spot_responder.adapters.ec2_fleet import Ec2Fleet
from spot_responder.adapters.notices_table import DynamoNoticesTable
from spot_responder.adapters.ssm_commands import SsmCommands
from spot_responder.domain.errors import ConfigurationError
from tests.checkpoint_document import deployed
from tests.contract.commands_cases import CommandsCases, Reach
from tests.contract.fleet_cases import FleetCases, KnownFleet
from tests.contract.notices_table_cases import NoticesTableCases, create_table, fresh, recorded
from tests.examples import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ec2.type_defs import TagSpecificationTypeDef

    from spot_responder.use_cases.ports import NoticesTable


@pytest.fixture(scope="module", autouse=True)
def _moto() -> Iterator[None]:
    """Let this module's clients talk to moto."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # thousands, which take seconds
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        clients._session.cache_clear()
        with mock_aws():
            yield
        clients._session.cache_clear()


class TestDynamoNoticesTable(NoticesTableCases):
    """``DynamoNoticesTable`` on moto."""

    @pytest.fixture(scope="class")
    @classmethod
    def table(cls) -> NoticesTable:
        """Return a table for all cases."""
        dynamodb = client("dynamodb")
        create_table(dynamodb, "notices")
        return DynamoNoticesTable(dynamodb, "notices", timedelta(days=30))

    def test_items_are_removed_in_time(self, table: NoticesTable) -> None:
        """An item carries the time of its removal: as long after its event as the stack keeps things, in epoch seconds."""
        (subject,) = recorded(table, fresh())
        key = {"account_region": {"S": subject.key.account_region}, "notice_id": {"S": subject.key.notice_id}}
        item = client("dynamodb").get_item(TableName="notices", Key=key)["Item"]
        assert int(item["expires_at"]["N"]) == (subject.time + timedelta(days=30)).timestamp()

    def test_a_table_that_does_not_exist(self) -> None:
        """A missing table is named with its variable."""
        with pytest.raises(ConfigurationError, match="NOTICES_TABLE is nowhere: there is no such table"):
            DynamoNoticesTable(client("dynamodb"), "nowhere", timedelta(days=30)).add(fresh(), NOW, "invocation-1")


class TestShardedNoticesTable(NoticesTableCases):
    """``DynamoNoticesTable`` with several shards keeps the same contract: each notice is found where it was put."""

    @pytest.fixture(scope="class")
    @classmethod
    def table(cls) -> NoticesTable:
        """Return a table for all cases."""
        dynamodb = client("dynamodb")
        create_table(dynamodb, "sharded")
        return DynamoNoticesTable(dynamodb, "sharded", timedelta(days=30), shards=4)

    def test_notices_are_spread(self, table: NoticesTable) -> None:
        """Many instances' notices have as many partition keys as there are shards, and nothing else tells them apart."""
        subjects = recorded(table, *(fresh() for _ in range(40)))
        items = client("dynamodb").scan(TableName="sharded")["Items"]
        mine = {subject.key.notice_id for subject in subjects}
        keys = {item["account_region"]["S"] for item in items if item["notice_id"]["S"] in mine}
        assert keys == {f"{subjects[0].key.account_region}#{number}" for number in range(4)}
        assert {subject.key for subject in subjects} == set(table.read(subjects))


class TestEc2Fleet(FleetCases):
    """``Ec2Fleet`` on moto, which names one unknown id at a time."""

    @pytest.fixture(scope="class")
    @classmethod
    def known(cls) -> KnownFleet:
        """Return a fleet of four instances of two launches, one of which has ended."""
        ec2 = boto3.client("ec2")
        image = ec2.register_image(Name="linux")["ImageId"]
        tags: list[TagSpecificationTypeDef] = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "contract"}]}]
        launches = [ec2.run_instances(ImageId=image, InstanceType="m5.large", MinCount=2, MaxCount=2, TagSpecifications=tags) for _ in range(2)]
        ids = [instance["InstanceId"] for launch in launches for instance in launch["Instances"]]
        ec2.terminate_instances(InstanceIds=ids[3:])
        return KnownFleet(Ec2Fleet(client("ec2")), ids[:3], ids[3])


class TestSsmCommands(CommandsCases):
    """``SsmCommands`` on moto, with our own document."""

    @pytest.fixture(scope="class")
    @classmethod
    def reach(cls) -> Reach:
        """Return commands by our document, as CloudFormation creates it."""
        ssm = boto3.client("ssm")
        ssm.create_document(
            Name="checkpoint", DocumentType="Command", DocumentFormat="YAML", Content=yaml.safe_dump(deployed({"CheckpointCommand": "save"}))
        )
        return Reach(SsmCommands(client("ssm"), "checkpoint"), ["i-00000000000000001", "i-00000000000000002"], "i-00000000000000009")
