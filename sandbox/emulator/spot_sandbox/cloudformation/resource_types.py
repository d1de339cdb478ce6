"""The resource types themselves. Each stands on its page of the CloudFormation Template Reference.

A class says how its properties become API calls; `Ref` is the primary identifier of its schema and `GetAtt` reads the
properties that a call has added to the model.
"""

import json
from typing import Any, ClassVar, override

from localstack.services.cloudformation.provider_utils import generate_default_name
from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceRequest,
)
from spot_sandbox.cloudformation.shapes import arguments_for

Model = dict[str, Any]
Event = ProgressEvent[Model]
Request = ResourceRequest[Model]


class ApiResource(ResourceProvider[Model]):
    """A resource made, changed and removed by API calls that answer at once.

    A subclass gives `service` and its schema, and `make`, `change` and `remove`, which work on the model in place.
    """

    service: ClassVar[str]

    @override
    def create(self, request: Request) -> Event:
        model = dict(request.desired_state)
        self.make(self._client(request), model, request)
        return _succeeded(model)

    @override
    def update(self, request: Request) -> Event:
        previous = dict(request.previous_state or {})
        kept = {name: previous[name] for name in self._read_only() if name in previous}
        model = {**kept, **request.desired_state}
        self.change(self._client(request), model, previous)
        return _succeeded(model)

    @override
    def delete(self, request: Request) -> Event:
        self.remove(self._client(request), dict(request.previous_state or request.desired_state))
        return _succeeded({})

    def make(self, client: Any, model: Model, request: Request) -> None:  # noqa: ANN401 - LocalStack's clients have no types here
        """Create it; add to the model what `Ref` and `GetAtt` read."""
        raise NotImplementedError

    def change(self, client: Any, model: Model, previous: Model) -> None:  # noqa: ANN401 - as above
        """Bring it from `previous` to `model`."""
        raise NotImplementedError

    def remove(self, client: Any, model: Model) -> None:  # noqa: ANN401 - as above
        """Delete it."""
        raise NotImplementedError

    def _client(self, request: Request) -> Any:  # noqa: ANN401 - as above
        return getattr(request.aws_client_factory, self.service)

    def _read_only(self) -> list[str]:
        """What the caller does not give at an update: identifiers and attributes, and a name that was generated."""
        paths = [*self.SCHEMA["primaryIdentifier"], *self.SCHEMA.get("readOnlyProperties", [])]
        return [path.removeprefix("/properties/") for path in paths]


class SsmDocument(ApiResource):
    """``AWS::SSM::Document``; ``UpdateMethod: NewVersion`` makes a version that becomes the default."""

    service = "ssm"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::SSM::Document",
        "properties": {},
        "primaryIdentifier": ["/properties/Name"],
        "createOnlyProperties": ["/properties/Name", "/properties/DocumentType"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        model.setdefault("Name", _generated_name(request))
        client.create_document(**_call(client, "CreateDocument", model | {"Content": _json_text(model["Content"])}))

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        if _json_text(model["Content"]) == _json_text(previous["Content"]):
            return
        if model.get("UpdateMethod") != "NewVersion":
            self.remove(client, previous)
            client.create_document(**_call(client, "CreateDocument", model | {"Content": _json_text(model["Content"])}))
            return
        new = model | {"Content": _json_text(model["Content"]), "DocumentVersion": "$LATEST"}
        updated = client.update_document(**_call(client, "UpdateDocument", new))
        version = updated["DocumentDescription"]["DocumentVersion"]
        client.update_document_default_version(Name=model["Name"], DocumentVersion=version)

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_document(Name=model["Name"])


class LogsResourcePolicy(ApiResource):
    """``AWS::Logs::ResourcePolicy``."""

    service = "logs"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::Logs::ResourcePolicy",
        "properties": {},
        "primaryIdentifier": ["/properties/PolicyName"],
        "createOnlyProperties": ["/properties/PolicyName"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        client.put_resource_policy(policyName=model["PolicyName"], policyDocument=_json_text(model["PolicyDocument"]))

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_resource_policy(policyName=model["PolicyName"])


class LogsMetricFilter(ApiResource):
    """``AWS::Logs::MetricFilter``; `Ref` is the filter's name."""

    service = "logs"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::Logs::MetricFilter",
        "properties": {},
        "primaryIdentifier": ["/properties/FilterName"],
        "createOnlyProperties": ["/properties/FilterName", "/properties/LogGroupName"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        model.setdefault("FilterName", _generated_name(request))
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        transformations = [_with_dimension_map(given) for given in model["MetricTransformations"]]
        client.put_metric_filter(**_call(client, "PutMetricFilter", model | {"MetricTransformations": transformations}))

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_metric_filter(logGroupName=model["LogGroupName"], filterName=model["FilterName"])


class LogsQueryDefinition(ApiResource):
    """``AWS::Logs::QueryDefinition``."""

    service = "logs"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::Logs::QueryDefinition",
        "properties": {},
        "primaryIdentifier": ["/properties/QueryDefinitionId"],
        "readOnlyProperties": ["/properties/QueryDefinitionId"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        stored = client.put_query_definition(**_call(client, "PutQueryDefinition", model))
        model["QueryDefinitionId"] = stored["queryDefinitionId"]

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_query_definition(queryDefinitionId=model["QueryDefinitionId"])


class CloudWatchDashboard(ApiResource):
    """``AWS::CloudWatch::Dashboard``; a body that is not valid fails, as with CloudWatch."""

    service = "cloudwatch"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::CloudWatch::Dashboard",
        "properties": {},
        "primaryIdentifier": ["/properties/DashboardName"],
        "createOnlyProperties": ["/properties/DashboardName"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        model.setdefault("DashboardName", _generated_name(request))
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        body = _json_text(model["DashboardBody"])
        if "widgets" not in json.loads(body):
            msg = "The dashboard body is invalid: it has no widgets"
            raise ValueError(msg)
        client.put_dashboard(DashboardName=model["DashboardName"], DashboardBody=body)

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_dashboards(DashboardNames=[model["DashboardName"]])


class FisExperimentTemplate(ApiResource):
    """``AWS::FIS::ExperimentTemplate``."""

    service = "fis"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::FIS::ExperimentTemplate",
        "properties": {},
        "primaryIdentifier": ["/properties/Id"],
        "readOnlyProperties": ["/properties/Id"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        arguments = _call(client, "CreateExperimentTemplate", model) | {"clientToken": request.request_token}
        model["Id"] = client.create_experiment_template(**arguments)["experimentTemplate"]["id"]

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        client.update_experiment_template(**_call(client, "UpdateExperimentTemplate", model))

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_experiment_template(id=model["Id"])


class Ec2LaunchTemplate(ApiResource):
    """``AWS::EC2::LaunchTemplate``; an update makes a version and leaves the default one."""

    service = "ec2"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::EC2::LaunchTemplate",
        "properties": {},
        "primaryIdentifier": ["/properties/LaunchTemplateId"],
        "createOnlyProperties": ["/properties/LaunchTemplateName"],
        "readOnlyProperties": [
            "/properties/LaunchTemplateId",
            "/properties/DefaultVersionNumber",
            "/properties/LatestVersionNumber",
        ],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        model.setdefault("LaunchTemplateName", _generated_name(request))
        created = client.create_launch_template(**_call(client, "CreateLaunchTemplate", model))["LaunchTemplate"]
        model["LaunchTemplateId"] = created["LaunchTemplateId"]
        model["DefaultVersionNumber"] = model["LatestVersionNumber"] = "1"

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        if model["LaunchTemplateData"] == previous.get("LaunchTemplateData"):
            return
        arguments = _call(client, "CreateLaunchTemplateVersion", model)
        arguments.pop("LaunchTemplateName", None)  # the API takes the id or the name
        version = client.create_launch_template_version(**arguments)["LaunchTemplateVersion"]
        model["LatestVersionNumber"] = str(version["VersionNumber"])

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_launch_template(LaunchTemplateId=model["LaunchTemplateId"])


def _succeeded(model: Model) -> Event:
    return ProgressEvent(status=OperationStatus.SUCCESS, resource_model=model)


def _call(client: Any, operation: str, model: Model) -> dict[str, Any]:  # noqa: ANN401 - LocalStack's clients have no types here
    arguments: dict[str, Any] = arguments_for(client.meta.service_model.operation_model(operation).input_shape, model)
    return arguments


def _generated_name(request: Request) -> str:
    name: str = generate_default_name(
        stack_name=request.stack_name, logical_resource_id=request.logical_resource_id
    )
    return name


def _json_text(document: object) -> str:
    """A document that a template gives as text or as an object."""
    return document if isinstance(document, str) else json.dumps(document)


def _with_dimension_map(transformation: Model) -> Model:
    """CloudFormation lists a metric's dimensions, the API maps them."""
    dimensions = transformation.get("Dimensions")
    if not dimensions:
        return transformation
    return transformation | {"Dimensions": {entry["Key"]: entry["Value"] for entry in dimensions}}
