"""The resource types that LocalStack lacks. Each stands on its page of the CloudFormation Template Reference."""

import json
from typing import Any, ClassVar, override

from spot_sandbox.cloudformation.api_resource import ApiResource, Model, Request, call, generated_name, json_text


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
        model.setdefault("Name", generated_name(request))
        client.create_document(**call(client, "CreateDocument", model | {"Content": json_text(model["Content"])}))

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        if json_text(model["Content"]) == json_text(previous["Content"]):
            return
        if model.get("UpdateMethod") != "NewVersion":
            self.remove(client, previous)
            client.create_document(**call(client, "CreateDocument", model | {"Content": json_text(model["Content"])}))
            return
        new = model | {"Content": json_text(model["Content"]), "DocumentVersion": "$LATEST"}
        updated = client.update_document(**call(client, "UpdateDocument", new))
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
        client.put_resource_policy(policyName=model["PolicyName"], policyDocument=json_text(model["PolicyDocument"]))

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
        model.setdefault("FilterName", generated_name(request))
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        transformations = [_with_dimension_map(given) for given in model["MetricTransformations"]]
        client.put_metric_filter(**call(client, "PutMetricFilter", model | {"MetricTransformations": transformations}))

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
        stored = client.put_query_definition(**call(client, "PutQueryDefinition", model))
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
        model.setdefault("DashboardName", generated_name(request))
        self.change(client, model, {})

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        body = json_text(model["DashboardBody"])
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
        arguments = call(client, "CreateExperimentTemplate", model) | {"clientToken": request.request_token}
        model["Id"] = client.create_experiment_template(**arguments)["experimentTemplate"]["id"]

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        client.update_experiment_template(**call(client, "UpdateExperimentTemplate", model))

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
        model.setdefault("LaunchTemplateName", generated_name(request))
        created = client.create_launch_template(**call(client, "CreateLaunchTemplate", model))["LaunchTemplate"]
        model["LaunchTemplateId"] = created["LaunchTemplateId"]
        model["DefaultVersionNumber"] = model["LatestVersionNumber"] = "1"

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        if model["LaunchTemplateData"] == previous.get("LaunchTemplateData"):
            return
        arguments = call(client, "CreateLaunchTemplateVersion", model)
        arguments.pop("LaunchTemplateName", None)  # the API takes the id or the name
        version = client.create_launch_template_version(**arguments)["LaunchTemplateVersion"]
        model["LatestVersionNumber"] = str(version["VersionNumber"])

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_launch_template(LaunchTemplateId=model["LaunchTemplateId"])


class EventsArchive(ApiResource):
    """``AWS::Events::Archive``."""

    service = "events"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "typeName": "AWS::Events::Archive",
        "properties": {},
        "primaryIdentifier": ["/properties/ArchiveName"],
        "createOnlyProperties": ["/properties/ArchiveName", "/properties/SourceArn"],
        "readOnlyProperties": ["/properties/Arn"],
    }

    @override
    def make(self, client: Any, model: Model, request: Request) -> None:
        # An archive's name has at most 48 characters.
        model.setdefault("ArchiveName", generated_name(request)[-48:])
        arguments = call(client, "CreateArchive", model | self._pattern(model) | {"EventSourceArn": model["SourceArn"]})
        model["Arn"] = client.create_archive(**arguments)["ArchiveArn"]

    @override
    def change(self, client: Any, model: Model, previous: Model) -> None:
        client.update_archive(**call(client, "UpdateArchive", model | self._pattern(model)))

    @override
    def remove(self, client: Any, model: Model) -> None:
        client.delete_archive(ArchiveName=model["ArchiveName"])

    @staticmethod
    def _pattern(model: Model) -> Model:
        return {"EventPattern": json_text(model["EventPattern"])} if "EventPattern" in model else {}


def _with_dimension_map(transformation: Model) -> Model:
    """CloudFormation lists a metric's dimensions, the API maps them."""
    dimensions = transformation.get("Dimensions")
    if not dimensions:
        return transformation
    return transformation | {"Dimensions": {entry["Key"]: entry["Value"] for entry in dimensions}}
