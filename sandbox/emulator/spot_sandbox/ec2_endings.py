"""The ways in which an instance ends, and what each leaves behind in the API. Pure.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html and API_StateReason.html of the API reference
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Ending:
    """Why and how an instance ends: the state that it reaches, its reason, and the status of its Spot request."""

    to: str
    reason: str
    spot_state: str
    spot_status: str
    note: str = ""

    @property
    def by_user(self) -> bool:
        """Whether somebody asked for it."""
        return self.reason.startswith("Client.")


TERMINATED_BY_USER = Ending("terminated", "Client.UserInitiatedShutdown", "closed", "instance-terminated-by-user", "User initiated")
STOPPED_BY_USER = Ending("stopped", "Client.UserInitiatedShutdown", "disabled", "instance-stopped-by-user", "User initiated")
HIBERNATED_BY_USER = replace(STOPPED_BY_USER, reason="Client.UserInitiatedHibernate")
POWERED_OFF = Ending("terminated", "Client.InstanceInitiatedShutdown", "closed", "instance-terminated-by-user", "Instance initiated")
STOPPED_ITSELF = Ending("stopped", "Client.InstanceInitiatedShutdown", "disabled", "instance-stopped-by-user", "Instance initiated")
CRASHED = Ending("terminated", "Server.InternalError", "closed", "instance-terminated-by-user", "Server.InternalError")


def interruption(action: str, *, experiment: bool) -> Ending:
    """Return how an instance ends that EC2, or an experiment in its place, takes back with `action`."""
    by = "by-experiment" if experiment else "no-capacity"
    match action:
        case "terminate":
            reason = "Server.SpotInstanceTermination"
            return Ending("terminated", reason, "closed", f"instance-terminated-{by}", reason)
        case "hibernate" if not experiment:
            status = "instance-hibernated-no-capacity"
        case _:
            status = f"instance-stopped-{by}"
    return Ending("stopped", "Server.SpotInstanceShutdown", "disabled", status, "Server.SpotInstanceShutdown")
