"""The AWS that the fuzzed functions talk to: it refuses what AWS refuses, and says in the words of hostile users what users may say."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from tests.checkpoint_document import PATTERN
from tests.examples import OPT_IN
from tests.fakes.aws import AwsOverHttp, Reply, described, json_error, ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.fakes.aws import Call

KEY_BYTES = {"account_region": 2048, "notice_id": 1024}
KEYS_PER_READ = 100
ITEM_BYTES = 400 * 1024
INSTANCES_PER_COMMAND = 50
TAG_CHARACTERS = 256
SHORTEST_DELIVERY, LONGEST_DELIVERY = 30, 2_592_000
"""Seconds: Systems Manager API, ``SendCommand``, ``TimeoutSeconds``."""
MALFORMED = "ValidationException"


@dataclass
class Account:
    """An account with these notices in its table; every instance runs, has opted in and works on a job.

    ``hostile`` draws the words that come from outside by another way than the event: tags and a command's output.
    ``refused`` are the calls that AWS takes for malformed.
    """

    items: Mapping[str, Mapping[str, Any]]
    hostile: Callable[[], str]
    refused: list[str] = field(default_factory=list)
    commands: Iterable[int] = field(default_factory=itertools.count)

    def serve(self, aws: AwsOverHttp) -> None:
        """Answer all that the functions ask."""
        aws.always("dynamodb:PutItem", self._checked(lambda call: call.parameters["Item"], lambda _: ok()))
        aws.always("dynamodb:UpdateItem", self._checked(lambda call: call.parameters["Key"], lambda _: ok()))
        aws.always("dynamodb:Query", self._query)
        aws.always("dynamodb:BatchGetItem", self._read)
        aws.always("dynamodb:BatchExecuteStatement", self._write)
        aws.always("ec2:DescribeInstances", self._describe)
        aws.always("ssm:SendCommand", self._send)
        aws.always("ssm:GetCommandInvocation", lambda _: ok(ResponseCode=1, StatusDetails="Failed", StandardErrorContent=self.hostile()))
        aws.always("sfn:SendTaskSuccess", ok())

    def _refuse(self, call: Call, why: str) -> Reply:
        self.refused.append(f"{call.operation}: {why}")
        return json_error(MALFORMED, why)

    def _checked(self, key: Callable[[Call], Mapping[str, Any]], answer: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
        def check(call: Call) -> Reply:
            why = wrong_item(key(call))
            return self._refuse(call, why) if why else answer(call)

        return check

    def _query(self, call: Call) -> Reply:
        if call.parameters["TableName"] == "jobs":
            return ok(Items=[job_item(call.parameters["ExpressionAttributeValues"][":instance"]["S"])])
        begin = call.parameters["ExpressionAttributeValues"][":instance"]["S"]
        return ok(Items=[item for key, item in self.items.items() if key.startswith(begin)])

    def _read(self, call: Call) -> Reply:
        ((table, wanted),) = call.parameters["RequestItems"].items()
        keys = wanted["Keys"]
        why = next((why for key in keys if (why := wrong_item(key))), "")
        if why or not 1 <= len(keys) <= KEYS_PER_READ or len({str(key) for key in keys}) < len(keys):
            return self._refuse(call, why or "too many keys, none, or one twice")
        if table == "jobs":
            return ok(Responses={table: [job_item(key["job_id"]["S"]) for key in keys]})
        return ok(Responses={table: [self.items[key["notice_id"]["S"]] for key in keys if key["notice_id"]["S"] in self.items]})

    def _write(self, call: Call) -> Reply:
        statements = call.parameters["Statements"]
        answers = []
        for statement in statements:
            *values, account_region, notice_id = (parameter["S"] for parameter in statement["Parameters"])
            why = wrong_item({"account_region": {"S": account_region}, "notice_id": {"S": notice_id}, "values": {"S": "".join(values)}})
            answers.append({"Error": {"Code": "ValidationError", "Message": why}} if why else {})
        self.refused += [f"{call.operation}: {answer['Error']['Message']}" for answer in answers if answer]
        return ok(Responses=answers)

    def _describe(self, call: Call) -> Reply:
        ids = call.listed("InstanceId") or [value for key, value in call.parameters.items() if re.fullmatch(r"Filter\.1\.Value\.\d+", key)]
        known = [each for each in ids if re.fullmatch(r"i-[0-9a-f]{8,17}", each)]
        printable = "".join(character for character in self.hostile()[:TAG_CHARACTERS] if character.isprintable())
        tags = {"Name": printable, "spot-responder:job": f"job-{known[0]}" if known else printable, "spot-responder:attempt": "1"}
        more = "".join(f"<item><key>{key}</key><value>{escape(value)}</value></item>" for key, value in tags.items())
        opted_in = f"<item><key>{OPT_IN.key}</key>"
        reply = described(known)
        return Reply(reply.body.replace(opted_in, more + opted_in), reply.status)

    def _send(self, call: Call) -> Reply:
        ids, (notices,) = call.parameters["InstanceIds"], call.parameters["Parameters"]["Notices"]
        if not 1 <= len(ids) <= INSTANCES_PER_COMMAND or not all(re.fullmatch(r"i-(\w{8}|\w{17})", each) for each in ids):
            return self._refuse(call, f"InstanceIds: {ids!r}"[:200])
        if not SHORTEST_DELIVERY <= call.parameters["TimeoutSeconds"] <= LONGEST_DELIVERY:
            return self._refuse(call, f"TimeoutSeconds: {call.parameters['TimeoutSeconds']}")
        if not re.fullmatch(PATTERN, notices):
            return self._refuse(call, f"Notices: {notices!r}"[:200])
        return ok(Command={"CommandId": f"{next(iter(self.commands)):08x}-0000-4000-8000-000000000000"})


def job_item(job_id: str) -> dict[str, Any]:
    """Return the item of a job in its first attempt, by its id or its instance's."""
    instance = job_id.removeprefix("job-")
    texts = {"job_id": f"job-{instance}", "job_status": "running", "instance_id": instance, "token": f"token of {instance}"}
    return {name: {"S": text} for name, text in texts.items()} | {"attempt": {"N": "1"}}


def wrong_item(item: Mapping[str, Mapping[str, str]]) -> str:
    """Return what DynamoDB finds wrong with a key, or an item; empty where nothing is."""
    for name, most in KEY_BYTES.items():
        if name in item and not 1 <= len(item[name]["S"].encode()) <= most:
            return f"One or more parameter values were invalid: the size of {name} is not from 1 to {most} bytes"
    size = sum(len(name) + len(str(value)) for name, value in item.items())
    return "Item size has exceeded the maximum allowed size" if size > ITEM_BYTES else ""
