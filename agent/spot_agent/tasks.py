"""The Run state of the state machine, which waits for its task token.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable

from botocore.exceptions import ClientError

from spot_agent.clients import calling, error_code

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_WAITED_FOR = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
"""Expected answers: somebody else was first, or the state machine has gone on."""


class StepFunctionsTasks:
    """`spot_agent.ports.Tasks` on Step Functions."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  # a botocore client
        self._client = client

    def heartbeat(self, token: str) -> bool:
        """Say that the attempt is alive."""
        with calling("states:SendTaskHeartbeat"):
            return _taken(lambda: self._client.send_task_heartbeat(taskToken=token))

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        """Give the task's output; also a failed attempt is an output, on which the state machine decides."""
        with calling("states:SendTaskSuccess"):
            return _taken(lambda: self._client.send_task_success(taskToken=token, output=json.dumps(output)))


def _taken(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError as error:
        if error_code(error) in NOT_WAITED_FOR:
            return False
        raise
    return True
