"""The tables in memory keep the same contract as the real ones: what the fault tests find is not the fake's doing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot_responder.adapters.clients import client
from spot_responder.adapters.notices_table import DynamoNoticesTable
from tests.contract.notices_table_cases import AnswerCases, NoticesTableCases
from tests.faults.cloud import Cloud, Stage


class TestTables(NoticesTableCases, AnswerCases):
    """``DynamoNoticesTable``, through botocore, on ``Tables``."""

    @pytest.fixture
    def table(self, stage: Stage) -> DynamoNoticesTable:
        """Return an empty table."""
        stage.begin(Cloud())
        return DynamoNoticesTable(client("dynamodb"), "notices", timedelta(days=30))
