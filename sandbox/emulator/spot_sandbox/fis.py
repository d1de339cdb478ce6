"""Fault Injection Service of the sandbox, of which LocalStack's core has nothing.

Each method is an operation; the rules are in the ``fis_*`` modules. Operations that are not here (accounts other than
one's own, reports, the safety lever) are answered as not implemented.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from localstack.aws.api import RequestContext

from spot_sandbox.api_errors import ApiError
from spot_sandbox.fis_experiments import Experiment, Experiments, Template
from spot_sandbox.fis_templates import ACTIONS, RESOURCE_TYPES, alarms, check
from spot_sandbox.operations import operation
from spot_sandbox.wiring import alarm_state, experiments, role_exists

type Json = dict[str, Any]

CONTENT = ("description", "stopConditions", "targets", "actions", "roleArn", "logConfiguration", "experimentOptions", "experimentReportConfiguration")
PAGE = 100


class SpotFisProvider:
    """FIS whose experiments have their effect on the sandbox's instances."""

    service: ClassVar[str] = "fis"
    version: ClassVar[str] = "2020-12-01"

    def __init__(self) -> None:
        """Start without a remembered request."""
        self._by_token: dict[tuple[str, ...], tuple[Json, Json]] = {}

    @property
    def _experiments(self) -> Experiments:
        return experiments()

    # Templates

    @operation("CreateExperimentTemplate")
    def create_experiment_template(self, context: RequestContext, request: Json) -> Json:
        """Keep a template, once it has been checked down to its role and alarms."""
        return self._once(context, request, lambda: self._create(context, request))

    def _create(self, context: RequestContext, request: Json) -> Json:
        content = {key: request.get(key) for key in CONTENT}
        _check(context, content)
        template = self._experiments.create(context.account_id, context.region, content, dict(request.get("tags") or {}))
        return {"experimentTemplate": template.describe()}

    @operation("GetExperimentTemplate")
    def get_experiment_template(self, context: RequestContext, request: Json) -> Json:
        """Show a template."""
        return {"experimentTemplate": self._template(context, request["id"]).describe()}

    @operation("UpdateExperimentTemplate")
    def update_experiment_template(self, context: RequestContext, request: Json) -> Json:
        """Replace those parts of a template that the request names."""
        template = self._template(context, request["id"])
        content = template.content | {key: request[key] for key in CONTENT if request.get(key) is not None}
        _check(context, content)
        template.content, template.updated = content, self._experiments.ports.now()
        return {"experimentTemplate": template.describe()}

    @operation("DeleteExperimentTemplate")
    def delete_experiment_template(self, context: RequestContext, request: Json) -> Json:
        """Drop a template; its experiments go on."""
        template = self._template(context, request["id"])
        del self._experiments.templates[template.id]
        return {"experimentTemplate": template.describe()}

    @operation("ListExperimentTemplates")
    def list_experiment_templates(self, context: RequestContext, request: Json) -> Json:
        """List templates."""
        mine = [t.summary() for t in self._experiments.templates.values() if t.arn.startswith(_prefix(context))]
        return _page("experimentTemplates", mine, request)

    # Experiments

    @operation("StartExperiment")
    def start_experiment(self, context: RequestContext, request: Json) -> Json:
        """Start an experiment."""
        return self._once(context, request, lambda: self._start(context, request))

    def _start(self, context: RequestContext, request: Json) -> Json:
        template = self._template(context, request["experimentTemplateId"])
        mode = (request.get("experimentOptions") or {}).get("actionsMode") or "run-all"
        tags = dict(request.get("tags") or {})
        return {"experiment": self._experiments.start(context.account_id, context.region, template, tags, mode).describe()}

    @operation("GetExperiment")
    def get_experiment(self, context: RequestContext, request: Json) -> Json:
        """Show an experiment with the states of its actions."""
        return {"experiment": self._experiment(context, request["id"]).describe()}

    @operation("ListExperiments")
    def list_experiments(self, context: RequestContext, request: Json) -> Json:
        """List experiments, those of one template where the request names it."""
        wanted = request.get("experimentTemplateId")
        mine = [e for e in self._experiments.experiments.values() if e.arn.startswith(_prefix(context))]
        shown = [experiment.summary() for experiment in mine if wanted in (None, experiment.template.id)]
        return _page("experiments", shown, request)

    @operation("StopExperiment")
    def stop_experiment(self, context: RequestContext, request: Json) -> Json:
        """Stop an experiment."""
        experiment = self._experiment(context, request["id"])
        self._experiments.stop(experiment)
        return {"experiment": experiment.describe()}

    @operation("ListExperimentResolvedTargets")
    def list_experiment_resolved_targets(self, context: RequestContext, request: Json) -> Json:
        """List the instances that the targets turned out to mean."""
        experiment = self._experiment(context, request["experimentId"])
        shown = [
            {
                "targetName": name,
                "resourceType": experiment.content["targets"][name]["resourceType"],
                "targetInformation": {"arn": instance.arn},
            }
            for name, instances in experiment.resolved.items()
            for instance in instances
            if request.get("targetName") in (None, name)
        ]
        return _page("resolvedTargets", shown, request)

    # What there is

    @operation("ListActions")
    def list_actions(self, context: RequestContext, request: Json) -> Json:
        """List the actions that the sandbox can do."""
        return _page("actions", [_without(a.describe(context.region), "parameters") for a in ACTIONS.values()], request)

    @operation("GetAction")
    def get_action(self, context: RequestContext, request: Json) -> Json:
        """Show an action."""
        action = ACTIONS.get(request["id"])
        if action is None:
            raise ApiError("ResourceNotFoundException", f"Action {request['id']} not found.", status=404)
        return {"action": action.describe(context.region)}

    @operation("ListTargetResourceTypes")
    def list_target_resource_types(self, _context: RequestContext, request: Json) -> Json:
        """List the kinds of resources that the sandbox's actions have."""
        shown = [{"resourceType": kind, "description": text} for kind, text in RESOURCE_TYPES.items()]
        return _page("targetResourceTypes", shown, request)

    # Tags

    @operation("TagResource")
    def tag_resource(self, _context: RequestContext, request: Json) -> Json:
        """Set tags."""
        self._resource(request["resourceArn"]).tags.update(request["tags"])
        return {}

    @operation("UntagResource")
    def untag_resource(self, _context: RequestContext, request: Json) -> Json:
        """Remove tags: those named, or all."""
        tags = self._resource(request["resourceArn"]).tags
        for key in request.get("tagKeys") or list(tags):
            tags.pop(key, None)
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, _context: RequestContext, request: Json) -> Json:
        """Show tags."""
        return {"tags": self._resource(request["resourceArn"]).tags}

    def _template(self, context: RequestContext, template_id: str) -> Template:
        return self._experiments.template(context.account_id, context.region, template_id)

    def _experiment(self, context: RequestContext, experiment_id: str) -> Experiment:
        return self._experiments.experiment(context.account_id, context.region, experiment_id)

    def _resource(self, arn: str) -> Template | Experiment:
        everything: Iterable[Template | Experiment] = [*self._experiments.templates.values(), *self._experiments.experiments.values()]
        for resource in everything:
            if resource.arn == arn:
                return resource
        raise ApiError("ResourceNotFoundException", f"Resource {arn} not found.", status=404)

    def _once(self, context: RequestContext, request: Json, act: Callable[[], Json]) -> Json:
        """Act once for each clientToken and repeat the answer afterwards; another request with the same token conflicts."""
        token = request.get("clientToken")
        if not token:
            return act()
        key = (context.account_id, context.region, str(context.operation and context.operation.name), token)
        if key not in self._by_token:
            self._by_token[key] = (dict(request), act())
        before, answer = self._by_token[key]
        if before != dict(request):
            raise ApiError("ConflictException", "The client token was used with other parameters.", status=409)
        return answer


def _prefix(context: RequestContext) -> str:
    return f"arn:aws:fis:{context.region}:{context.account_id}:"


def _check(context: RequestContext, content: Json) -> None:
    """Refuse a template that is wrong in itself, or whose role or alarms do not exist."""
    check(content)
    if not role_exists(content["roleArn"]):
        raise ApiError("ValidationException", f"The role {content['roleArn']} does not exist or cannot be assumed.")
    for arn in alarms(content["stopConditions"]):
        if alarm_state(context.account_id, context.region, arn) is None:
            raise ApiError("ValidationException", f"The alarm {arn} does not exist.")


def _without(shown: Json, key: str) -> Json:
    return {name: value for name, value in shown.items() if name != key}


def _page(name: str, items: list[Json], request: Json) -> Json:
    """Return a page of at most 100 items under `name`, and the token of the next one."""
    token = request.get("nextToken") or "0"
    if not token.isdigit():
        raise ApiError("ValidationException", "The nextToken is not valid.")
    start = int(token)
    end = start + (request.get("maxResults") or PAGE)
    return {name: items[start:end]} | ({"nextToken": str(end)} if end < len(items) else {})
