"""Installs the agent on an instance and starts it. Run as root by the user data, from the folder in which the agent was unpacked.

Where systemd runs the machine: a system user, the hook and a service. Elsewhere (a container, a test) the hook, and the agent as a
process of its own in the environment that is there. Running it again changes nothing but brings everything up to date.
"""

from __future__ import annotations

import os
import pwd
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
USER = "spot-responder"
SERVICE = "spot-responder-agent.service"
UNIT_FOLDER = Path("/etc/systemd/system")
READABLE, EXECUTABLE = 0o644, 0o755

HOOK = """\
#!/bin/sh
# Asks the agent of the job on this instance for a checkpoint, and waits until it is durable (see the SSM document).
PYTHONPATH={here} exec {python} -m spot_agent.ask_checkpoint
"""

UNIT = """\
[Unit]
Description=Spot Responder: runs a job's attempt and hands it over
Wants=network-online.target
# Stopped in the opposite order: at a shutdown the network is still there for the last checkpoint.
After=network-online.target amazon-ssm-agent.service
# An agent that crashes again and again is given up, and its instance with it: attempts without progress are counted.
StartLimitIntervalSec=600
StartLimitBurst=5
StartLimitAction=poweroff

[Service]
User={user}
Environment=PYTHONPATH={here} PYTHONUNBUFFERED=1 SPOT_RESPONDER_SUPERVISED=1 SPOT_RESPONDER_HOME={home}
ExecStart={python} -m spot_agent
# Exit status 0: the attempt has ended, and the instance with it. The agent itself has no right to do that.
ExecStopPost=+/bin/sh -c 'if [ "$EXIT_CODE/$EXIT_STATUS" = exited/0 ]; then exec systemctl --no-block poweroff; fi'
SuccessExitStatus=143
Restart=on-failure
RestartSec=2
# Where memory runs out, the kernel kills the program alone; the agent tells it. The default would stop the agent and begin anew for ever.
OOMPolicy=continue
# The last checkpoint at a shutdown; the program gets its signal from the agent.
KillMode=mixed
TimeoutStopSec=30
# The agent's own folder below the one in which root's scripts write.
RuntimeDirectory=spot-responder/agent
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
"""


def main() -> None:
    """Install and start."""
    home = Path(os.environ.get("SPOT_RESPONDER_HOME", HERE.parent))
    config = Path(os.environ.get("SPOT_RESPONDER_CONFIG_DIR", "/etc/spot-responder"))
    install_hook(config)
    if Path("/run/systemd/system").is_dir():
        install_service(home)
    else:
        start_detached(home)


def install_hook(config: Path) -> None:
    """Put the hook where the SSM document looks for it."""
    folder = config / "checkpoint.d"
    folder.mkdir(parents=True, exist_ok=True)
    text = HOOK.format(here=shlex.quote(str(HERE)), python=shlex.quote(sys.executable))
    _write(folder / "50-spot-agent", text, EXECUTABLE)


def install_service(home: Path) -> None:
    """Make the user, its folder and the service, and start it."""
    if not _has_user():
        _run("useradd", "--system", "--no-create-home", "--home-dir", str(home), "--shell", "/sbin/nologin", USER)
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    _run("chown", "-R", f"{USER}:", str(work))
    text = UNIT.format(here=HERE, python=sys.executable, user=USER, home=home)
    _write(UNIT_FOLDER / SERVICE, text, READABLE)
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", SERVICE)
    _run("systemctl", "restart", SERVICE)


def start_detached(home: Path) -> None:
    """Be the agent, in a session of its own that outlives the user data; its lines go to ``agent.log``."""
    home.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    if os.fork():
        return
    os.setsid()
    os.chdir(home)
    with (home / "agent.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
        for stream, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(stream.fileno(), number)
    # In this very process, since the user data has loaded botocore already: half of the agent's start.
    sys.path.insert(0, str(HERE))
    runpy.run_module("spot_agent", run_name="__main__")


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _write(file: Path, text: str, mode: int) -> None:
    """Write a file whole, with its mode, or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    part.chmod(mode)
    part.replace(file)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # the distribution's own tools, with arguments of ours


if __name__ == "__main__":
    main()
