"""AWS at the other end of botocore's HTTP: real clients, real serializers and parsers, and no network.

Requests are answered at botocore's event ``before-send``. What has no answer here is a failure of the test, not a call
that goes out. Answers have the form that AWS documents (EC2 API Reference, "DescribeInstances", example response; error
bodies as in "Error codes for the Amazon EC2 API" and in the JSON protocols of DynamoDB and Systems Manager).
"""

from __future__ import annotations

import io
import json
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import botocore.retries.standard
import botocore.session
from botocore.awsrequest import AWSResponse

from spot_responder.adapters import clients
from tests.examples import OPT_IN, REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pytest
    from botocore.awsrequest import AWSPreparedRequest


@dataclass(frozen=True, slots=True)
class Call:
    """A request as AWS gets it: ``ec2:DescribeInstances`` and its parameters (EC2's flattened: ``InstanceId.1``)."""

    operation: str
    parameters: dict[str, Any]

    def listed(self, name: str) -> list[str]:
        """Return the values of one of EC2's flattened lists."""
        return [value for key, value in self.parameters.items() if key.startswith(f"{name}.")]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    body: str
    status: int = 200


type Answer = Reply | Exception | Callable[[Call], Reply]


class Unexpected(AssertionError):
    """A call that the test did not foresee."""


@dataclass(slots=True)
class AwsOverHttp:
    """Answers by operation: first those given by ``once``, in order, then the one given by ``always``."""

    calls: list[Call] = field(default_factory=list)
    standing: dict[str, Answer] = field(default_factory=dict)
    queued: dict[str, deque[Answer]] = field(default_factory=dict)

    def always(self, operation: str, answer: Answer) -> None:
        """Answer this operation so from now on."""
        self.standing[operation] = answer

    def once(self, operation: str, *answers: Answer) -> None:
        """Answer the next calls of this operation so."""
        self.queued.setdefault(operation, deque()).extend(answers)

    def forget(self) -> None:
        """Be as new."""
        self.calls.clear()
        self.standing.clear()
        self.queued.clear()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Be the AWS of the application's clients from now on; tries again follow without a pause."""
        patch.setattr(clients, "_session", cache(self.session))
        patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}.items():
            patch.setenv(name, value)
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)

    def session(self) -> botocore.session.Session:
        """Return a session of botocore that talks to this AWS."""
        respond: Any = self._respond  # the stubs know only handlers that return nothing
        session = botocore.session.get_session()
        session.register("before-send", respond)
        return session

    def _respond(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        operation = ":".join(event_name.split(".")[1:])
        call = Call(operation, _parameters(request))
        self.calls.append(call)
        queue = self.queued.get(call.operation)
        answer = queue.popleft() if queue else self.standing.get(call.operation, Unexpected(call.operation))
        if isinstance(answer, Exception):
            raise answer
        reply = answer if isinstance(answer, Reply) else answer(call)
        headers: Any = {"x-amzn-requestid": "r-1"}
        return AWSResponse(request.url, reply.status, headers, _Body(reply.body))

    def of(self, operation: str) -> list[Call]:
        """Return the calls of one operation."""
        return [call for call in self.calls if call.operation == operation]

    def counts(self, *services: str) -> dict[str, int]:
        """Return how many calls there were of each operation of these services."""
        names = [call.operation for call in self.calls if call.operation.split(":")[0] in services]
        return {name: names.count(name) for name in sorted(set(names))}


class _Body:
    def __init__(self, text: str) -> None:
        self._bytes = io.BytesIO(text.encode())

    def stream(self) -> Iterator[bytes]:
        yield self._bytes.read()


def _parameters(request: AWSPreparedRequest) -> dict[str, Any]:
    body = request.body or b"{}"
    text = body.decode() if isinstance(body, bytes) else str(body)
    parameters: dict[str, Any] = json.loads(text) if text.startswith("{") else dict(parse_qsl(text, keep_blank_values=True))
    return {name: value for name, value in parameters.items() if name not in ("Action", "Version")}


def ok(**body: object) -> Reply:
    """Return the answer of a service that speaks JSON."""
    return Reply(json.dumps(body))


def json_error(code: str, message: str = "", status: int = 400, **members: object) -> Reply:
    """Return the error of a service that speaks JSON."""
    return Reply(json.dumps({"__type": f"com.amazonaws#{code}", "message": message, **members}), status)


def ec2_error(code: str, message: str = "", status: int = 400) -> Reply:
    """Return an error of EC2."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(f'<?xml version="1.0" encoding="UTF-8"?><Response><Errors>{error}</Errors><RequestID>r-1</RequestID></Response>', status)


def described(instance_ids: Iterable[str], *, in_reservations_of: int = 10, **looks: str) -> Reply:
    """Return DescribeInstances' answer: some instances to a reservation, each with all that EC2 tells of one."""
    ids = list(instance_ids)
    groups = [ids[start : start + in_reservations_of] for start in range(0, len(ids), in_reservations_of)]
    reservations = "".join(_reservation(number, group, looks) for number, group in enumerate(groups))
    xmlns = "http://ec2.amazonaws.com/doc/2016-11-15/"
    head = f'<?xml version="1.0" encoding="UTF-8"?><DescribeInstancesResponse xmlns="{xmlns}"><requestId>r-1</requestId>'
    return Reply(f"{head}<reservationSet>{reservations}</reservationSet></DescribeInstancesResponse>")


def _reservation(number: int, ids: Iterable[str], looks: Mapping[str, str]) -> str:
    instances = "".join(_INSTANCE.format(id=instance_id, **(_LOOKS | dict(looks))) for instance_id in ids)
    head = f"<reservationId>r-{number:017x}</reservationId><ownerId>123456789012</ownerId><groupSet/>"
    return f"<item>{head}<instancesSet>{instances}</instancesSet></item>"


_LOOKS = {"state": "running", "tag_key": OPT_IN.key, "tag_value": OPT_IN.value}

_INSTANCE = """<item>
<instanceId>{id}</instanceId><imageId>ami-0abcdef1234567890</imageId><instanceState><code>16</code><name>{state}</name></instanceState>
<privateDnsName>ip-10-0-0-1.ec2.internal</privateDnsName><dnsName>ec2-198-51-100-1.compute-1.amazonaws.com</dnsName><reason/>
<keyName>my-key</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m5.large</instanceType>
<launchTime>2026-11-22T08:00:00.000Z</launchTime>
<placement><availabilityZone>us-east-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement>
<monitoring><state>disabled</state></monitoring><subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId>
<privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>198.51.100.1</ipAddress><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>workers</groupName></item></groupSet>
<architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0123456789abcdef0</volumeId><status>attached</status>
<attachTime>2026-11-22T08:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
<instanceLifecycle>spot</instanceLifecycle><spotInstanceRequestId>sir-abcd1234</spotInstanceRequestId>
<virtualizationType>hvm</virtualizationType><clientToken>token-{id}</clientToken>
<tagSet><item><key>Name</key><value>worker</value></item><item><key>{tag_key}</key><value>{tag_value}</value></item>
<item><key>aws:ec2:fleet-id</key><value>fleet-01234567-89ab-cdef-0123-456789abcdef</value></item></tagSet>
<hypervisor>xen</hypervisor>
<networkInterfaceSet><item><networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId><subnetId>subnet-0123456789abcdef0</subnetId>
<vpcId>vpc-0123456789abcdef0</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status>
<macAddress>02:00:00:00:00:01</macAddress><privateIpAddress>10.0.0.1</privateIpAddress><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>workers</groupName></item></groupSet>
<attachment><attachmentId>eni-attach-0123456789abcdef0</attachmentId><deviceIndex>0</deviceIndex><status>attached</status>
<attachTime>2026-11-22T08:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></attachment></item></networkInterfaceSet>
<iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/workers</arn><id>AIPA0123456789ABCDEFG</id></iamInstanceProfile>
<ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>
<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit>
<httpEndpoint>enabled</httpEndpoint></metadataOptions><enclaveOptions><enabled>false</enabled></enclaveOptions>
</item>"""
