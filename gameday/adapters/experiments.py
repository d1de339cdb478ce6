"""AWS Fault Injection Service: the experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from gameday.adapters.connection import calling
from gameday.failures import Refused, Unmet
from gameday.ports import ExperimentState

if TYPE_CHECKING:
    from mypy_boto3_fis import FISClient

    from gameday.experiment import Experiment

EMPTY = "empty set"
"""In the reason of an experiment that found no target: "Target resolution returned empty set" (FIS workshop; FIS has no code for just that)."""


@dataclass(frozen=True, slots=True)
class FisExperiments:
    """``Experiments`` by FIS."""

    client: FISClient

    def template(self, experiment: Experiment, among: frozenset[str]) -> str:
        """Return the id of the template that bears the workshop's tag and belongs to the stack; Unmet: there is none."""
        with calling("fis:ListExperimentTemplates"):
            pages = self.client.get_paginator("list_experiment_templates").paginate()
            templates = [template for page in pages for template in page["experimentTemplates"]]
        tagged = [each["id"] for each in templates if each.get("tags", {}).get("Name") == experiment.template_name]
        for identity in sorted(among.intersection(tagged)):
            return identity
        raise Unmet(
            f"No experiment template of the stack bears the tag Name={experiment.template_name} "
            f"({len(tagged)} elsewhere in this Region do): deploy the stack again with the parameter SubnetIds."
        )

    def start(self, template: str, experiment: Experiment) -> str:
        """Start a run, with the workshop's tag; return its id."""
        with calling("fis:StartExperiment"):
            tags = {"Name": experiment.run_name}
            return self.client.start_experiment(clientToken=str(uuid4()), experimentTemplateId=template, tags=tags)["experiment"]["id"]

    def look(self, run: str) -> ExperimentState:
        """Return where the run stands."""
        with calling("fis:GetExperiment"):
            state = self.client.get_experiment(id=run)["experiment"]["state"]
        reason = state.get("reason", "")
        return ExperimentState(state["status"], reason, empty=state["status"] == "failed" and EMPTY in reason)

    def stop(self, run: str) -> None:
        """Stop it. One that has ended answers ConflictException or ValidationException, which is as good."""
        try:
            with calling("fis:StopExperiment"):
                self.client.stop_experiment(id=run)
        except Refused:
            if not self.look(run).over:
                raise
