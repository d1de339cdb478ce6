"""The instance metadata service, version 2: who the instance is, and whether EC2 takes it back.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import http.client
import json
import os
import time
from datetime import datetime, timezone
from urllib.parse import urlsplit

from spot_agent.errors import Misconfigured, Refused, Unavailable

ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
DEFAULT_ENDPOINT = "http://169.254.169.254/"
TOKEN_SECONDS = 21600
TIMEOUT_SECONDS = 2.0
JOB_TAG = "spot-responder:job"
ATTEMPT_TAG = "spot-responder:attempt"
OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404


class InstanceMetadata:
    """`spot_agent.ports.Metadata`, and what the agent asks once."""

    def __init__(self, endpoint: str | None = None) -> None:
        parts = urlsplit(endpoint or os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def instance_id(self) -> str:
        """Return the instance's id."""
        return self._needed("instance-id")

    def region(self) -> str:
        """Return the Region."""
        return self._needed("placement/region")

    def job_and_attempt(self) -> tuple[str, int]:
        """Return the job's id and the attempt's number, which the state machine has put on the instance as tags."""
        job, attempt = self._tag(JOB_TAG), self._tag(ATTEMPT_TAG)
        if not attempt.isdigit() or int(attempt) < 1:
            raise Misconfigured(f"the instance's tag {ATTEMPT_TAG}: expected a whole number from 1 on, got {attempt!r}")
        return job, int(attempt)

    def notice(self) -> tuple[str, float] | None:
        """Return the action and time of an interruption notice, if there is one.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
        """
        text = self.read("spot/instance-action")
        if text is None:
            return None
        try:
            raw = json.loads(text)
            at = datetime.strptime(raw["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
            return str(raw["action"]), at.timestamp()
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"IMDS: spot/instance-action: expected action and time, got {text[:80]!r}") from error

    def read(self, path: str) -> str | None:
        """Return a metadata item; None where there is none. Raises Unavailable and Refused."""
        status, text = self._get(path)
        if status == UNAUTHORIZED:
            self._token = ""
            status, text = self._get(path)
        if status == NOT_FOUND:
            return None
        if status != OK:
            raise Refused(f"IMDS: {path}: status {status}")
        return text

    def _needed(self, path: str) -> str:
        text = self.read(path)
        if not text:
            raise Misconfigured(f"IMDS shows no {path}")
        return text

    def _tag(self, key: str) -> str:
        value = self.read(f"tags/instance/{key}")
        if not value:
            raise Misconfigured(f"IMDS shows no tag {key}: the instance needs it, and instance metadata tags enabled")
        return value

    def _get(self, path: str) -> tuple[int, str]:
        if not self._token:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            status, self._token = self._ask("PUT", "/latest/api/token", headers)
            if status != OK:
                self._token = ""
                raise Refused(f"IMDS gives no token: status {status}")
        return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Ask over the connection that is open; IMDS may have closed it meanwhile, so once more over a new one."""
        for connection in (self._connection, None):
            try:
                return self._ask_over(connection or self._connect(), method, path, headers)
            except (OSError, http.client.HTTPException) as error:
                self._connection, failure = None, error
        raise Unavailable(f"IMDS: {failure}") from failure

    def _connect(self) -> http.client.HTTPConnection:
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        return self._connection

    def _ask_over(self, connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")


def patiently(metadata: InstanceMetadata, seconds: float) -> tuple[str, str, int, str]:
    """Return instance id, job, attempt and Region, trying for a while: tags can show up a little after the start."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return (metadata.instance_id(), *metadata.job_and_attempt(), metadata.region())
        except (Unavailable, Refused, Misconfigured):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
