"""Systems Manager of the sandbox: Run Command that runs, documents that are checked, the rest as LocalStack has it.

Each method is an operation; the rules are in `ssm_documents` and `ssm_commands`.
"""

import json
from collections.abc import Callable
from typing import Any

from localstack.aws.api import RequestContext
from localstack.services.moto import call_moto
from localstack.services.ssm.provider import SsmProvider
from moto.ssm.models import ssm_backends

from spot_sandbox.api_errors import ApiError
from spot_sandbox.ec2_instances import Instance
from spot_sandbox.operations import operation
from spot_sandbox.ssm_commands import Command, Commands, Invocation, check_send
from spot_sandbox.ssm_documents import RUN_SHELL_SCRIPT, parse, steps, values
from spot_sandbox.wiring import commands

type Json = dict[str, Any]

PAGE = 50
PROVIDED = {"AWS-RunShellScript": RUN_SHELL_SCRIPT}


class SpotSsmProvider(SsmProvider):
    """Systems Manager whose Run Command runs documents on the instances."""

    @property
    def _commands(self) -> Commands:
        return commands()

    # Documents

    @operation("CreateDocument")
    def create_document_here(self, context: RequestContext, request: Json) -> Json:
        """Create a document once its content has been checked."""
        _check_content(request)
        return call_moto(context)

    @operation("UpdateDocument")
    def update_document_here(self, context: RequestContext, request: Json) -> Json:
        """Add a version to a document once its content has been checked."""
        _check_content(request)
        return call_moto(context)

    @operation("GetDocument")
    def get_document_here(self, context: RequestContext, request: Json) -> Json:
        """Return a document's content, also of those that AWS provides."""
        provided = PROVIDED.get(request["Name"])
        if provided is None:
            return call_moto(context)
        content = json.dumps(provided, indent=2)
        shown = {"Name": request["Name"], "Content": content, "DocumentType": "Command", "DocumentFormat": "JSON"}
        return {**shown, "DocumentVersion": "1", "Status": "Active"}

    @operation("DescribeDocument")
    def describe_document_here(self, context: RequestContext, request: Json) -> Json:
        """Describe a document; the platforms of Command documents, which moto does not know, are Linux's."""
        if request["Name"] in PROVIDED:
            document = {"Name": request["Name"], "Owner": "Amazon", "DocumentVersion": "1", "DefaultVersion": "1", "LatestVersion": "1"}
            document |= {"Status": "Active", "DocumentType": "Command", "SchemaVersion": "2.2", "DocumentFormat": "JSON"}
            return {"Document": {**document, "PlatformTypes": ["Linux", "MacOS"]}}
        answer = dict(call_moto(context))
        answer["Document"] = {**answer["Document"], "PlatformTypes": ["Linux", "MacOS"]}
        return answer

    # Commands

    @operation("SendCommand")
    def send_command_here(self, context: RequestContext, request: Json) -> Json:
        """Run a document on instances."""
        check_send(request)
        version, document = _document(context, request)
        parameters = values(document, request.get("Parameters"))
        named = (request["DocumentName"], version)
        run = steps(document, parameters)
        command = self._commands.send(_where(context), named, parameters, run, request)
        return {"Command": command.describe()}

    @operation("CancelCommand")
    def cancel_command_here(self, context: RequestContext, request: Json) -> Json:
        """Cancel a command, on all of its instances or on those named."""
        command = self._commands.pick(*_where(context), request["CommandId"])
        unknown = set(request.get("InstanceIds") or []) - set(command.invocations)
        if unknown:
            raise ApiError("InvalidInstanceId", f"The command was not sent to {', '.join(sorted(unknown))}")
        self._commands.cancel(command, request.get("InstanceIds"))
        return {}

    @operation("ListCommands")
    def list_commands_here(self, context: RequestContext, request: Json) -> Json:
        """List commands, the newest first."""
        chosen = self._chosen(context, request)
        shown, more = _page([c.describe() for c in chosen if _passes(c, c.status, request)], request)
        return {"Commands": shown, **more}

    @operation("ListCommandInvocations")
    def list_command_invocations_here(self, context: RequestContext, request: Json) -> Json:
        """List invocations, with the outcome of each step where ``Details`` asks for it."""
        found = [
            command.describe_invocation(invocation, details=bool(request.get("Details")))
            for command in self._chosen(context, request)
            for invocation in command.invocations.values()
            if command.known and _is_wanted(invocation, request) and _passes(command, invocation.status, request)
        ]
        shown, more = _page(found, request)
        return {"CommandInvocations": shown, **more}

    @operation("GetCommandInvocation")
    def get_command_invocation_here(self, context: RequestContext, request: Json) -> Json:
        """Return the outcome of a command's step on one instance."""
        command, invocation = self._commands.invocation(*_where(context), request["CommandId"], request["InstanceId"])
        return command.result(invocation, request.get("PluginName"))

    def _chosen(self, context: RequestContext, request: Json) -> list[Command]:
        command_id = request.get("CommandId")
        if command_id:
            return [self._commands.pick(*_where(context), command_id)]
        wanted = request.get("InstanceId")
        return [c for c in self._commands.of(*_where(context)) if not wanted or wanted in c.invocations]

    # Managed instances

    @operation("DescribeInstanceInformation")
    def describe_instance_information_here(self, context: RequestContext, request: Json) -> Json:
        """List the instances whose agents have registered."""
        filters = [(item["Key"], item["Values"]) for item in request.get("Filters") or []]
        filters += [(item["key"], item["valueSet"]) for item in request.get("InstanceInformationFilterList") or []]
        found = [i for i in self._commands.managed(*_where(context)) if all(_information_holds(i, *f) for f in filters)]
        now = self._commands.ports.now()
        shown, more = _page([_information(instance) | {"LastPingDateTime": now} for instance in found], request)
        return {"InstanceInformationList": shown, **more}


def _where(context: RequestContext) -> tuple[str, str]:
    return context.account_id, context.region


def _check_content(request: Json) -> None:
    """Refuse a Command document that SSM would refuse; other types are moto's business."""
    if (request.get("DocumentType") or "Command") == "Command":
        parse(request["Content"], request.get("DocumentFormat") or "JSON")


def _document(context: RequestContext, request: Json) -> tuple[str, Json]:
    """Return the version and content of the document that a command runs; raise ApiError without one."""
    name = request["DocumentName"].rpartition("/")[2]
    if name in PROVIDED:
        return "1", PROVIDED[name]
    documents = ssm_backends[context.account_id][context.region]._documents.get(name)  # noqa: SLF001  moto offers no other way
    if documents is None:
        raise ApiError("InvalidDocument", f"Document with name {name} does not exist.")
    wanted = request.get("DocumentVersion") or "$DEFAULT"
    version = {"$DEFAULT": documents.default_version, "$LATEST": documents.latest_version}.get(wanted, wanted)
    document = documents.versions.get(str(version))
    if document is None:
        raise ApiError("InvalidDocumentVersion", f"The document version {wanted} is not valid or does not exist.")
    if document.document_type != "Command":
        raise ApiError("InvalidDocument", f"Document {name} is of type {document.document_type}, not Command.")
    return str(version), document.content_json


def _page(items: list[Json], request: Json) -> tuple[list[Json], Json]:
    """Return a page of 50 at most, and the token of the next one."""
    token = request.get("NextToken") or "0"
    if not token.isdigit():
        raise ApiError("InvalidNextToken", "The specified token isn't valid.")
    start = int(token)
    end = start + min(request.get("MaxResults") or PAGE, PAGE)
    return items[start:end], {"NextToken": str(end)} if end < len(items) else {}


def _is_wanted(invocation: Invocation, request: Json) -> bool:
    return request.get("InstanceId") in (None, invocation.instance.id)


def _passes(command: Command, status: str, request: Json) -> bool:
    """Tell whether the ``Filters`` of a list of commands or invocations hold."""
    return all(_filter_holds(command, status, item["key"], item["value"]) for item in request.get("Filters") or [])


def _filter_holds(command: Command, status: str, key: str, value: str) -> bool:
    requested = command.requested.strftime("%Y-%m-%dT%H:%M:%SZ")
    match key:
        case "Status":
            return status == value
        case "DocumentName":
            return command.document_name == value
        case "InvokedAfter":
            return requested >= value
        case "InvokedBefore":
            return requested <= value
        case "ExecutionStage":
            return (value == "Executing") == (command.status in {"Pending", "InProgress", "Cancelling"})
        case _:
            raise ApiError("InvalidFilterKey", "The specified filter key isn't valid.")


def _ping(instance: Instance) -> str:
    return "Online" if instance.agent_online and instance.booted and instance.state == "running" else "ConnectionLost"


def _information(instance: Instance) -> Json:
    return {
        "InstanceId": instance.id,
        "PingStatus": _ping(instance),
        "AgentVersion": "3.3.2746.0",
        "IsLatestVersion": True,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": instance.private_ip,
        "ComputerName": instance.private_name,
        "SourceId": instance.id,
        "SourceType": "AWS::EC2::Instance",
    }


INFORMATION_FILTERS: dict[str, Callable[[Instance], str]] = {
    "InstanceIds": lambda instance: instance.id,
    "PingStatus": _ping,
    "PlatformTypes": lambda _: "Linux",
    "ResourceType": lambda _: "EC2Instance",
    "AgentVersion": lambda _: "3.3.2746.0",
}


def _information_holds(instance: Instance, key: str, wanted: list[str]) -> bool:
    if key.startswith("tag:"):
        return instance.tags.get(key.removeprefix("tag:")) in wanted
    if key == "tag-key":
        return any(tag in instance.tags for tag in wanted)
    if key not in INFORMATION_FILTERS:
        raise ApiError("InvalidFilterKey", "The specified filter key isn't valid.")
    return INFORMATION_FILTERS[key](instance) in wanted
