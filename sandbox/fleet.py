"""Spot Instances with a job on them: what the demonstration and the end-to-end tests interrupt.

Each instance counts frames, as a renderer might, and bears a hook in ``checkpoint.d`` that saves the frame it has
reached on a shared volume: complete or absent, and durable before the hook says so.
"""

import base64
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.remote import Remote
from sandbox.waiting import wait_for

IMAGE = "ami-0123456789abcdef0"
PROFILE = "spot-fleet"
OPT_IN_TAG = {"Key": "spot-responder:checkpoint", "Value": "enabled"}
READY_SECONDS = 120.0


@dataclass(frozen=True)
class Wanted:
    """An instance to launch.

    `opted_in` gives it the opt-in tag, `managed` an instance profile, without which SSM does not know it. Its hook
    takes `checkpoint_seconds` and saves, or prints `complaint` and ends with `exit_status` where that is not 0.
    """

    name: str
    opted_in: bool = True
    managed: bool = True
    checkpoint_seconds: float = 0.5
    exit_status: int = 0
    complaint: str = ""


@dataclass(frozen=True)
class Launched:
    """An instance that was launched, and what for."""

    instance_id: str
    wanted: Wanted

    @property
    def name(self) -> str:
        """Its name."""
        return self.wanted.name


@dataclass(frozen=True)
class Fleet:
    """The way to instances of one sandbox whose checkpoints go to the directory `volume`."""

    remote: Remote
    volume: Path

    def launch(self, wanted: Iterable[Wanted], **market: Any) -> list[Launched]:
        """Launch Spot Instances; `market` are further options of RunInstances' ``SpotOptions``."""
        self.volume.mkdir(parents=True, exist_ok=True)
        self._make_profile()
        return [self._launch(one, market) for one in wanted]

    def await_ready(self, launched: Sequence[Launched], seconds: float = READY_SECONDS) -> None:
        """Wait until each has set up its hook and its job, and SSM lists those that have a profile as online."""
        wait_for(lambda: self.working(launched) == len(launched), seconds, "the start of every instance's job")
        wait_for(lambda: self.listed(launched) == managed(launched), seconds, "SSM's list of every managed instance")

    def working(self, launched: Iterable[Launched]) -> int:
        """Return how many of these have begun their work."""
        return sum((self.volume / f"{one.name}.started").exists() for one in launched)

    def listed(self, launched: Iterable[Launched]) -> int:
        """Return how many of these SSM lists as online."""
        pages = self.remote.client("ssm").get_paginator("describe_instance_information").paginate()
        online = {info["InstanceId"] for page in pages for info in page["InstanceInformationList"] if info["PingStatus"] == "Online"}
        return len(online & {one.instance_id for one in launched})

    def saved_frame(self, one: Launched) -> int | None:
        """Return the frame that an instance's last checkpoint holds."""
        checkpoint = self.volume / f"{one.name}.json"
        return int(json.loads(checkpoint.read_text())["frame"]) if checkpoint.exists() else None

    def _launch(self, wanted: Wanted, market: dict[str, Any]) -> Launched:
        tags = [{"Key": "Name", "Value": wanted.name}, *([OPT_IN_TAG] if wanted.opted_in else [])]
        answer = self.remote.client("ec2").run_instances(
            ImageId=IMAGE,
            InstanceType="c6i.large",
            MinCount=1,
            MaxCount=1,
            InstanceMarketOptions={"MarketType": "spot", **({"SpotOptions": market} if market else {})},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
            UserData=user_data(wanted, self.volume),
            **({"IamInstanceProfile": {"Name": PROFILE}} if wanted.managed else {}),
        )
        return Launched(answer["Instances"][0]["InstanceId"], wanted)

    def _make_profile(self) -> None:
        """Make the instance profile of those that SSM manages, unless it is there."""
        iam = self.remote.client("iam")
        try:
            iam.get_instance_profile(InstanceProfileName=PROFILE)
        except iam.exceptions.NoSuchEntityException:
            iam.create_role(RoleName=PROFILE, AssumeRolePolicyDocument=json.dumps(TRUST))
            iam.attach_role_policy(RoleName=PROFILE, PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
            iam.create_instance_profile(InstanceProfileName=PROFILE)
            iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def managed(launched: Iterable[Launched]) -> int:
    """Return how many of these SSM is to manage."""
    return sum(one.wanted.managed for one in launched)


def user_data(wanted: Wanted, volume: Path) -> str:
    """Return the script that sets up an instance: its hook, then its job, then the mark that both are there."""
    hook = base64.b64encode(_hook(wanted, volume).encode()).decode()
    started = shlex.quote(str(volume / f"{wanted.name}.started"))
    return f"""#!/bin/sh
set -eu
hooks=${{SPOT_RESPONDER_CONFIG_DIR:-/etc/spot-responder}}/checkpoint.d
mkdir -p "$hooks"
echo {hook} | base64 -d >"$hooks/10-save-frame"
chmod +x "$hooks/10-save-frame"
echo 0 >"$HOME/frame"
cat >"$HOME/job" <<'JOB'
frame=0
while sleep 1; do
  frame=$((frame + 1))
  echo $frame >"$HOME/frame.new"
  mv "$HOME/frame.new" "$HOME/frame"
done
JOB
nohup sh "$HOME/job" >/dev/null 2>&1 &
: >{started}
"""


def _hook(wanted: Wanted, volume: Path) -> str:
    """Return the hook: it takes its time, then saves or fails."""
    end = _complain(wanted) if wanted.exit_status else _save(wanted, volume)
    return f'#!/bin/sh\nset -eu\nframe=$(cat "$HOME/frame")\nsleep {wanted.checkpoint_seconds}\n{end}'


def _complain(wanted: Wanted) -> str:
    return f"echo {shlex.quote(wanted.complaint)} >&2\nexit {wanted.exit_status}\n"


def _save(wanted: Wanted, volume: Path) -> str:
    """Return the part that saves: under another name first, so that no half checkpoint ever bears the right one."""
    checkpoint = shlex.quote(str(volume / f"{wanted.name}.json"))
    return f"""new={checkpoint}.new-$$
printf '{{"instance": "%s", "kind": "%s", "frame": %s}}\\n' "$SPOT_RESPONDER_INSTANCE_ID" "$SPOT_RESPONDER_KIND" "$frame" >"$new"
sync "$new"
mv "$new" {checkpoint}
echo "frame $frame is safe"
"""
