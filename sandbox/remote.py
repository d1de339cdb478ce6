"""A running sandbox as its user sees it: AWS's APIs through boto3, and the controls under ``/_sandbox/``."""

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from sandbox.control import SandboxError
from sandbox.environment import REGION

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Call:
    """One AWS API call that the sandbox saw; `function` is the Lambda function that made it, `error` AWS's code."""

    time: float
    service: str
    operation: str
    function: str | None
    error: str | None

    @property
    def name(self) -> str:
        """The call as IAM writes it: ``ec2:DescribeInstances``."""
        return f"{self.service}:{self.operation}"


class Remote:
    """One sandbox at an endpoint such as ``http://127.0.0.1:4566``."""

    def __init__(self, endpoint: str) -> None:
        """Speak to the sandbox at `endpoint`, whatever profile or proxy the environment names."""
        self.endpoint = endpoint

    @cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)  # noqa: S106  no secret: the sandbox takes any

    def client(self, service: str) -> Any:
        """Return boto3's client of a service."""
        config = Config(proxies={}, retries={"mode": "standard", "total_max_attempts": 3})
        return self._session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]  # the name is only known when it runs

    def interrupt(self, instance_ids: Collection[str], action: str = "terminate", copies: int = 1) -> None:
        """Give Spot Instances their two minutes' notice, `copies` times the same event, and end them after it."""
        self.control("ec2/interrupt", {"instanceIds": list(instance_ids), "action": action, "copies": copies})

    def rebalance(self, instance_ids: Collection[str]) -> None:
        """Recommend a rebalance."""
        self.control("ec2/rebalance", {"instanceIds": list(instance_ids)})

    def forget(self, instance_ids: Collection[str]) -> None:
        """Let EC2 no longer know these ids, as long after their end."""
        self.control("ec2/forget", {"instanceIds": list(instance_ids)})

    def fail(self, service: str, operation: str, code: str, **how: Any) -> None:
        """Let calls of an operation fail with AWS's `code`; `how` is ``count=3`` or ``rate=0.5``, ``session`` an instance's id."""
        self.control("faults", {"service": service, "operation": operation, "code": code, **how})

    def mend(self, session: str | None = None) -> None:
        """Let everything work again, or only what was made to fail for one instance."""
        self._request("DELETE", f"faults?session={session}" if session else "faults")

    def calls(self, since: float = 0) -> list[Call]:
        """Return the API calls since a time (epoch seconds), in their order."""
        seen = self.whole_calls(since)
        return [Call(call["time"], call["service"], call["operation"], call["function"], call["error"]) for call in seen]

    def whole_calls(self, since: float = 0) -> list[dict[str, Any]]:
        """Return them with all that the sandbox knows: ``principal`` (the role's ARN) and ``parameters``, too."""
        answer = self._request("GET", f"calls?since={since}")
        seen: list[dict[str, Any]] = answer["calls"] if isinstance(answer, dict) else answer
        return seen

    def control(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post to a control of the sandbox and return its answer; raise `SandboxError` with its sentence."""
        return self._request("POST", path, json.dumps(body).encode())

    def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.endpoint}/_sandbox/{path}", body, method=method)  # noqa: S310  our own address
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SandboxError(f"The sandbox refused {method} {path}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise SandboxError(f"The sandbox does not answer at {self.endpoint}: {error}") from error
